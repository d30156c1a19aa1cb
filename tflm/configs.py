"""Every setting of an experiment, as frozen data. Imports no TensorFlow.

A preset is named after its dataset, or DATASET_RECIPE. `from_json` inverts
`to_json`; `override` applies `section.field=value` assignments.
"""

import ast
from collections.abc import Iterable
import dataclasses
import json

IMAGE_SIZES = (32, 64, 128, 256)
PAIRS = ("tps", "video", "viewpoint")
MARGINALS = ("mean", "sum")
GAUSSIANS = ("paper", "released")
BOTTLENECKS = ("heatmap", "fully_connected")
PADDINGS = ("zero", "symmetric")
INITIALIZERS = ("truncated_normal", "normal", "he_normal")
LOSSES = ("l1", "l2", "perceptual", "adversarial_l1", "adversarial_l2")
LOSS_NETWORKS = ("auto", "colorization", "imagenet", "vgg16_file", "random")
TAPS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
SCALES = ("bias_corrected", "released")
PRECISIONS = ("float32", "bfloat16", "auto")
SCHEDULES = ("staircase", "plateau", "cosine", "constant")
WEIGHT_DECAYS = ("l2", "decoupled")
CLIPS = ("global", "per_variable", "none")
WARP_FILLS = ("border", "zero")
STILL_PAIRS = ("chained", "independent")


def _one_of(name: str, value: object, choices: Iterable[object]) -> None:
    if value not in choices:
        words = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {words}; got {value!r}")


def _positive(section: object, *names: str) -> None:
    for name in names:
        if not getattr(section, name) > 0:
            raise ValueError(
                f"{name} must be positive, got {getattr(section, name)}"
            )


