import unicodedata

from absl.testing import absltest

from tflm.media import file_names


def _decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


class FinderTest(absltest.TestCase):
    def test_the_very_same_name_comes_first(self):
        names = ["é.png", _decomposed("é.png"), "a/é.png"]
        finder = file_names.Finder(names, by_ending=True)
        for name in names:
            self.assertEqual(finder.find(name), [name])

    def test_names_that_look_the_same_are_found(self):
        finder = file_names.Finder([_decomposed("Zoë/é.png"), "b.png"])
        self.assertEqual(finder.find("Zoë/é.png"), [_decomposed("Zoë/é.png")])
        self.assertEqual(finder.find("é.png"), [])

    def test_endings(self):
        names = [_decomposed("x/Zoë/é.png"), "y/b.png", "z/b.png", "c.png"]
        finder = file_names.Finder(names, by_ending=True)
        self.assertEqual(finder.find("Zoë/é.png"), names[:1])
        self.assertEqual(finder.find("b.png"), names[1:3])
        self.assertEqual(finder.find("old/folder/c.png"), ["c.png"])
        self.assertEqual(finder.find("oë/é.png"), [])  # No whole folder.

    def test_what_is_nearly_the_same_is_described(self):
        finder = file_names.Finder(["a/IMG_1.JPG", "a/b.png"], by_ending=True)
        for name, expected in (
            ("img_1.jpg", ", but there is a/IMG_1.JPG: capitals differ"),
            ("a/b.jpg", ", but there is a/b.png: the ending differs"),
            ("c.png", ""),
        ):
            self.assertEqual(finder.describe(name), f"{name!r}{expected}")


if __name__ == "__main__":
    absltest.main()
