from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

from tflm.training import precision


class PrecisionTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ("float32", {"avx512_bf16"}, [], "float32"),
        ("bfloat16", set(), [], "bfloat16"),
        ("auto", {"avx2", "avx512_bf16"}, [], "bfloat16"),
        ("auto", {"amx_bf16"}, [], "bfloat16"),
        ("auto", {"avx2", "avx512f"}, [], "float32"),
        ("auto", {"avx512_bf16"}, ["GPU:0"], "float32"),
    )
    def test_auto_is_bfloat16_where_the_cpu_has_units(
        self, asked, flags, gpus, expected
    ):
        with (
            mock.patch.object(precision, "cpu_flags", lambda: flags),
            mock.patch.object(
                tf.config, "list_physical_devices", lambda _: gpus
            ),
        ):
            self.assertEqual(precision.resolve(asked), expected)


if __name__ == "__main__":
    tf.test.main()