def _not_negative(section: object, *names: str) -> None:
    for name in names:
        if not getattr(section, name) >= 0:
            raise ValueError(
                f"{name} must not be negative, got {getattr(section, name)}"
            )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which clips, how they become square images, how pairs are drawn."""

    dataset: str = "puppets"
    # "tps": two warps of a still; "video": two frames; "viewpoint": two frames
    # whose azimuth (cyclic) and elevation are few steps apart.
    pairs: str = "tps"
    crop_fraction: float = 1.0  # Side kept of the resized image, centred.
    min_gap: int = 1  # Of a pair: frames (viewpoint: steps) apart, at least.
    max_gap: int = 1_000_000  # Of a pair, likewise: at most.
    shuffle_buffer: int = 1_000  # Clips.
    # Stills: the source is a warp of the target ("chained", released code), or
    # of the still, as the target is ("independent", paper).
    still_pairs: str = "chained"
    warp_fill: str = "border"  # Outside of an image: see `data.warps.warp`.
    color_jitter: float = 0.0  # Of the detector's images: `data.color_jitter`.
    # Part of an image or video that became a frame: a flag of data_prep, or
    # words; "": all of it. train.py copies it from the shards.
    frame_crop: str = ""

    def __post_init__(self):
        _one_of("pairs", self.pairs, PAIRS)
        _one_of("still_pairs", self.still_pairs, STILL_PAIRS)
        _one_of("warp_fill", self.warp_fill, WARP_FILLS)
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(
                f"crop_fraction must be in (0, 1], got {self.crop_fraction}"
            )
        _positive(self, "min_gap", "shuffle_buffer")
        _not_negative(self, "color_jitter")
        if self.max_gap < self.min_gap:
            raise ValueError(
                f"max_gap must be at least min_gap ({self.min_gap}), got"
                f" {self.max_gap}"
            )


@dataclasses.dataclass(frozen=True)
class WarpConfig:
    """A random thin-plate-spline warp; standard deviations of its parts."""

    rotation: float = 0.0  # Degrees.
    scale: float = 0.0  # 0.1: a tenth larger or smaller.
    translation: float = 0.0  # Normalised units: the image spans 2.
    bend_all: float = 0.0  # Spline coefficients of all control points.
    bend_half: float = 0.0  # Added on a random half of the coefficients.

    def __post_init__(self):
        _not_negative(self, *(f.name for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Network sizes and the bottleneck."""

    image_size: int = 128  # Side of the square input, pixels.
    num_landmarks: int = 30
    num_filters: int = 32  # Of the first block; doubled per block.
    last_convs: int = 2  # Of the decoder's last block; released code: 1.
    context_convs: int = 0  # More 3x3 convolutions of the detector, at 16x16.
    padding: str = "zero"  # Of the detector's convolutions; or "symmetric".
    initializer: str = "truncated_normal"  # See `encoders`.
    bottleneck: str = "heatmap"  # "fully_connected": no landmarks, ablation.
    fully_connected_units: int = 20  # Numbers that pass through; even.
    marginal: str = "mean"  # Of a score map, before softmax: or "sum".
    temperature: float = 1.0  # The marginals are divided by it.
    gaussian: str = "paper"  # exp(-d^2/(2 sigma^2)); "released": no 1/2.
    heatmap_sigma: float = 0.1  # Normalised units: the image spans 2.

    def __post_init__(self):
        _one_of("image_size", self.image_size, IMAGE_SIZES)
        _one_of("padding", self.padding, PADDINGS)
        _one_of("initializer", self.initializer, INITIALIZERS)
        _one_of("bottleneck", self.bottleneck, BOTTLENECKS)
        _one_of("marginal", self.marginal, MARGINALS)
        _one_of("gaussian", self.gaussian, GAUSSIANS)
        _positive(
            self,
            "num_landmarks",
            "num_filters",
            "fully_connected_units",
            "temperature",
            "heatmap_sigma",
        )
        _not_negative(self, "context_convs")
        _one_of("last_convs", self.last_convs, (1, 2))
        if self.fully_connected_units % 2:
            raise ValueError(
                "fully_connected_units must be even, got"
                f" {self.fully_connected_units}"
            )


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What the reconstruction is compared with the target by."""

    name: str = "l2"
    network: str = "auto"  # Perceptual: see `losses.loss_networks`.
    network_hash: str = ""  # Of its weights; train.py fills it in.
    network_filters: int = 16  # "random": channels of its first block.
    last_tap: str = "conv5_2"  # The deepest layer compared.
    scales: str = "bias_corrected"  # Or "released": see `losses.perceptual`.
    adversarial_weight: float = 0.01  # Beside a pixel loss of weight 1.
    # Beside the reconstruction: of `losses.equivariance`, which is 0 until the
    # first share of the steps, then rises linearly until the second.
    equivariance_weight: float = 0.0
    equivariance_start: float = 0.2
    equivariance_full: float = 0.5
    separation_weight: float = 0.0  # Of `losses.separation`.
    separation_sigma: float = 0.1  # Normalised units: the image spans 2.

    def __post_init__(self):
        _one_of("loss name", self.name, LOSSES)
        _one_of("loss network", self.network, LOSS_NETWORKS)
        _one_of("last_tap", self.last_tap, TAPS)
        _one_of("scales", self.scales, SCALES)
        _positive(
            self, "network_filters", "adversarial_weight", "separation_sigma"
        )
        _not_negative(self, "equivariance_weight", "separation_weight")
        start, full = self.equivariance_start, self.equivariance_full
        if not 0 <= start <= full <= 1:
            raise ValueError(
                "equivariance_start and equivariance_full must be in order in"
                f" [0, 1], got {start} and {full}"
            )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation."""

    batch_size: int = 50
    num_steps: int = 200_000
    learning_rate: float = 1e-3
    schedule: str = "staircase"  # See `training.optimizers`.
    decay_factor: float = 0.95  # Staircase, plateau: the factor of one stair.
    decay_steps: int = 100_000  # Staircase: the length of one stair.
    patience_steps: int = 10_000  # Plateau: without a better training loss.
    warmup_steps: int = 0  # Linear from 0.
    window_share: float = 0.0  # Of the steps, with windows: see `bottlenecks`.
    weight_decay: float = 1e-5  # On kernels.
    weight_decay_kind: str = "l2"  # In the gradient; "decoupled": as in AdamW.
    clip: str = "per_variable"  # Gradient norm: or "global", "none".
    clip_norm: float = 1.0
    precision: str = "auto"  # bfloat16 where the CPU has it, at each start.
    log_every: int = 100  # Steps.
    image_every: int = 1_000  # Steps.
    save_every: int = 1_000  # Steps.
    seed: int = 0

    def __post_init__(self):
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("weight_decay_kind", self.weight_decay_kind, WEIGHT_DECAYS)
        _one_of("clip", self.clip, CLIPS)
        _one_of("precision", self.precision, PRECISIONS)
        _positive(
            self,
            "batch_size",
            "num_steps",
            "learning_rate",
            "decay_factor",
            "decay_steps",
            "patience_steps",
            "clip_norm",
            "log_every",
            "image_every",
            "save_every",
        )
        _not_negative(self, "warmup_steps", "weight_decay", "seed")
        if not 0 <= self.window_share <= 1:
            raise ValueError(
                f"window_share must be in [0, 1], got {self.window_share}"
            )
        if self.seed >= 2**31:
            raise ValueError(f"seed must be less than 2**31, got {self.seed}")


