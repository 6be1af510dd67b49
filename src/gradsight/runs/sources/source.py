"""What a source of photos is, and how it is found what kind one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from gradsight.errors import InvalidArgument
from gradsight.runs.item import Item, Label
from gradsight.runs.sources.labels import label_of

KINDS = (
    "folder",
    "one",
    "shards",
    "text",
    "table",
    "parquet",
    "pattern",
    "paths",
    "hugging_face",
    "of_files",
    "photos",
    "indexed",
)
"""The modules of the kinds, in the order in which they are asked whether a source is theirs."""


@dataclass(frozen=True, eq=False)
class Source:
    """Photos that were found, or are found while they are asked for.

    Attributes:
        described: what was given, in words that are the same whenever it is given again.
        begin: gives the photos from the first on. Their keys need not differ.
        length: how many there are; None where that is known at the end alone.
        again: they can be gone through a second time.
    """

    described: str
    begin: Callable[[], Iterator[Item]]
    length: int | None = None
    again: bool = True


@dataclass(frozen=True)
class Given:
    """What a user gave.

    Attributes:
        value: the source as it was given.
        leave_out: folders that are not looked into, such as that of the results.
    """

    value: object
    leave_out: tuple[str, ...] = ()


def source_of(given: Given) -> Source | None:
    """What a user gave as a source; None if it is of no kind."""
    # Imported as they are asked: a folder needs nothing of what reads tables.
    for kind in KINDS:
        found: Source | None = import_module(f"gradsight.runs.sources.{kind}").found(given)
        if found is not None:
            return found
    return None


def labelled(source: Source, labels: Sequence[Label | None]) -> Source:
    """A source with a label for each photo, in their order.

    Raises:
        InvalidArgument: there are more or fewer labels than photos.
    """
    if source.length is not None and source.length != len(labels):
        raise _other_count(len(labels), f"{source.length} photos")

    def begin() -> Iterator[Item]:
        for number, item in enumerate(source.begin()):
            if number == len(labels):
                raise _other_count(len(labels), "more photos")
            yield replace(item, label=label_of(labels[number]))

    return replace(source, begin=begin)


def _other_count(labels: int, photos: str) -> InvalidArgument:
    return InvalidArgument(f"`labels` must be one for each photo. Received: {labels} for {photos}. Pass as many.")
