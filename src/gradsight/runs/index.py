"""Where each image of a run lies in its parts: some numbers for each, so that a million fit in the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradsight.errors import InvalidArgument
from gradsight.runs.digests import SIZE, digest, digests
from gradsight.runs.reading import Part
from gradsight.runs.schema import FAILED
from gradsight.runs.where import Where

if TYPE_CHECKING:
    import pyarrow

_PLACE = np.dtype(
    [
        ("digest", f"S{SIZE}"),
        ("part", np.int32),
        ("start", np.int64),
        ("count", np.int64),
        ("failed", bool),
        ("meant", bool),
    ]
)
"""An image: of its key the digest, which part its rows are in, which is the first, how many there are; whether it
failed, and whether one of its rows is asked for."""


@dataclass(frozen=True, eq=False)
class Index:
    """The images of a run.

    Attributes:
        places: those that were explained, in order: an array of part, start, count.
        failed: those that failed, likewise.
    """

    places: NDArray[np.void]
    failed: NDArray[np.void]

    def find(self, key: str) -> int | None:
        """The number of the image of that key; None where there is none."""
        return _find(self.places, key)

    def find_failed(self, key: str) -> int | None:
        """The number among those that failed."""
        return _find(self.failed, key)


def indexed(parts: Sequence[Part], where: Where) -> Index:
    """Look through the keys of all rows.

    Args:
        parts: of the run.
        where: which rows count. An image of which none does is not in the index.

    Raises:
        InvalidArgument: a part cannot be read.
    """
    every = _together([_places(part, number, where) for number, part in enumerate(parts)])
    # Each image once: a worker that was thought lost may have written what another wrote too. What was explained goes
    # before what failed at first.
    order = np.argsort(every["failed"], kind="stable")
    _, first = np.unique(every["digest"][order], return_index=True)
    once = every[np.sort(order[first])]
    meant = once[once["meant"]]
    return Index(meant[~meant["failed"]], meant[meant["failed"]])


def _find(places: NDArray[np.void], key: str) -> int | None:
    # All of them are compared: 16 MB of a million images, in some milliseconds.
    (found,) = np.nonzero(places["digest"] == np.array(digest(key), f"S{SIZE}"))
    return int(found[0]) if len(found) else None


def _together(pieces: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    return np.concatenate([np.zeros(0, _PLACE), *pieces])


def _places(part: Part, number: int, where: Where) -> NDArray[np.void]:
    """The images in one part."""
    pieces, start = [], 0
    for table in part.tables(["key", "status", *where.columns]):
        pieces.append(_places_in(table, number, start, where))
        start += len(table)
    found = _together(pieces)
    # The rows of an image may go on in the next row group, where another program wrote the part anew.
    firsts = np.flatnonzero(np.append(True, found["digest"][1:] != found["digest"][:-1])[: len(found)])
    if len(firsts) < len(found):
        joined = found[firsts]
        joined["count"] = np.add.reduceat(found["count"], firsts)
        joined["meant"] = np.logical_or.reduceat(found["meant"], firsts)
        return joined
    return found


def _places_in(table: pyarrow.Table, number: int, start: int, where: Where) -> NDArray[np.void]:
    """The images in one row group."""
    from pyarrow import compute

    keys = table["key"].combine_chunks()
    if not len(keys):
        return np.zeros(0, _PLACE)
    if keys.null_count:
        raise InvalidArgument("the rows of a run cannot be read: a row has no key. Get the run again.")
    # Rows of one image lie one after the other, so that a new one begins where the key is another.
    changes = compute.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(np.append(True, changes.astype(bool)))
    made = np.zeros(len(firsts), _PLACE)
    made["digest"] = digests(map(str, keys.take(firsts).to_pylist()))
    made["part"], made["start"] = number, firsts + start
    made["count"] = np.diff(np.append(firsts, len(keys)))
    made["failed"] = [status == FAILED for status in table["status"].take(firsts).to_pylist()]
    # An image is looked at where one of its rows is meant.
    made["meant"] = np.logical_or.reduceat(where.mask(table), firsts)
    return made
