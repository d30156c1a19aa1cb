"""What all builders share: from a list of sources to shards of clips.

A dataset says which sources its splits have and how one source is read. They
are read one after the other, by worker processes, or by an Apache Beam
pipeline; the shards hold the same clips, which tfds orders by a hash of their
id.
"""

import abc
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import os
import pathlib

import tensorflow_datasets as tfds

from data_prep import progress
from data_prep import workers
from tflm import errors
from tflm.media import file_names
from tflm.media import folders


@dataclasses.dataclass(frozen=True)
class Source:
    """Raw data that is read in one go: an image, a video.

    Attributes:
        group: whom or what it shows, such as an identity; splits share none.
        num_frames: how many it gives, or a guess; progress is counted in it.
        spec: all that reading it needs. Workers get a pickled copy.
    """

    group: str
    num_frames: int
    spec: object


Read = Callable[[Source], Iterator[dict | errors.Broken]]


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders; sub-classes add `_info`, `sources` and `read`.

    A sub-class with BUILDER_CONFIGS is built as one of them, or, unlike other
    builders of tfds, as none: `builder_config` is then None.

    Args:
        skip_broken: leave broken files out, and list them in `broken`, instead
            of stopping at the first.
        num_workers: processes that read; 1: this one.
        beam: read in an Apache Beam pipeline, by the runner of the
            `tfds.download.DownloadConfig`.

    Attributes:
        read: from a source to its clips, one at a time, see `clips.clip`. It
            raises RawDataError, or yields a `errors.Broken` where --skip_broken
            may go on. A function of a module, so that workers can be sent it.
        MAY_SHARE: pairs of splits that may show the same groups.
        RAW_DIR_IS_OPTIONAL: whether `sources` can do without the folder that
            MANUAL_DOWNLOAD_INSTRUCTIONS describe; it gets None then.
        num_frames: frames per split, counted while they are written.
        broken: paths of the files that were left out.
        counts: a line for each folder or list that was read: how much of it,
            and what was left out and why. They are bounded, for they go into
            the metadata of the shards.
    """

    MAY_SHARE: Collection[frozenset[str]] = ()
    RAW_DIR_IS_OPTIONAL = False
    read: Read

    def __init__(
        self,
        *,
        skip_broken: bool = False,
        num_workers: int = 1,
        beam: bool = False,
        **kwargs,
    ):
        # Those of the class still have their names. Of those of the object,
        # tfds would take the first if none is named, and keep a note of it
        # beside the shards.
        self.BUILDER_CONFIGS = ()
        super().__init__(**kwargs)
        self._skip_broken = skip_broken
        self._num_workers = num_workers
        self._beam = beam
        self.num_frames: dict[str, int] = {}
        self.broken: list[str] = []
        self.counts: list[str] = []
        self._open = contextlib.ExitStack()

    @abc.abstractmethod
    def sources(self, raw_dir: pathlib.Path | None) -> dict[str, list[Source]]:
        """Maps split to its sources.

        Args:
            raw_dir: the raw data; None of a dataset that is generated.

        Raises:
            RawDataError: if the raw data cannot be used.
        """

    def listing(
        self,
        folder: pathlib.Path,
        suffixes: Collection[str],
        given: Sequence[str | None] = (),
    ) -> folders.Listing:
        """Lists the files of a folder, see `folders.listing`.

        What this build writes, and files that a flag names, are passed over.

        Args:
            folder: of raw data.
            suffixes: what names end with.
            given: files that a flag names.
        """
        foreign = {os.path.abspath(path) for path in given if path}

        def is_foreign(path: pathlib.Path) -> bool:
            is_shards = path.name.startswith("incomplete.")
            return is_shards or os.path.abspath(path) in foreign

        return folders.listing(folder, suffixes, is_foreign)

    def count(self, what: str, left_out: Mapping[str, Sequence[str]]) -> None:
        """Adds a line to `counts`.

        Args:
            what: what was read, such as "/data: 7 images".
            left_out: reason to names, see `folders.in_words`.
        """
        words = folders.in_words(left_out)
        self.counts.append(f"{what} read{'; ' if words else ''}{words}")

    def leave_out(self, broken: errors.Broken) -> None:
        """Lists a broken file in `broken`.

        Raises:
            RawDataError: unless --skip_broken is given.
        """
        if not self._skip_broken:
            raise refusal(broken)
        if broken.path not in self.broken:  # By another split.
            self.broken.append(broken.path)

    def find(
        self, where: str, names: Collection[str], finder: file_names.Finder
    ) -> dict[str, str]:
        """Finds the files that a list names, before any of them is read.

        Args:
            where: the list, and where its files should be.
            names: of the files.
            finder: of the files that are there.

        Returns:
            Maps each name to that of its file. With --skip_broken it may be one
            that is not there: then reading it leaves it out.

        Raises:
            RawDataError: if some are missing, unless --skip_broken is given, or
                if a name may mean two files.
        """
        found, missing = {}, []
        for name in names:
            files = finder.find(name)
            if len(files) > 1:
                raise errors.RawDataError(
                    f"{where}: {name!r} may be {files[0]!a} or {files[1]!a},"
                    " which look the same; rename one of them"
                )
            if not files:
                missing.append(name)
            found[name] = files[0] if files else name
        if missing and not self._skip_broken:
            few = [*map(finder.describe, missing[:4]), *missing[4:]]
            raise errors.RawDataError(
                f"{where}: {len(missing)} of {len(found)} files are missing"
                f" ({folders.first_few(few)}); fetch them again, or pass"
                " --skip_broken to leave such files out"
            )
        return found

    def close(self) -> None:
        """Ends workers and progress display, if the build was cut off."""
        self._open.close()

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig,
    ) -> None:
        if not self._beam:
            super()._download_and_prepare(dl_manager, download_config)
            return
        from data_prep import beam_pipeline  # Not above: Beam is optional.

        self._notes = beam_pipeline.Notes(pathlib.Path(self.data_dir, "notes"))
        try:
            super()._download_and_prepare(dl_manager, download_config)
        except Exception:
            self._notes.raise_error()
            raise
        self._notes.raise_error()
        num_frames = self._notes.num_frames()
        self.num_frames.update({s: num_frames[s] for s in self._split_names})
        self.broken.extend(self._notes.broken())
        self._notes.remove()

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw_dir = self._raw_dir(dl_manager)
        sources = self._checked_sources(raw_dir)
        if self._beam:
            from data_prep import beam_pipeline

            self._split_names = list(sources)
            return {
                split: beam_pipeline.Examples(
                    split,
                    parts,
                    type(self).read,
                    self._skip_broken,
                    self._notes,
                )
                for split, parts in sources.items()
            }
        return {
            split: self._generate_examples(split, parts)
            for split, parts in sources.items()
        }

    def _raw_dir(
        self, dl_manager: tfds.download.DownloadManager
    ) -> pathlib.Path | None:
        if self.MANUAL_DOWNLOAD_INSTRUCTIONS is None:
            return None
        try:
            return pathlib.Path(dl_manager.manual_dir)
        except AssertionError:  # It is not there, or empty.
            if self.RAW_DIR_IS_OPTIONAL:
                return None
            raise

    def _checked_sources(
        self, raw_dir: pathlib.Path | None
    ) -> dict[str, list[Source]]:
        try:
            sources = self.sources(raw_dir)
        except UnicodeEncodeError as error:
            raise _no_utf8(error.object) from error
        for split, parts in sources.items():
            if not parts:
                raise errors.RawDataError(
                    f"nothing in {raw_dir} falls into split {split}; complete"
                    " the raw data"
                )
        self._check_disjoint(sources)
        return sources

    def _check_disjoint(self, sources: dict[str, list[Source]]) -> None:
        groups = {
            split: {source.group for source in parts}
            for split, parts in sources.items()
        }
        for first, second in itertools.combinations(groups, 2):
            shared = sorted(groups[first] & groups[second])
            if shared and frozenset((first, second)) not in self.MAY_SHARE:
                raise errors.RawDataError(
                    f"{shared[0]} (1 of {len(shared)}) is in both {first} and"
                    f" {second}; take it out of one of the two lists"
                )

    def _generate_examples(
        self, split: str, sources: Sequence[Source]
    ) -> Iterator[tuple[str, dict]]:
        self.num_frames[split] = 0
        items = self._open.enter_context(
            contextlib.closing(
                workers.read_all(type(self).read, sources, self._num_workers)
            )
        )
        display = self._open.enter_context(
            progress.Display(
                f"{self.name} {split}",
                sum(source.num_frames for source in sources),
                "frames",
            )
        )
        for item in items:
            if isinstance(item, errors.Broken):
                self.leave_out(item)
                display.advance(1)
                continue
            yield key(item), item
            self.num_frames[split] += len(item["frames"])
            display.advance(len(item["frames"]))
        self.close()
        if not self.num_frames[split]:
            raise no_clips(split)


def broken_name(path: pathlib.Path, name: str) -> errors.Broken | None:
    """A file whose name cannot be stored, for it is no text.

    Args:
        path: of the file.
        name: what would be stored.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        remedy = "or pass --skip_broken to leave such files out"
        return errors.Broken(str(path), f"{_no_utf8(name)}, {remedy}")
    return None


def key(clip: dict) -> str:
    """What tfds orders a clip by.

    Raises:
        RawDataError: if it comes from a file name that is no text.
    """
    clip_id = clip["clip_id"]
    try:
        clip_id.encode()
    except UnicodeEncodeError as error:
        raise _no_utf8(clip_id) from error
    return clip_id


def refusal(broken: errors.Broken) -> errors.RawDataError:
    """What to raise about a file that --skip_broken would leave out."""
    if "--skip_broken" in broken.message:
        return errors.RawDataError(broken.message)
    return errors.RawDataError(
        f"{broken.message}, or pass --skip_broken to leave such files out"
    )


def no_clips(split: str) -> errors.RawDataError:
    """What to raise if all sources of a split are broken."""
    return errors.RawDataError(
        f"split {split} has no readable image; replace the broken ones"
    )


def _no_utf8(name: str) -> errors.RawDataError:
    return errors.RawDataError(
        f"the name {name!r} is no UTF-8; rename that file or folder"
    )
