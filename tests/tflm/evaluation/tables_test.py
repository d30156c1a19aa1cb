from absl.testing import absltest

from tflm.evaluation import tables


class TableTest(absltest.TestCase):
    def test_columns_line_up_and_are_markdown(self):
        table = tables.Table(
            "Errors", ["", "no bias"], [["NME, %", "5.07"], ["x", "-"]], "of 9"
        )
        self.assertEqual(
            table.markdown().splitlines(),
            [
                "Errors: of 9",
                "",
                "|        | no bias |",
                "| ------ | ------: |",
                "| NME, % |    5.07 |",
                "| x      |       - |",
            ],
        )

    def test_cells(self):
        for value, interval, expected in (
            (None, None, "-"),
            (None, [1.0, 2.0], "-"),
            (1.005, None, "1.00"),
            (1.5, [1.25, 2.0], "1.50 (1.25 to 2.00)"),
            (1.5, [None, None], "1.50"),  # Of a single video.
        ):
            self.assertEqual(tables.cell(value, interval), expected)


if __name__ == "__main__":
    absltest.main()