# Jakab et al., released code: the target is a mild warp of the still, the
# source a stronger one of the target.
RELEASED_TARGET_WARP = WarpConfig(
    translation=0.1, bend_all=0.001, bend_half=0.005
)
RELEASED_SOURCE_WARP = WarpConfig(
    rotation=5.0, scale=0.1, translation=0.1, bend_all=0.001, bend_half=0.01
)
NO_WARP = WarpConfig()


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment; saved as `config.json` in its workdir."""

    data: DataConfig = DataConfig()
    target_warp: WarpConfig = RELEASED_TARGET_WARP
    source_warp: WarpConfig = RELEASED_SOURCE_WARP
    # Of the target, into a view that the detector sees for the equivariance
    # loss alone; NO_WARP: that view is the source, of a still.
    view_warp: WarpConfig = NO_WARP
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self):
        terms = (self.loss.equivariance_weight, self.loss.separation_weight)
        if any(terms) and self.model.bottleneck == "fully_connected":
            raise ValueError(
                "model.bottleneck=fully_connected has no landmarks;"
                " loss.equivariance_weight and loss.separation_weight must be 0"
            )
        is_source_a_view = (
            self.data.pairs == "tps"
            and self.data.still_pairs == "chained"
            and self.source_warp != NO_WARP
        )
        needs_warp = self.loss.equivariance_weight and not is_source_a_view
        if needs_warp and self.view_warp == NO_WARP:
            raise ValueError(
                "loss.equivariance_weight needs a view_warp unless the source"
                " is a warp of the target (data.pairs=tps,"
                " data.still_pairs=chained), for instance --set"
                " view_warp.rotation=15"
            )


def _stills(
    dataset: str, num_landmarks: int = 30, crop_fraction: float = 1.0
) -> Config:
    """Pairs of stills: the released warps."""
    return Config(
        data=DataConfig(dataset, crop_fraction=crop_fraction),
        model=ModelConfig(num_landmarks=num_landmarks),
    )


def _frames(dataset: str, num_landmarks: int, **data: object) -> Config:
    """Pairs of frames of a clip, which are not warped."""
    return Config(
        # Clips are many frames of many pixels; few of them fill the memory.
        data=DataConfig(
            dataset, **{"pairs": "video", "shuffle_buffer": 200, **data}
        ),
        target_warp=NO_WARP,
        source_warp=NO_WARP,
        model=ModelConfig(num_landmarks=num_landmarks),
    )


SMALLNORB = tuple(
    f"smallnorb{category}"
    for category in ("", "/animal", "/human", "/airplane", "/truck", "/car")
)

# Per dataset: which clips, how paired, how many landmarks (paper, sec. 4).
_DATASETS = {
    "puppets": _frames("puppets", 30, shuffle_buffer=1_000),
    "celeba": _stills("celeba", crop_fraction=0.8),  # 160 -> 128.
    "aflw": _stills("aflw"),
    "voxceleb": _frames("voxceleb", 30),
    "bbc_pose": _frames("bbc_pose", 50),
    "human36m": _frames("human36m", 20, min_gap=3, max_gap=30),
    **{
        name: _frames(name, 20, pairs="viewpoint", max_gap=1)
        for name in SMALLNORB
    },
    "svhn": _frames("svhn", 10, shuffle_buffer=1_000),
    "images": _stills("images"),
    "video": _frames("video", 30),
}


def _ours(dataset: Config) -> Config:
    """The released recipe, with the paper's Gaussian and balanced scales."""
    return dataclasses.replace(dataset, loss=LossConfig("perceptual"))


