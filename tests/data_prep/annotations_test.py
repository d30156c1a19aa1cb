import json
import pathlib
import tempfile
import unicodedata
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep import annotations
from tflm import errors
from tflm.media import tables

NAN = np.nan
RAW_DIR = pathlib.Path("raw")
PLAIN = """\
image,nose_x,nose_y,tail_x,tail_y
a.jpg,1.5,2,,
more/b.jpg,3,4,5,6
"""
DEEPLABCUT = """\
scorer,Ann,Ann,Ann,Ann
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
a.jpg,1.5,2,,
more/b.jpg,3,4,5,6
"""
THREE_CELLS = """\
scorer,,,Ann,Ann,Ann,Ann
bodyparts,,,nose,nose,tail,tail
coords,,,x,y,x,y
labeled-data,mouse,img01.png,1.5,2,,
labeled-data,mouse,img22.png,3,4,5,6
"""
ONE_ANIMAL = """\
scorer,,,Ann,Ann,Ann,Ann
individuals,,,mouse1,mouse1,single,single
bodyparts,,,nose,nose,corner,corner
coords,,,x,y,x,y
labeled-data,mouse,img01.png,1.5,2,7,8
"""


def _coco() -> dict:
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 9, "height": 9},
            {"id": 5, "file_name": "more/b.jpg"},
            {"id": 6, "file_name": "unlabelled.jpg"},
        ],
        "annotations": [
            {"image_id": 5, "category_id": 1, "keypoints": [3, 4, 2, 5, 6, 1]},
            {
                "image_id": 7,
                "category_id": 1,
                "keypoints": [1.5, 2, 2, 0, 0, 0],
            },
            # A crowd, and an object of another kind.
            {"image_id": 7, "category_id": 1, "keypoints": [0] * 6},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]},
        ],
        "categories": [
            {"id": 2, "name": "cage"},
            {"id": 1, "name": "mouse", "keypoints": ["nose", "tail"]},
        ],
    }


class FileTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder, "keypoints")

    def _read(self, content: str | dict) -> annotations.Annotations:
        if isinstance(content, dict):
            content = json.dumps(content)
        self.path.write_text(content)
        return annotations.read(str(self.path))

    def _assert_refused(self, content: str | dict, message: str) -> None:
        with self.assertRaisesRegex(errors.RawDataError, message) as caught:
            self._read(content)
        self.assertIn(str(self.path), str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))


