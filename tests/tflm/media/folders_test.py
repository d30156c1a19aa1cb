import os
import pathlib
import tempfile

from absl.testing import absltest

from tflm.media import folders


class FoldersTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = self._folder() / "root"
        self.root.mkdir()

    def _folder(self) -> pathlib.Path:
        return pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def _write(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")

    def test_files_are_sorted_and_what_is_left_out_is_counted(self):
        self._write("b.png", "a/c.PNG", "a/notes.txt", ".d.png", ".DS_Store")
        self._write(".git/e.png", "f.HEIC")
        (self.root / "gone.png").symlink_to("nowhere.png")
        os.mkfifo(self.root / "pipe.png")

        found = folders.listing(self.root, [".png"])

        self.assertEqual(found.names, ["a/c.PNG", "b.png"])
        self.assertEqual(
            found.left_out,
            {
                folders.HIDDEN: [".d.png"],
                folders.DANGLING: ["gone.png"],
                folders.NO_FILE: ["pipe.png"],
                folders.OTHER_ENDING: ["a/notes.txt"],
                folders.UNREAD: ["f.HEIC"],
            },
        )
        self.assertEqual(
            folders.in_words({"lost": list("abcd"), "hidden": [".d.png"]}),
            "left out: 4 lost (a, b, c, ...), 1 hidden (.d.png)",
        )
        self.assertEqual(folders.in_words({}), "")
        self.assertEqual(
            folders.in_words({"hidden": ["a\n\t.png"]}),
            r"left out: 1 hidden (a\n\t.png)",
        )

    def test_linked_folders_outside_are_read(self):
        outside = self._folder()
        (outside / "day1").mkdir()
        (outside / "day1" / "a.png").write_bytes(b"")
        (self.root / "link").symlink_to(outside / "day1")

        found = folders.listing(self.root, [".png"])

        self.assertEqual(found, folders.Listing(["link/a.png"], {}))

    def test_a_folder_is_read_once_and_under_its_own_name(self):
        self._write("z/a.png")
        (self.root / "b_link").symlink_to(self.root / "z")
        (self.root / "z" / "loop").symlink_to(self.root)
        (self.root / "own").symlink_to("own")  # Leads to itself.

        found = folders.listing(self.root, [".png"])

        self.assertEqual(found.names, ["z/a.png"])
        self.assertEqual(
            found.left_out,
            {
                folders.SEEN_BEFORE: ["b_link", "z/loop"],
                folders.OTHER_ENDING: ["own"],
            },
        )

    def test_two_links_to_one_folder_give_its_files_once(self):
        outside = self._folder()
        (outside / "a.png").write_bytes(b"")
        for name in ("one", "two"):
            (self.root / name).symlink_to(outside)

        found = folders.listing(self.root, [".png"])

        self.assertEqual(found.names, ["one/a.png"])
        self.assertEqual(found.left_out, {folders.SEEN_BEFORE: ["two"]})

    def test_a_link_to_the_folder_above_reads_the_other_folders_there(self):
        self._write("a.png", "../beside/b.png")
        (self.root / "up").symlink_to(self.root.parent)

        found = folders.listing(self.root, [".png"])

        self.assertEqual(found.names, ["a.png", "up/beside/b.png"])
        self.assertEqual(found.left_out, {folders.SEEN_BEFORE: ["up/root"]})

    def test_foreign_paths_are_neither_read_nor_counted(self):
        self._write("a.png", "out/a.png", "out/b.txt")

        found = folders.listing(
            self.root, [".png"], lambda path: path.name == "out"
        )

        self.assertEqual(found, folders.Listing(["a.png"], {}))


if __name__ == "__main__":
    absltest.main()