def _released(dataset: Config) -> Config:
    """The authors' released code.

    Each choice, with its source, is in README's table of differences. It still
    differs in how images are resized (they align corners and do not blur before
    they shrink), in their range and in the loss network, if its weights are not
    at hand.
    """
    return dataclasses.replace(
        dataset,
        data=dataclasses.replace(dataset.data, warp_fill="zero"),
        model=dataclasses.replace(
            dataset.model, gaussian="released", last_convs=1
        ),
        loss=LossConfig("perceptual", scales="released"),
    )


def _paper(dataset: Config) -> Config:
    """Sec. 3 and 4.1; the batch size and the warps are the released code's."""
    return dataclasses.replace(
        dataset,
        data=dataclasses.replace(dataset.data, still_pairs="independent"),
        model=dataclasses.replace(
            dataset.model, marginal="sum", initializer="normal"
        ),
        loss=LossConfig("perceptual"),
        train=TrainConfig(
            learning_rate=1e-2,
            schedule="plateau",
            decay_factor=0.1,
            weight_decay=5e-4,
            clip="global",
        ),
    )


# Targets that move less than released, sources that move more.
_FAST_TARGET_WARP = dataclasses.replace(RELEASED_TARGET_WARP, translation=0.05)
_FAST_SOURCE_WARP = dataclasses.replace(
    RELEASED_SOURCE_WARP, rotation=15.0, scale=0.2, translation=0.2
)
# For CPUs: many cheap steps, padding that does not tell where in the image one
# looks, and a softmax too soft to jump between two places that look alike.
_FAST_MODEL = ModelConfig(
    image_size=64,
    num_filters=16,
    context_convs=3,
    padding="symmetric",
    temperature=5.0,
    heatmap_sigma=0.2,
)
_FAST_TRAIN = TrainConfig(
    batch_size=16, learning_rate=3e-3, schedule="cosine", clip="none"
)
# Of stills whose object is about in the middle: where in the image one looks
# says much, and windows keep landmarks apart until they have found their
# places.
_FAST_STILLS_MODEL = dataclasses.replace(
    _FAST_MODEL, num_landmarks=30, padding="zero", temperature=1.5
)
_FAST_STILLS_TRAIN = dataclasses.replace(_FAST_TRAIN, window_share=0.15)
# Else positions tell the generator about colours.
_FAST_STILLS_JITTER = 0.3

PRESETS = {
    **{name: _ours(dataset) for name, dataset in _DATASETS.items()},
    **{
        f"{name}_released": _released(dataset)
        for name, dataset in _DATASETS.items()
    },
    **{f"{name}_paper": _paper(dataset) for name, dataset in _DATASETS.items()},
    # For a CPU and a quarter of an hour: many cheap steps. See README.md.
    "puppets": dataclasses.replace(
        _DATASETS["puppets"],
        model=ModelConfig(
            image_size=32,
            num_landmarks=30,
            num_filters=16,
            context_convs=3,
            temperature=0.25,
        ),
        train=TrainConfig(
            batch_size=32,
            num_steps=18_000,
            learning_rate=3e-3,
            schedule="cosine",
            warmup_steps=100,
        ),
    ),
    # For two CPU cores and an hour.
    "celeba_fast": dataclasses.replace(
        _DATASETS["celeba"],
        data=dataclasses.replace(
            _DATASETS["celeba"].data, color_jitter=_FAST_STILLS_JITTER
        ),
        target_warp=_FAST_TARGET_WARP,
        source_warp=_FAST_SOURCE_WARP,
        model=_FAST_STILLS_MODEL,
        loss=LossConfig("perceptual"),
        train=dataclasses.replace(_FAST_STILLS_TRAIN, num_steps=35_000),
    ),
    # Your own stills, without a loss network: 20 to 45 minutes.
    "images_fast": dataclasses.replace(
        _DATASETS["images"],
        data=dataclasses.replace(
            _DATASETS["images"].data, color_jitter=_FAST_STILLS_JITTER
        ),
        target_warp=_FAST_TARGET_WARP,
        source_warp=_FAST_SOURCE_WARP,
        model=_FAST_STILLS_MODEL,
        train=dataclasses.replace(_FAST_STILLS_TRAIN, num_steps=12_000),
    ),
    # For two CPU cores and a quarter of an hour: one animal seen from above,
    # heading anywhere, so both frames are also turned.
    "video_fast": dataclasses.replace(
        _DATASETS["video"],
        target_warp=WarpConfig(rotation=60.0, translation=0.05),
        source_warp=WarpConfig(rotation=60.0, scale=0.1, translation=0.1),
        model=dataclasses.replace(_FAST_MODEL, num_landmarks=10),
        train=dataclasses.replace(_FAST_TRAIN, num_steps=5_000),
    ),
}