class ReadTest(FileTest):
    @parameterized.named_parameters(
        ("plain", PLAIN),
        ("deeplabcut", DEEPLABCUT),
        ("coco", _coco()),
    )
    def test_three_formats_say_the_same(self, content):
        found = self._read(content)

        self.assertEqual(found.keypoint_names, ["nose", "tail"])
        self.assertCountEqual(found.names(), ["a.jpg", "more/b.jpg"])
        np.testing.assert_array_equal(
            found.points("a.jpg"), [[2, 1.5], [NAN, NAN]]
        )
        np.testing.assert_array_equal(
            found.points("more/b.jpg"), [[4, 3], [6, 5]]
        )
        self.assertTrue(found.has("a.jpg"))
        self.assertFalse(found.has("unlabelled.jpg"))
        np.testing.assert_array_equal(
            found.points("unlabelled.jpg"), [[NAN, NAN], [NAN, NAN]]
        )

    def test_no_file_has_no_keypoints(self):
        found = annotations.read(None)

        self.assertEqual((found.keypoint_names, found.names()), ([], []))
        np.testing.assert_array_equal(found.points("a.jpg"), [[NAN, NAN]])

    def test_byte_order_mark_and_windows_line_ends(self):
        text = PLAIN.replace("\n", "\r\n")
        self.path.write_bytes(b"\xef\xbb\xbf" + text.encode())

        found = annotations.read(str(self.path))

        self.assertEqual(found.names(), ["a.jpg", "more/b.jpg"])

    def test_empty_lines_of_a_spreadsheet_do_not_count(self):
        found = self._read(PLAIN + ",,,,\n\n")

        self.assertEqual(found.names(), ["a.jpg", "more/b.jpg"])

    def test_other_files_are_refused(self):
        self._assert_refused("", "keypoints is empty; save it again")
        self._assert_refused("<html>", "line 1: columns must be image")
        self._assert_refused(
            "image,a_x,a_y\na.jpg,,\n", "annotates no image; leave --keypoints"
        )
        self._assert_refused(
            "image\n" + "a" * 200_000, "line 2 .*field larger.*close the quote"
        )
        with self.assertRaisesRegex(
            errors.RawDataError, "--keypoints=no.csv cannot be read .No such"
        ):
            annotations.read("no.csv")

    def test_an_image_has_one_entry(self):
        for content in (PLAIN, DEEPLABCUT):
            number = content.count("\n") + 1
            self._assert_refused(
                content + "a.jpg,1,2,3,4\n",
                f"line {number}: a.jpg is also in line {number - 2}; keep one",
            )
        coco = _coco()
        other = {**coco["annotations"][0], "keypoints": [1, 1, 2, 1, 1, 2]}
        coco["annotations"].append(other)
        self._assert_refused(
            coco, r"annotations\[4\]: more/b.jpg is also in annotations\[0\]"
        )

    def test_an_entry_that_is_there_twice_counts_once(self):
        found = self._read(PLAIN + "a.jpg,1.5,2,,\n")

        self.assertEqual(found.names(), ["a.jpg", "more/b.jpg"])
        self.assertEqual(
            found.counts(),
            f"{self.path}: 2 entries read; left out: 1 that repeat another"
            " (a.jpg)",
        )

    def test_what_spreadsheets_save(self):
        expected = self._read(PLAIN)
        semicolons = PLAIN.replace(",", ";")
        for name, content in {
            "utf-16 of Excel's Unicode text": PLAIN.replace(",", "\t").encode(
                "utf-16"
            ),
            "utf-16 without a mark": PLAIN.encode("utf-16-le"),
            "utf-16, big-endian": PLAIN.encode("utf-16-be"),
            "semicolons": semicolons.encode(),
            "decimal commas": semicolons.replace(".5", ",5").encode(),
            "a line for Excel": b"sep=;\r\n" + semicolons.encode(),
            "quotes": PLAIN.replace("a.jpg", '"a.jpg"').encode(),
            "lines end as on an old Mac": PLAIN.replace("\n", "\r").encode(),
            "empty columns": PLAIN.replace("\n", ",,\n").encode(),
            "blanks and capitals": PLAIN.replace(
                "image,nose_x", "Image, nose_X"
            ).encode(),
            "DeepLabCut with semicolons": DEEPLABCUT.replace(",", ";").encode(),
        }.items():
            with self.subTest(name):
                self.path.write_bytes(content)
                found = annotations.read(str(self.path))
                self.assertEqual(found.keypoint_names, ["nose", "tail"])
                self.assertEqual(found.names(), expected.names())
                for image in expected.names():
                    np.testing.assert_array_equal(
                        found.points(image), expected.points(image)
                    )

    def test_letters_of_windows(self):
        self.path.write_bytes(
            PLAIN.replace("a.jpg", "Zoë.jpg").encode("cp1252")
        )
        found = annotations.read(str(self.path))
        self.assertEqual(found.names(), ["Zoë.jpg", "more/b.jpg"])

    @parameterized.parameters(
        (b"PK\x03\x04 xl/worksheets", "is a spreadsheet .* save it as CSV"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file; give the CSV file beside it"),
        (b"\x1f\x8b\x08", "is compressed; unpack it"),
        (PLAIN.encode() + b"\0\0\0", r"line 4: .*x00.* no character of a text"),
        (b"image,a_x,a_y\n\x81\x8d,1,2", "is no text .*save it as UTF-8"),
        (b'image,a_x,a_y\nb,1,2\n"a,1,2\nc,1,2\n', "line 3: a cell goes on"),
    )
    def test_what_is_no_table(self, content, message):
        self.path.write_bytes(content)
        with self.assertRaisesRegex(errors.RawDataError, message) as caught:
            annotations.read(str(self.path))
        self.assertIn(str(self.path), str(caught.exception))

    @parameterized.parameters(
        (tables.csv, "reader", PLAIN), (annotations.json, "loads", "{}")
    )
    def test_whatever_a_parser_raises_is_one_line(self, parser, name, content):
        with mock.patch.object(
            parser, name, side_effect=ZeroDivisionError("two\nlines")
        ):
            self._assert_refused(content, "ZeroDivisionError: two lines")
        with mock.patch.object(
            annotations, "_parse_points", side_effect=AttributeError("odd")
        ):
            self._assert_refused(PLAIN, "cannot be read .AttributeError: odd.;")

    def test_fractions_are_no_pixels(self):
        header = "image,a_x,a_y\n"
        with self.assertRaisesRegex(
            errors.RawDataError, "all keypoints are between 0 and 1"
        ):
            self._read(f"{header}a.png,0.5,0.25\nb.png,,\n")
        self._read(f"{header}a.png,0.5,0.25\nb.png,7,1\n")
        self._read(f"{header}a.png,1,0\n")

    def test_a_keypoint_has_a_name_of_its_own(self):
        message = "2 keypoints are named 'nose'"
        for content in (PLAIN, DEEPLABCUT, json.dumps(_coco())):
            self._assert_refused(content.replace("tail", "nose"), message)


class PlainTest(FileTest):
    def test_header(self):
        self._assert_refused(
            PLAIN.replace("nose_y", "tail_y"), "line 1: .*'image,nose_x,tail_y"
        )
        self._assert_refused(PLAIN.replace("image", "name"), "line 1: .*'name,")
        self._assert_refused("image\na.jpg\n", "line 1: .*'image'")

    def test_lines(self):
        self._assert_refused(PLAIN + "c.jpg,1,2,3\n", "line 4: .* 4 cells .* 3")
        self._assert_refused(PLAIN + "c.jpg,1,2,3,four\n", "line 4: .*'four'")
        self._assert_refused(
            PLAIN + "c.jpg,1,2,3,\n",
            "line 4: .* two empty cells; tail has '3,'",
        )
        self._assert_refused(
            PLAIN + "c.jpg,1,inf,3,4\n", "line 4: .* nose has '1,inf'"
        )


class DeepLabCutTest(FileTest):
    def test_path_in_three_cells(self):
        found = self._read(THREE_CELLS)

        self.assertEqual(
            found.names(),
            ["labeled-data/mouse/img01.png", "labeled-data/mouse/img22.png"],
        )
        np.testing.assert_array_equal(
            found.points("labeled-data/mouse/img01.png"), [[2, 1.5], [NAN, NAN]]
        )

    def test_path_of_windows(self):
        found = self._read(DEEPLABCUT.replace("more/b", r"labeled-data\v 1\b"))

        self.assertEqual(found.names(), ["a.jpg", "labeled-data/v 1/b.jpg"])

    def test_one_animal_and_parts_of_the_scene(self):
        found = self._read(ONE_ANIMAL)

        self.assertEqual(found.keypoint_names, ["nose", "corner"])
        np.testing.assert_array_equal(
            found.points("labeled-data/mouse/img01.png"), [[2, 1.5], [8, 7]]
        )

    def test_more_animals_are_refused(self):
        self._assert_refused(
            ONE_ANIMAL.replace("single", "mouse2"),
            r"2 individuals \(mouse1, mouse2\), but an image shows one",
        )

    def test_output_of_a_network_is_refused(self):
        self._assert_refused(
            "scorer,net,net,net\nbodyparts,nose,nose,nose\n"
            "coords,x,y,likelihood\n0,1,2,0.9\n",
            "CollectedData_.*csv.*, not what a network found",
        )

    def test_header(self):
        message = "lines bodyparts and coords must have an x and a y"
        lines = DEEPLABCUT.splitlines(keepends=True)
        self._assert_refused("".join(lines[:1] + lines[2:]), message)
        self._assert_refused("".join(lines[:2] + lines[3:]), message)
        self._assert_refused(
            DEEPLABCUT.replace("nose,nose", "nose,tail"), message
        )
        self._assert_refused(DEEPLABCUT.replace("x,y,x,y", "x,y,x"), message)

    def test_lines(self):
        self._assert_refused(
            THREE_CELLS + "labeled-data,mouse,img3.png,1,2,3\n",
            "line 6: .* 4 cells .* got 3",
        )
        self._assert_refused(
            THREE_CELLS + "labeled-data,mouse,img3.png,1,2,,4\n",
            "line 6: .* tail has ',4'",
        )


class CocoTest(FileTest):
    def test_json(self):
        self._assert_refused('{"images": [', "no valid JSON .*export it again")
        self._assert_refused("[" * 100_000, "no valid JSON")
        self._assert_refused("[]", "no list images")

    @parameterized.parameters("images", "annotations", "categories")
    def test_lists(self, name):
        for wrong in (None, {}, [3]):
            self._assert_refused({**_coco(), name: wrong}, f"no list {name}")

    def test_categories(self):
        coco = _coco()
        with_keypoints = coco["categories"][1]
        self._assert_refused(
            {**coco, "categories": []}, "must have keypoints, got 0"
        )
        self._assert_refused(
            {**coco, "categories": [with_keypoints, with_keypoints]},
            "must have keypoints, got 2; keep one kind of object",
        )
        with_keypoints["keypoints"] = [1, 2]
        self._assert_refused(coco, "must be a list of names")

    def test_images(self):
        coco = _coco()
        coco["images"][1]["id"] = 7
        self._assert_refused(coco, r"images\[1\]: 'more/b.jpg' has the id 7 of")
        del coco["images"][1]["file_name"]
        self._assert_refused(coco, r"images\[1\]: .*None and 7")

    @parameterized.parameters(8, None, [[7]])
    def test_annotation_of_no_image(self, image_id):
        coco = _coco()
        coco["annotations"][1]["image_id"] = image_id
        found = self._read(coco)
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"1 of 2 entries .*annotations\[1\], image_id .*: no image has",
        ):
            found.check(["more/b.jpg"], RAW_DIR)
        checked = found.check(["more/b.jpg"], RAW_DIR, skip_broken=True)
        self.assertEqual(checked.names(), ["more/b.jpg"])
        self.assertIn("1 without an image", checked.counts())

    def test_ids_as_numbers_and_as_text_are_the_same(self):
        coco = _coco()
        coco["annotations"][0]["image_id"] = "5"
        coco["annotations"][1]["image_id"] = 7.0
        coco["annotations"][1]["category_id"] = "1"
        self.assertEqual(self._read(coco).names(), self._read(_coco()).names())

    def test_what_is_left_out_is_counted(self):
        coco = _coco()
        crowd = {**coco["annotations"][0], "iscrowd": 1}
        coco["annotations"].append(crowd)
        coco["images"].append(coco["images"][0])
        self.assertEqual(
            self._read(coco).counts(),
            f"{self.path}: 2 entries read; left out:"
            " 1 in another category (annotations[3]),"
            " 1 for a crowd (annotations[4]),"
            " 1 without keypoints (a.jpg), 1 that repeat another (images[3])",
        )

    @parameterized.named_parameters(
        ("too_short", [1, 2, 2]),
        ("too_long", [1, 2, 2] * 3),
        ("text", "a"),
        ("no_coordinate", [1, None, 2, 3, 4, 2]),
        ("no_visibility", [1, 2, None, 3, 4, 2]),
        ("infinite", [1, float("inf"), 2, 3, 4, 2]),
        ("huge", [1, 10**400, 2, 3, 4, 2]),
    )
    def test_keypoints(self, keypoints):
        coco = _coco()
        coco["annotations"][0]["keypoints"] = keypoints
        self._assert_refused(
            coco, r"annotations\[0\]: keypoints must be 6 numbers"
        )

    @parameterized.parameters(None, [[]])
    def test_a_box_alone_is_passed_over(self, keypoints):
        coco = _coco()
        box = {**coco["annotations"][0], "keypoints": keypoints}
        coco["annotations"].insert(0, box)
        self.assertEqual(self._read(coco).names(), self._read(_coco()).names())


