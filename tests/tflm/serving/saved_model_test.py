import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm import losses
from tflm.evaluation import keypoint_maps
from tflm.losses import loss_networks
from tflm.media import images as media
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import saved_model
from tflm.serving import warm_up
from tflm.training import checkpoints
from tflm.training import optimizers

# Runs where tflm cannot be imported.
_CLIENT = """
import sys
import numpy as np
import tensorflow as tf

folder, inputs, outputs = sys.argv[1:]
pixels = np.load(inputs)
loaded = tf.saved_model.load(folder)
served = loaded.signatures["serving_default"](images=tf.constant(pixels))
called = loaded(tf.constant(pixels / 255.0, tf.float32))
assert not any(name.split(".")[0] == "tflm" for name in sys.modules)
np.savez(outputs, served=served["landmarks"], called=called["landmarks"])
"""


_WEIGHTS = np.random.RandomState(0).normal(size=[6, 2, 2]).astype(np.float32)
_MAP = keypoint_maps.KeypointMap(
    ("left_eye", "M\u00fcndung"), _WEIGHTS, np.zeros([2, 2], np.float32)
)


def _png(*shape: int) -> bytes:
    return tf.io.encode_png(lively_model.images(*shape)).numpy()


def _claiming(content: bytes, height: int, width: int) -> bytes:
    """A JPEG or PNG file of 40 x 50 pixels that says it were of others."""
    png = content.startswith(b"\x89PNG")
    order = (1, 0) if png else (0, 1)
    length = 4 if png else 2
    old, new = (
        b"".join(size[i].to_bytes(length, "big") for i in order)
        for size in ((40, 50), (height, width))
    )
    assert content.count(old) == 1
    return content.replace(old, new)


