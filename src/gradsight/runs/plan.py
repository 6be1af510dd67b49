"""How the photos of a run are cut: into batches, blocks and parts, so that it can go on wherever it was ended."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from gradsight.runs.item import Content, Item

_LEAST_BLOCK = 32
_PART = 1024


@dataclass(frozen=True)
class Plan:
    """How the photos of a run are cut.

    A **batch** passes the model at once. A **block** is a row of photos, as they lie in the source, that no batch goes
    over the edge of: what comes of it depends on its photos alone, and not on where a run was ended and gone on with.
    A **part** is some blocks that are written together.

    Attributes:
        batch_size: how many photos pass the model at once.
        part_size: how many are written together at most.

    >>> Plan(8).block, Plan(8).part_size, Plan(300).block
    (32, 1024, 600)
    """

    batch_size: int
    part_size: int = _PART

    @property
    def block(self) -> int:
        """How many photos a block has."""
        # Two batches at least: photos that become inputs of different sizes, and broken ones, must not make all small.
        return max(2, -(-_LEAST_BLOCK // self.batch_size)) * self.batch_size

    @property
    def blocks(self) -> int:
        """How many blocks a part has at most."""
        return max(1, self.part_size // self.block)

    def block_of(self, numbered: Numbered) -> int:
        """The block that a photo belongs to."""
        # By its place in the source and not among those that are left: that changes where a run is gone on with.
        return numbered.turn // self.block


@dataclass(frozen=True, eq=False)
class Numbered:
    """A photo with its place in a run.

    Attributes:
        position: among all photos of the source, from 0.
        turn: among those of the run, which are fewer where it is of one shard.
        item: it.
    """

    position: int
    turn: int
    item: Item

    @property
    def source(self) -> Content:
        """What is read of it."""
        return self.item.source


def numbered(items: Iterable[Item], shard: tuple[int, ...] | None = None) -> Iterator[Numbered]:
    """The photos of a run with their places.

    Args:
        items: all of the source.
        shard: (i, n) for the i-th of n parts, counted from 1: each n-th photo, so that all are alike in size; None for
            all photos.

    >>> [one.position for one in numbered([Item(key, b"") for key in "abcde"], (2, 3))]
    [1, 4]
    """
    # Dealt out like cards: photos of a folder are often sorted, and neighbours take about as long.
    first, step = (shard[0] - 1, shard[1]) if shard else (0, 1)
    for position, item in enumerate(items):
        if position % step == first:
            yield Numbered(position, position // step, item)


def left(photos: Iterable[Numbered], done: Container[str]) -> Iterator[Numbered]:
    """Those that are not done."""
    return (one for one in photos if one.item.key not in done)


def in_blocks(photos: Iterable[Numbered], plan: Plan) -> Iterator[list[Numbered]]:
    """Photos in blocks."""
    return (list(block) for _, block in groupby(photos, plan.block_of))