class CheckSizeTest(parameterized.TestCase):
    @parameterized.parameters(
        ([3.0, -20.0],), ([59.0, 119.0],), ([np.nan, np.nan],)
    )
    def test_a_point_near_the_image_may_be_meant(self, point):
        annotations.check_size("a.png", (40, 60), np.array([point]))

    @parameterized.parameters(([3.0, 121.0],), ([-61.0, 2.0],))
    def test_a_point_of_another_size_is_refused(self, point):
        with self.assertRaisesRegex(
            errors.RawDataError, "^a.png: a keypoint at x .*60 x 40 pixels"
        ):
            annotations.check_size(
                "a.png", (40, 60), np.array([[1.0, 1.0], point])
            )


class CheckTest(FileTest):
    def _check(self, content: str | dict, *images: str):
        return self._read(content).check(images, RAW_DIR)

    def _assert_mismatch(self, message: str, content: str, *images: str):
        with self.assertRaisesRegex(errors.RawDataError, message):
            self._check(content, *images)

    def test_entries_get_the_names_of_the_images(self):
        for images in (
            ["labeled-data/mouse/img01.png", "labeled-data/mouse/img22.png"],
            ["mouse/img01.png", "img22.png", "img03.png"],
            ["x/labeled-data/mouse/img01.png", "mouse/img22.png"],
        ):
            found = self._check(THREE_CELLS, *images)

            self.assertEqual(found.keypoint_names, ["nose", "tail"])
            self.assertEqual(found.names(), images[:2])
            np.testing.assert_array_equal(
                found.points(images[0]), [[2, 1.5], [NAN, NAN]]
            )

    def test_the_same_path_comes_before_longer_and_shorter_ones(self):
        found = self._check(
            PLAIN, "x/a.jpg", "a.jpg", "b.jpg", "more/b.jpg", "x/more/b.jpg"
        )

        self.assertEqual(found.names(), ["a.jpg", "more/b.jpg"])
        self.assertFalse(found.has("x/a.jpg"))

    def test_whole_names_of_folders_are_compared(self):
        self._assert_mismatch(
            "1 of 2 entries have no image there .line 2: 'a.jpg'.; correct",
            PLAIN,
            "aa.jpg",
            "more/b.jpg",
        )
        self._assert_mismatch(
            "line 3: 'more/b.jpg'",
            PLAIN,
            "a.jpg",
            "nomore/b.jpg",
        )

    def test_no_image(self):
        self._assert_mismatch(
            "line 5: 'labeled-data/mouse/img22.png'",
            THREE_CELLS,
            "mouse/img01.png",
            "other/img22.png",
        )
        with self.assertRaisesRegex(
            errors.RawDataError, r"annotations\[0\]: 'more/b.jpg'"
        ):
            self._check(_coco(), "a.jpg")

    def test_all_that_have_no_image_are_told_at_once_or_left_out(self):
        lines = [f"{number}.jpg,1,2,3,4" for number in range(60)]
        found = self._read("\n".join([*PLAIN.splitlines()[:1], *lines]))
        images = [f"{number}.jpg" for number in range(0, 60, 2)]
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"30 of 60 entries .*\(line 3: '1.jpg', line 5: '3.jpg', line 7:"
            r" '5.jpg', \.\.\.\); .*--skip_broken",
        ):
            found.check(images, RAW_DIR)

        checked = found.check(images, RAW_DIR, skip_broken=True)

        self.assertEqual(checked.names(), images)
        self.assertEqual(
            checked.counts(),
            f"{self.path}: 30 entries read; left out: 30 without an image"
            " (1.jpg, 3.jpg, 5.jpg, ...)",
        )
        with self.assertRaisesRegex(errors.RawDataError, "60 of 60 entries"):
            found.check(["a.jpg"], RAW_DIR, skip_broken=True)

    def test_names_that_look_the_same_are_the_same(self):
        text = PLAIN.replace("more/b", "Zoë/é").replace("a.jpg", "á.jpg")
        for of_file, of_disk in (("NFC", "NFD"), ("NFD", "NFC")):
            images = [
                unicodedata.normalize(of_disk, name)
                for name in ("á.jpg", "x/Zoë/é.jpg")
            ]
            found = self._check(unicodedata.normalize(of_file, text), *images)
            self.assertEqual(found.names(), images)

    def test_two_files_that_look_the_same(self):
        both = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
        text = PLAIN.replace("a.jpg", both[1])
        found = self._check(text, *both, "more/b.jpg")  # The very same name.
        self.assertEqual(found.names(), [both[1], "more/b.jpg"])
        self._assert_mismatch(
            r"'e\\u0301.jpg' or '\\xe9.jpg' of raw, which look the same",
            text.replace(both[1], "x/é.jpg"),
            *both,
            "more/b.jpg",
        )

    def test_names_that_are_nearly_there(self):
        self._assert_mismatch(
            "'a.jpg', but there is A.JPG: capitals differ, line 3:"
            " 'more/b.jpg', but there is more/b.png: the ending differs",
            PLAIN,
            "A.JPG",
            "more/b.png",
        )

    def test_two_images(self):
        self._assert_mismatch(
            "line 2: 'a.jpg' may be x/a.jpg or y/a.jpg of raw; write the path",
            PLAIN,
            "y/a.jpg",
            "x/a.jpg",
            "more/b.jpg",
        )
        self._assert_mismatch(
            "line 4: .* may be img01.png or mouse/img01.png of raw",
            THREE_CELLS,
            "img01.png",
            "mouse/img01.png",
        )

    def test_two_entries_of_one_image(self):
        self._assert_mismatch(
            "line 5: img01.png is also in line 4",
            THREE_CELLS.replace("mouse,img22", "rat,img01"),
            "img01.png",
        )


