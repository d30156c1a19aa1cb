import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.tflm.serving import lively_model
from tflm import errors
from tflm.serving import detector
from tflm.serving import saved_model

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


class SavedModelTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lively_model.build()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name) / "saved_model" / "1"
        saved_model.write(cls.folder, cls.model, lively_model.CONFIG)
        cls.run_saved = staticmethod(saved_model.load(cls.folder))

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

    def test_it_holds_the_variables_of_the_detector_and_no_others(self):
        saved = [
            tuple(shape)
            for name, shape in tf.train.list_variables(
                str(self.folder / "variables" / "variables")
            )
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
        ]

        expected = [tuple(v.shape) for v in self.model.detector.variables]
        self.assertCountEqual(saved, expected)
        self.assertLess(len(expected), len(self.model.variables))

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
