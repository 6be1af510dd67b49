"""The photos of a run, from whatever holds them: found early, read when their turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.runs.item import Content, Item, Label, Opening
from gradsight.runs.keys import Keys
from gradsight.runs.places import reopened
from gradsight.runs.sources.source import Given, Source, source_of

__all__ = ["Content", "Item", "Items", "Label", "Opening", "items_of", "reopened"]


class Items(Iterable[Item]):
    """The photos of a run, in an order that is the same each time, under keys that differ.

    Attributes:
        described: what was given, in words, for the manifest of a run.
        length: how many there are; None where that is known at the end alone, as of tars and generators.
        again: they can be gone through more than once.
    """

    def __init__(self, source: Source) -> None:
        self.described, self.length, self.again = source.described, source.length, source.again
        self._begin, self._begun = source.begin, False

    def __iter__(self) -> Iterator[Item]:
        # Here and not at the first photo: half of a generator would be taken for the whole.
        if self._begun and not self.again:
            raise InvalidArgument(
                f"`source` can be gone through once, and that was done. {received(self.described)} Pass a list, or "
                "the generator anew."
            )
        self._begun = True
        return self._numbered()

    def _numbered(self) -> Iterator[Item]:
        keys = Keys()
        for item in self._begin():
            key = keys.own(item.key)
            yield item if key == item.key else replace(item, key=key)


def items_of(source: object, *, leave_out: Iterable[str | os.PathLike[str]] = ()) -> Items:
    """The photos that a source holds.

    Args:
        source: a folder, or photos one after the other.
        leave_out: folders that are not looked into, such as that of the results.

    Returns:
        The photos; what can be checked before they are read is checked.

    Raises:
        ImageError: there is no photo.
        InvalidType: ``source`` is no source of photos.

    >>> [item.key for item in items_of(["cat.jpg", "dog.jpg", "cat.jpg"])]
    ['cat.jpg', 'dog.jpg', 'cat.jpg#2']
    """
    found = source_of(Given(source, tuple(os.fsdecode(path) for path in leave_out)))
    if found is None:
        raise InvalidType(f"`source` must be a folder, or photos one after the other. {received(source)}")
    return Items(found)
