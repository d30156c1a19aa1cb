"""Finds files by names that people write."""

import collections
from collections.abc import Iterable
import functools
import os
import unicodedata


def composed(name: str) -> str:
    """The name as people see it, in Unicode's form NFC.

    macOS may write ë as an e and two dots; most other programs write one
    character. Both look the same.
    """
    return unicodedata.normalize("NFC", name)


def endings(path: str) -> list[str]:
    """For a/b/c: a/b/c, b/c and c."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


class Finder:
    """Finds the names that look like a given one.

    Args:
        names: what there is, such as paths below a folder, with forward
            slashes.
        by_ending: whether a path may also be found by its ending, and a name
            by a path that ends with it.
    """

    def __init__(self, names: Iterable[str], by_ending: bool = False):
        self._names = set(names)
        self._by_ending = by_ending
        self._whole = collections.defaultdict(list)  # Composed name to names.
        for name in sorted(self._names):
            self._whole[composed(name)].append(name)
        self._parts = collections.defaultdict(list)  # The same, of endings.
        if by_ending:
            for text, found in self._whole.items():
                for ending in endings(text):
                    self._parts[ending] += found

    def find(self, name: str) -> list[str]:
        """The names that `name` may mean: several if it is ambiguous.

        The very same name comes first, then names that look the same, then
        names that end with it or that it ends with.
        """
        if name in self._names:
            return [name]
        text = composed(name)
        if text in self._whole or not self._by_ending:
            return list(self._whole.get(text, ()))
        return self._parts.get(text, []) + [
            found
            for ending in endings(text)
            for found in self._whole.get(ending, ())
        ]

    def describe(self, name: str) -> str:
        """A name that is not there, and one that is nearly the same, if any.

        Returns:
            Such as "'a.jpg'", or "'a.jpg', but there is A.JPG: capitals
            differ".
        """
        same_letters, same_stem = self._near
        text = composed(name).casefold()
        if found := same_letters.get(text):
            return f"{name!r}, but there is {found}: capitals differ"
        if found := same_stem.get(os.path.splitext(text)[0]):
            return f"{name!r}, but there is {found}: the ending differs"
        return repr(name)

    @functools.cached_property
    def _near(self) -> tuple[dict[str, str], dict[str, str]]:
        """Maps names without capitals, and these without suffix, to names."""
        same_letters, same_stem = {}, {}
        known = self._parts if self._by_ending else self._whole
        for text, (found, *_) in known.items():
            same_letters[text.casefold()] = found
            same_stem[os.path.splitext(text.casefold())[0]] = found
        return same_letters, same_stem
