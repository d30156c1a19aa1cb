"""What all builders share: from a list of sources to shards of clips.

A dataset says which sources its splits have and how one source is read. They
are read one after the other, by worker processes, or by an Apache Beam
pipeline; the shards are the same, for tfds orders clips by a hash of their id.
"""

import abc
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import pathlib

import tensorflow_datasets as tfds

from data_prep import clips
from data_prep import progress
from data_prep import workers


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


Read = Callable[[Source], Iterator[dict | clips.Broken]]


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders; sub-classes add `_info`, `sources` and `read`.

    Args:
        skip_broken: leave broken files out, and list them in `broken`, instead
            of stopping at the first.
        num_workers: processes that read; 1: this one.

    Attributes:
        read: from a source to its clips, one at a time: `clip_id`, unique in
            its split, and `frames`, see `clips.features`. It raises
            RawDataError, or yields a `clips.Broken` where --skip_broken may go
            on. A function of a module, so that workers can be sent it.
        MAY_SHARE: pairs of splits that may show the same groups.
        num_frames: frames per split, counted while they are written.
        broken: paths of the files that were left out.
    """

    MAY_SHARE: Collection[frozenset[str]] = ()
    read: Read

    def __init__(
        self, *, skip_broken: bool = False, num_workers: int = 1, **kwargs
    ):
        super().__init__(**kwargs)
        self._skip_broken = skip_broken
        self._num_workers = num_workers
        self.num_frames: dict[str, int] = {}
        self.broken: list[str] = []
        self._open = contextlib.ExitStack()

    @abc.abstractmethod
    def sources(self, raw_dir: pathlib.Path | None) -> dict[str, list[Source]]:
        """Maps split to its sources.

        Args:
            raw_dir: the raw data; None of a dataset that is generated.

        Raises:
            RawDataError: if the raw data cannot be used.
        """

    def close(self) -> None:
        """Ends workers and progress display, if the build was cut off."""
        self._open.close()

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw_dir = None
        if self.MANUAL_DOWNLOAD_INSTRUCTIONS is not None:
            raw_dir = pathlib.Path(dl_manager.manual_dir)
        sources = self.sources(raw_dir)
        for split, parts in sources.items():
            if not parts:
                raise clips.RawDataError(
                    f"nothing in {raw_dir} falls into split {split}; complete"
                    " the raw data"
                )
        self._check_disjoint(sources)
        return {
            split: self._generate_examples(split, parts)
            for split, parts in sources.items()
        }

    def _check_disjoint(self, sources: dict[str, list[Source]]) -> None:
        groups = {
            split: {source.group for source in parts}
            for split, parts in sources.items()
        }
        for first, second in itertools.combinations(groups, 2):
            shared = sorted(groups[first] & groups[second])
            if shared and frozenset((first, second)) not in self.MAY_SHARE:
                raise clips.RawDataError(
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
            if isinstance(item, clips.Broken):
                if not self._skip_broken:
                    raise clips.RawDataError(item.message)
                if item.path not in self.broken:  # Of another split.
                    self.broken.append(item.path)
                display.advance(1)
                continue
            yield item["clip_id"], item
            self.num_frames[split] += len(item["frames"])
            display.advance(len(item["frames"]))
        if not self.num_frames[split]:
            raise clips.RawDataError(
                f"split {split} has no readable image; replace the broken ones"
            )
