"""The rows of a run, image by image or all of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gradsight.recent import Recent
from gradsight.runs.index import Index
from gradsight.runs.reading import Part, Table, as_mask, concatenated
from gradsight.runs.schema import RunRow, columns
from gradsight.runs.table import rows_in
from gradsight.runs.where import Where

_GROUPS = 2
"""So many row groups are kept: images that are looked at one after the other lie in one."""

_PARTS = 256


class Looking:
    """Reads rows of the parts of a run. Threads may share it, and it can be pickled.

    Args:
        parts: of the run.
        where: which rows count.
    """

    def __init__(self, parts: Sequence[Part], where: Where) -> None:
        self._parts, self._where = tuple(parts), where
        self._lengths: Recent[int, tuple[int, ...]] = Recent(_PARTS)
        self._groups: Recent[tuple[int, int], Table] = Recent(_GROUPS)

    def rows(self, place: np.void) -> list[RunRow]:
        """The rows of one image of an index, those that count."""
        number, start, count = int(place["part"]), int(place["start"]), int(place["count"])
        # One row group, or two where another program cut an image in two.
        pieces, first = [], 0
        for group, length in enumerate(self._lengths_of(number)):
            begin, end = max(start - first, 0), min(start + count - first, length)
            if begin < end:
                pieces.append(self._group(number, group).slice(begin, end - begin))
            first += length
        table = concatenated(pieces)
        return rows_in(table.filter(as_mask(self._where.mask(table))) if len(self._where) else table)

    def tables(self, index: Index, names: Collection[str]) -> Iterator[Table]:
        """Some columns of all rows that count, of the images of an index; no more than a row group at once.

        Args:
            index: which images, those that failed among them.
            names: of the columns.
        """
        every = np.concatenate([index.places, index.failed])
        every = every[np.argsort(every["part"], kind="stable")]
        ends = np.searchsorted(every["part"], np.arange(len(self._parts) + 1))
        read = tuple(dict.fromkeys((*names, *self._where.columns)))
        for number, part in enumerate(self._parts):
            own = every[ends[number] : ends[number + 1]]
            # A part without images that count is not opened at all.
            if not len(own):
                continue
            first = 0
            for table in part.tables(read):
                meant = _within(own, first, len(table)) & self._where.mask(table)
                first += len(table)
                if meant.any():
                    yield table.filter(as_mask(meant)).select(list(names))

    def _lengths_of(self, number: int) -> tuple[int, ...]:
        return self._lengths.of(number, self._parts[number].lengths)

    def _group(self, number: int, group: int) -> Table:
        return self._groups.of((number, group), lambda: self._parts[number].read(group, columns()))


def _within(places: npt.NDArray[np.void], first: int, length: int) -> npt.NDArray[np.bool_]:
    """Which of so many rows from ``first`` on belong to one of the images."""
    # One more where an image begins and one less where it ends: over 0 in between.
    changes = np.zeros(length + 1, np.int64)
    starts = np.clip(places["start"] - first, 0, length)
    ends = np.clip(places["start"] + places["count"] - first, 0, length)
    np.add.at(changes, starts, 1)
    np.add.at(changes, ends, -1)
    found: npt.NDArray[np.bool_] = changes[:-1].cumsum() > 0
    return found