# For messages: all of them would fill the screen.
PRESET_NAMES = (
    ", ".join(n for n in PRESETS if not n.endswith(("_released", "_paper")))
    + "; or one of these datasets with _released or _paper"
)


def to_json(config: Config) -> str:
    """Serialises `config`, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


_LATER_SECTIONS = ("view_warp",)  # Files of earlier versions have none.


def from_json(text: str) -> Config:
    """Inverts `to_json`.

    Raises:
        ValueError: if the text is not JSON, a section is missing, or a section
            or field is unknown or has a value that it cannot have. A field
            that is missing, or one of `_LATER_SECTIONS`, has its default: an
            earlier version did not have it.
    """
    sections = {f.name: f.type for f in dataclasses.fields(Config)}
    values = _known(json.loads(text), "the file", "section", sections)
    missing = set(sections) - set(values) - set(_LATER_SECTIONS)
    if missing:
        raise ValueError(f"it lacks the section {min(missing)!r}")
    return Config(
        **{
            name: kind(**_fields(values[name], name, kind))
            for name, kind in sections.items()
            if name in values
        }
    )


def _fields(values: object, section: str, kind: type) -> dict[str, object]:
    """The arguments of a section, of the types that they must have."""
    kinds = {field.name: field.type for field in dataclasses.fields(kind)}
    found = {}
    for name, value in _known(values, section, "field", kinds).items():
        if kinds[name] is float and type(value) is int:
            value = float(value)
        if type(value) is not kinds[name]:
            raise ValueError(
                f"{section}.{name} is {kinds[name].__name__}, got {value!r}"
            )
        found[name] = value
    return found


def _known(values: object, where: str, what: str, names: Iterable[str]) -> dict:
    if not isinstance(values, dict):
        raise ValueError(f"{where} must have {what}s, got {str(values)[:40]!r}")
    if unknown := sorted(set(values) - set(names)):
        raise ValueError(f"{where} has no {what} {unknown[0]!r}")
    return values


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Returns `config` with `section.field=value` assignments applied.

    Raises:
        ValueError: for an unknown field, or a value of another type.
    """
    changes = {}  # Section -> field -> value: valid together, if not alone.
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section_name, _, field = path.partition(".")
        section = getattr(config, section_name, None)
        if section is None or field not in vars(section):
            raise ValueError(
                f"no such setting: {path!r}; settings are named section.field,"
                f" {_settings_of(config, section_name)}"
            )
        if not equals:
            raise ValueError(f"{path} needs a value: {path}=...")
        kind = type(getattr(section, field))
        try:
            value = text if kind is str else ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = None
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"{path} is {kind.__name__}, got {text!r}")
        changes.setdefault(section_name, {})[field] = value
    sections = {
        name: dataclasses.replace(getattr(config, name), **values)
        for name, values in changes.items()
    }
    return dataclasses.replace(config, **sections)


def differences(old: Config, new: Config) -> list[str]:
    """Names the fields in which two configs differ, with both values."""
    lines = []
    for section in dataclasses.fields(Config):
        before, after = (vars(getattr(c, section.name)) for c in (old, new))
        lines += [
            f"{section.name}.{field} is {before[field]!r}, now {value!r}"
            for field, value in after.items()
            if before[field] != value
        ]
    return lines


def _settings_of(config: Config, section_name: str) -> str:
    section = getattr(config, section_name, None)
    if section is None:
        return f"with sections {', '.join(vars(config))}"
    return f"with fields of {section_name}: {', '.join(vars(section))}"
