"""What a source of photos is, and how it is found what kind one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from gradsight.runs.item import Item

KINDS = ("folder", "photos")
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
    for kind in KINDS:
        found: Source | None = import_module(f"gradsight.runs.sources.{kind}").found(given)
        if found is not None:
            return found
    return None
