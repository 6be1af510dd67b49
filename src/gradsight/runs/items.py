"""The photos of a run, from whatever holds them: found early, read when their turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gradsight.errors import GradsightError, ImageError, InvalidArgument, InvalidType, received
from gradsight.files import exists
from gradsight.runs.item import Content, Item, Label, Opening
from gradsight.runs.keys import Keys
from gradsight.runs.reopening import reopened
from gradsight.runs.sources.source import Given, Source, labelled, source_of

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
        # Anew each time: keys depend on those before them.
        keys = Keys()
        for item in self._begin():
            key = keys.own(item.key)
            yield item if key == item.key else replace(item, key=key)


def items_of(
    source: object,
    *,
    labels: Iterable[Label | None] | None = None,
    leave_out: Iterable[str | os.PathLike[str]] = (),
) -> Items:
    """The photos that a source holds.

    Args:
        source: a path or a pattern of paths: of a folder, whose first folders are the labels; of a photo; of a list of
            photos (``.txt``, ``.csv`` or ``.parquet``), relative to the list; of tars as WebDataset lays them out,
            ``"shard-{000..007}.tar"``. Or a list of these. Or, in Python, a data set of Hugging Face's `datasets`, of
            PyTorch or of `tf.data`, or any iterable of photos, (key, photo) or (key, photo, label). The order must be
            the same each time, for a run that goes on.
        labels: one for each photo, in their order, in place of those that the source says.
        leave_out: folders that are not looked into, such as that of the results.

    Returns:
        The photos; what can be checked before they are read is checked.

    Raises:
        ImageError: there is no photo.
        InvalidArgument: a list or a pattern is wrong, or there are more or fewer labels than photos.
        InvalidType: ``source`` is no source of photos.
        MissingDependency: a table of Parquet is given, and pyarrow is not installed.

    >>> [item.key for item in items_of(["cat.jpg", "dog.jpg", "cat.jpg"])]
    ['cat.jpg', 'dog.jpg', 'cat.jpg#2']
    """
    found = source_of(Given(source, tuple(os.fsdecode(path) for path in leave_out)))
    if found is None:
        raise _no_source(source)
    return Items(found if labels is None else labelled(found, list(labels)))


def _no_source(source: object) -> GradsightError:
    if isinstance(source, str | os.PathLike) and not exists(source):
        return ImageError(f"There is no file or folder {os.fspath(source)!r}. It was looked up in {os.getcwd()}.")
    return InvalidType(
        "`source` must be a folder, a photo, a list (.txt, .csv, .parquet), tars (.tar), a pattern of such paths, or "
        f"photos one after the other. {received(source)}"
    )