class SavedModelTest(parameterized.TestCase, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lively_model.build()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name) / "saved_model" / "1"
        saved_model.write(cls.folder, cls.model, lively_model.CONFIG, _MAP)
        cls.run_saved = staticmethod(saved_model.load(cls.folder))
        cls.call = staticmethod(saved_model.open_signatures(cls.folder))

    def _keras(self, images):
        return detector.detect(
            tf.constant(images), self.model, lively_model.CONFIG
        )

    def test_it_answers_like_keras_on_images_of_any_size(self):
        for shape in [(1, 32, 32), (2, 50, 120), (3, 97, 41), (1, 20, 300)]:
            with self.subTest(str(shape)):
                images = lively_model.images(*shape)
                expected = self._keras(images)
                self.assertAllClose(
                    self.run_saved(images), expected, atol=1e-5, rtol=0
                )

    def test_the_landmarks_compared_here_differ_between_images(self):
        landmarks = self.run_saved(lively_model.images(8, 40, 50))["landmarks"]
        self.assertAllGreater(np.std(landmarks, axis=0), 1e-3)

    def test_float_and_uint8_images_give_the_same_answer(self):
        images = lively_model.images(2, 50, 120)

        from_floats = self.run_saved((images / 255.0).astype(np.float32))

        self.assertAllClose(
            from_floats, self.run_saved(images), atol=1e-5, rtol=0
        )

    def test_an_answer_does_not_depend_on_the_other_images(self):
        images = lively_model.images(3, 50, 60)

        alone = self.run_saved(images[:1])["landmarks"]

        together = self.run_saved(images)["landmarks"]
        self.assertAllClose(alone[0], together[0], atol=1e-5, rtol=0)

    def test_a_bad_file_does_not_fail_the_others(self):
        images = [lively_model.images(*size) for size in [(40, 50), (90, 30)]]
        jpeg = tf.io.encode_jpeg(images[0], quality=100).numpy()
        png = tf.io.encode_png(images[1]).numpy()
        small = _png(40, 50)
        files = {
            jpeg: b"",
            png: b"",
            b"": b"neither JPEG nor PNG",
            b"GIF89a" + bytes(99): b"neither JPEG nor PNG",
            jpeg[:-300]: b"does not decode",
            jpeg[:8]: b"does not decode",
            png[:-300]: b"does not decode",
            png[:20]: b"does not decode",
            # Larger than it is, but not too large: too little follows.
            _claiming(small, 41, 50): b"does not decode",
            _claiming(small, 5_001, 5_000): b"more than 25000000 pixels",
            _claiming(
                small, 2**31 - 1, 2**31 - 1
            ): b"more than 25000000 pixels",
            _claiming(jpeg, 5_001, 5_000): b"more than 25000000 pixels",
            _png(1, 50): b"less than 2 x 2 pixels",
        }

        answer = self.call("predict_bytes", image_bytes=[*files, png])

        self.assertAllEqual(answer["error"], [*files.values(), b""])
        decoded = media.decode(jpeg, "a.jpg")
        for index, image in ((0, decoded), (1, images[1]), (-1, images[1])):
            expected = self._keras(image[None])
            for name, value in expected.items():
                self.assertAllClose(answer[name][index], value[0], atol=1e-5)
        self.assertAllEqual(answer["landmarks"][2:-1], -np.ones([11, 3, 2]))
        self.assertAllEqual(answer["confidence"][2:-1], np.zeros([11, 3]))

    def test_grey_and_transparent_files_are_images_too(self):
        grey = lively_model.images(40, 50)[..., :1]
        opaque = np.concatenate([grey] * 3 + [np.full_like(grey, 255)], -1)
        files = [tf.io.encode_png(image).numpy() for image in (grey, opaque)]
        files.append(tf.io.encode_png(grey.astype(np.uint16) * 257).numpy())

        answer = self.call("predict_bytes", image_bytes=files)

        expected = self._keras(np.repeat(grey[None], 3, -1))["landmarks"]
        self.assertAllEqual(answer["error"], [b""] * 3)
        for found in answer["landmarks"]:
            self.assertAllClose(found, expected[0], atol=1e-5)

    def test_it_runs_in_a_session_as_servers_run_it(self):
        files = [_png(40, 50), b"no image"]
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            loaded = tf.compat.v1.saved_model.load(
                session, ["serve"], str(self.folder)
            )
            signature = loaded.signature_def["predict_bytes"]
            landmarks, error = session.run(
                [
                    signature.outputs[name].name
                    for name in ("landmarks", "error")
                ],
                {signature.inputs["image_bytes"].name: files},
            )

        self.assertEqual(error.tolist(), [b"", b"neither JPEG nor PNG"])
        expected = self._keras(lively_model.images(40, 50)[None])["landmarks"]
        self.assertAllClose(landmarks[:1], expected, atol=1e-5)

    @parameterized.parameters(
        ("serving_default", np.zeros([0, 9, 9, 3], np.uint8), "no images"),
        ("serving_default", np.zeros([1, 0, 9, 3], np.uint8), "2 x 2 pixels"),
        ("heatmaps", np.zeros([1, 9, 1, 3], np.uint8), "2 x 2 pixels"),
        ("keypoints", np.zeros([1, 1, 9, 3], np.uint8), "2 x 2 pixels"),
        (
            "serving_float",
            np.full([1, 9, 9, 3], np.nan, np.float32),
            "in .0, 1",
        ),
        ("serving_float", np.full([1, 9, 9, 3], 255, np.float32), "in .0, 1"),
        ("serving_float", np.full([1, 9, 9, 3], -0.1, np.float32), "in .0, 1"),
    )
    def test_images_that_make_no_sense_are_refused(self, name, images, message):
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, f"images.* {message}"
        ):
            self.call(name, images=images)

    def test_requests_that_make_no_sense_are_refused(self):
        one, two = (
            lively_model.images(1, 32, 32),
            lively_model.images(2, 32, 32),
        )
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "no images"
        ):
            self.call("predict_bytes", image_bytes=np.zeros([0], object))
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError,
            r"as many style_images .*\[1\] \[2\]",
        ):
            self.call("reconstruct", style_images=one, geometry_images=two)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "geometry_images: no images"
        ):
            self.call("reconstruct", style_images=one, geometry_images=one[:0])

    def test_heatmaps_are_those_that_the_generator_gets(self):
        images = lively_model.images(2, 32, 32)

        answer = self.call("heatmaps", images=images)

        floats = tf.constant(images / 255.0, tf.float32)
        expected = self.model([floats, floats])["heatmaps"]
        self.assertAllClose(answer["heatmaps"], expected, atol=1e-5)
        self.assertAllClose(
            answer["landmarks"], self.run_saved(images)["landmarks"], atol=1e-6
        )

    def test_the_looks_are_of_one_image_and_the_geometry_of_another(self):
        style, geometry = lively_model.images(2, 32, 32)[:, None]

        answer = self.call(
            "reconstruct", style_images=style, geometry_images=geometry
        )

        pair = [tf.constant(i / 255.0, tf.float32) for i in (style, geometry)]
        expected = self.model(pair)["reconstruction"].numpy()
        self.assertEqual(answer["images"].dtype, np.uint8)
        expected = np.clip(expected, 0, 1)
        self.assertAllClose(answer["images"] / 255.0, expected, atol=0.0021)
        swapped = self.model(pair[::-1])["reconstruction"].numpy()
        self.assertGreater(
            np.abs(np.clip(swapped, 0, 1) - expected).max(), 0.01
        )

    def test_keypoints_have_names(self):
        images = lively_model.images(2, 32, 32)

        answer = self.call("keypoints", images=images)

        floats = tf.constant(images / 255.0, tf.float32)
        landmarks = self.model.detect(floats)["landmarks"].numpy()
        expected = (_MAP(landmarks)[..., ::-1] + 1.0) / 2.0
        self.assertAllClose(answer["keypoints"], expected, atol=1e-5)
        names = [name.encode() for name in _MAP.names]
        self.assertAllEqual(answer["names"], [names] * 2)
        lines = (self.folder / "assets" / "keypoint_names.txt").read_text()
        self.assertEqual(lines, "left_eye\nM\u00fcndung\n")

    def test_it_names_no_folder_of_the_machine_that_made_it(self):
        content = (self.folder / "saved_model.pb").read_bytes()
        self.assertNotIn(tempfile.gettempdir().encode() + b"/tmp", content)

    def test_its_warm_up_requests_run(self):
        records = tf.data.TFRecordDataset(str(self.folder / warm_up.FILE))
        self.assertLen(list(records), 6)
        each = warm_up.requests(
            ["serving_default", "serving_float", "predict_bytes", "heatmaps"]
            + ["reconstruct", "keypoints"],
            32,
        )
        for name, inputs in each:
            for output in self.call(name, **inputs).values():
                self.assertLen(output, 1)
                if output.dtype == object:
                    self.assertNotIn(b"not", output[0])

    @parameterized.parameters("l2", "perceptual", "adversarial_l2")
    def test_of_a_run_it_holds_the_variables_of_the_model_alone(self, name):
        config = configs.LossConfig(name, "random", network_filters=2)
        network = loss_networks.load(config, "puppets", "", None, seed=0)
        loss = losses.from_config(config, network)
        optimizer = optimizers.adam(lively_model.CONFIG.train)
        optimizer.build(self.model.trainable_variables)
        run = pathlib.Path(self.get_temp_dir()) / name
        checkpoints.save(str(run), self.model, optimizer, loss)
        model = landmark_model.LandmarkModel(lively_model.CONFIG.model)

        checkpoints.restore_model(str(run), model)
        saved_model.write(run / "1", model, lively_model.CONFIG)

        saved = [
            tuple(shape)
            for key, shape in tf.train.list_variables(
                str(run / "1" / "variables" / "variables")
            )
            if key != "_CHECKPOINTABLE_OBJECT_GRAPH"
        ]
        expected = [tuple(v.shape) for v in self.model.variables]
        self.assertCountEqual(saved, expected)
        images = lively_model.images(2, 40, 50)
        landmarks = saved_model.load(run / "1")(images)["landmarks"]
        expected = self._keras(images)["landmarks"]
        self.assertAllClose(landmarks, expected, atol=1e-5)

    def test_it_needs_no_op_that_tensorflow_serving_lacks(self):
        proto = saved_model_pb2.SavedModel.FromString(
            (self.folder / "saved_model.pb").read_bytes()
        )
        (meta_graph,) = proto.meta_graphs
        nodes = list(meta_graph.graph_def.node)
        for function in meta_graph.graph_def.library.function:
            nodes.extend(function.node_def)
        ops = {node.op for node in nodes}

        self.assertIn("Conv2D", ops)
        foreign = [op for op in ops if "Py" in op or ">" in op]
        self.assertEmpty(foreign)

    def test_it_says_which_view_it_takes(self):
        found = saved_model.read_view(self.folder)

        self.assertEqual(found.model.image_size, 32)
        self.assertEqual(found.model.num_landmarks, 3)
        self.assertEqual(found.data.crop_fraction, 1.0)
        with self.assertRaisesRegex(
            errors.UserError, "has no readable .*export the run again"
        ):
            saved_model.read_view(self.folder.parent)

    def test_it_runs_in_a_process_without_tflm(self):
        images = lively_model.images(2, 45, 70)
        scratch = self.get_temp_dir()
        inputs, outputs = (
            os.path.join(scratch, name) for name in ("in.npy", "out.npz")
        )
        np.save(inputs, images)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("PYTHONPATH", None)

        subprocess.run(
            [sys.executable, "-c", _CLIENT, self.folder, inputs, outputs],
            cwd=scratch,
            env=environment,
            check=True,
        )

        expected = self._keras(images)["landmarks"]
        with np.load(outputs) as answers:
            for name in ("served", "called"):
                self.assertAllClose(answers[name], expected, atol=1e-5, rtol=0)


if __name__ == "__main__":
    tf.test.main()
