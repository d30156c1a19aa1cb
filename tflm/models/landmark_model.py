"""The whole model of the paper, figure 1.

    target -> detector -> score maps -> bottleneck -> landmarks, heatmaps
    source -> appearance encoder -> features
    features, heatmaps -> generator -> reconstruction of the target

After training only the detector and the bottleneck are needed.

The paper's ablation without landmarks: the detector's features, not its score
maps, go into a fully connected bottleneck.
"""

import tensorflow as tf

from tflm import configs
from tflm.models import bottlenecks
from tflm.models import encoders
from tflm.models import generator


class LandmarkModel(tf.keras.Model):
    """Landmark detector and conditional image generator, trained jointly.

    Args:
        config: sizes and the bottleneck's options.
        precision: "float32", or "bfloat16": convolutions compute in it while
            variables, landmarks and images stay float32.

    Call arguments:
        inputs: a pair of source and target images, each float32
            `[B, S, S, 3]` in [0, 1]; the target as the detector sees it, which
            may be in other colours than are to be redrawn.
        training: whether batch normalisation uses and updates batch moments.
        windows: of the landmarks, see `bottlenecks.HeatmapBottleneck`; a
            fully connected bottleneck has none.
        view: as the target; only its landmarks are found, in one pass with
            those of the target. None: there is none.

    Returns:
        A dict: `reconstruction` of the target, float32 `[B, S, S, 3]`,
        unbounded; `landmarks` of the target, float32 `[B, K, 2]`, (y, x) in
        [-1, 1]; `view_landmarks`, likewise, if there is a view; `heatmaps` of
        the target, float32 `[B, 16, 16, K]`. With
        `bottleneck="fully_connected"` the last two are what takes their
        places: see `bottlenecks.FullyConnectedBottleneck`.

    Source: Jakab et al., NeurIPS 2018, sec. 3 and 4.1.
    """

    def __init__(
        self,
        config: configs.ModelConfig,
        precision: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = config
        sizes = (config.image_size, config.num_filters)
        options = {
            "initializer": config.initializer,
            "dtype": tf.keras.mixed_precision.Policy(
                {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
            ),
        }
        if config.bottleneck == "heatmap":
            self.detector = encoders.detector(
                *sizes,
                config.num_landmarks,
                config.context_convs,
                padding=config.padding,
                name="detector",
                **options,
            )
            self.bottleneck = bottlenecks.HeatmapBottleneck(
                sigma=config.heatmap_sigma,
                marginal=config.marginal,
                temperature=config.temperature,
                gaussian=config.gaussian,
                name="bottleneck",
            )
        else:
            self.detector = encoders.encoder(
                *sizes,
                config.context_convs,
                padding=config.padding,
                name="detector",
                **options,
            )
            self.bottleneck = bottlenecks.FullyConnectedBottleneck(
                config.fully_connected_units,
                config.num_landmarks,
                name="bottleneck",
            )
        self.appearance = encoders.encoder(*sizes, name="appearance", **options)
        self.generator = generator.generator(
            *sizes,
            config.num_landmarks,
            config.last_convs,
            name="generator",
            **options,
        )
        self.bottleneck.build(self.detector.output_shape)

    def call(self, inputs, training=None, windows=0.0, view=None):
        source, target = inputs
        found = {}
        if view is None:
            scores = self.detector(target, training=training)
        else:
            both = tf.concat([target, view], axis=0)
            scores, view_scores = tf.split(
                self.detector(both, training=training), 2
            )
            found["view_landmarks"], _ = self.bottleneck(
                view_scores, windows=windows
            )
        if self.config.bottleneck == "heatmap":
            landmarks, heatmaps = self.bottleneck(scores, windows=windows)
        else:
            landmarks, heatmaps = self.bottleneck(scores)
        features = self.appearance(source, training=training)
        reconstruction = self.generator([features, heatmaps], training=training)
        return {
            "reconstruction": reconstruction,
            "landmarks": landmarks,
            "heatmaps": heatmaps,
            **found,
        }

    def detect(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Finds the landmarks of images, in inference mode.

        Args:
            images: float32 `[B, S, S, 3]` in [0, 1].

        Returns:
            A dict: `landmarks`, `[B, K, 2]`, (y, x) in [-1, 1]; `confidence`,
            `[B, K]` in [0, 1], see `confidence`; `score_maps`,
            `[B, 16, 16, K]`; `row_marginals` and `column_marginals`,
            `[B, 16, K]`, each a distribution. With a fully connected
            bottleneck only `landmarks`: its code, see there.
        """
        scores = self.detector(images, training=False)
        landmarks, _ = self.bottleneck(scores)
        if self.config.bottleneck == "fully_connected":
            return {"landmarks": landmarks}
        rows, columns = self.bottleneck.marginals(scores)
        return {
            "landmarks": landmarks,
            "confidence": confidence(rows, columns),
            "score_maps": scores,
            "row_marginals": rows,
            "column_marginals": columns,
        }

    def generate(self, source: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
        """Draws the source's object with given landmarks, in inference mode.

        Args:
            source: float32 `[B, S, S, 3]` in [0, 1]; its looks are taken.
            landmarks: float32 `[B, K, 2]`, (y, x), normalised, of any image.

        Returns:
            float32 `[B, S, S, 3]`, unbounded.

        Raises:
            ValueError: with a fully connected bottleneck.
        """
        if self.config.bottleneck == "fully_connected":
            raise ValueError("a fully connected bottleneck has no landmarks")
        features = self.appearance(source, training=False)
        heatmaps = self.bottleneck.heatmaps(landmarks)
        return self.generator([features, heatmaps], training=False)


def confidence(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """How concentrated a landmark's marginals are.

    1 when each marginal is a single row or column, 0 when both are uniform: 1
    minus the mean of their entropies over the largest entropy possible. Not in
    the paper.

    Args:
        rows: `[B, H, K]`, a distribution over H.
        columns: `[B, W, K]`, a distribution over W.

    Returns:
        `[B, K]` in [0, 1].
    """

    def concentration(distribution):
        count = tf.cast(tf.shape(distribution)[1], distribution.dtype)
        # Not tf.math.xlogy, which ONNX has no op for.
        logs = tf.math.log(tf.where(distribution > 0, distribution, 1.0))
        entropy = -tf.reduce_sum(distribution * logs, axis=1)
        return 1.0 - entropy / tf.math.log(count)

    return (concentration(rows) + concentration(columns)) / 2.0