class LeftRightSwapsTest(parameterized.TestCase):
    @parameterized.parameters(
        ("left_ear", "right_ear"),
        ("leftear", "rightear"),
        ("LeftEar", "RightEar"),
        ("earLeft", "earRight"),
        ("EAR_LEFT", "ear_right"),
        ("L_paw", "R_paw"),
        ("l_paw", "R_Paw"),
        ("paw_l", "paw_r"),
        ("front-L-paw", "front-R-paw"),
        ("pawL", "pawR"),
        ("LPaw", "RPaw"),
        ("L1", "R1"),
        ("l eye", "r eye"),
        # A mirror exchanges both sides of such a name.
        ("left_eye_left_corner", "right_eye_right_corner"),
        ("left_eye_right_corner", "right_eye_left_corner"),
    )
    def test_pairs(self, left, right):
        names = ["snout", right, "tail_base", left, "left_hip"]
        self.assertEqual(annotations.left_right_swaps(names), [(1, 3)])

    @parameterized.parameters(
        ("left_ear", "right_eye"),
        ("lear", "rear"),  # A letter that is no word is no side.
        ("tail", "tair"),
        ("lip", "rip"),
        ("left_eye_left_corner", "right_eye_left_corner"),
        ("Left_ear", "left_ear", "right_ear"),  # Whose partner is the right?
        ("LEar", "rear"),
    )
    def test_no_pairs(self, *names):
        self.assertEqual(annotations.left_right_swaps(names), [])

    def test_a_name_that_looks_like_a_mirrored_one(self):
        names = ["LEar", "rear", "REar"]
        self.assertEqual(annotations.left_right_swaps(names), [(0, 2)])


if __name__ == "__main__":
    absltest.main()
