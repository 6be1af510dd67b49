"""Two runs of the same photos compared: where maps moved, and which predictions changed, with tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.facts import NOWHERE, at, look_of
from gradsight.auditing.finding import PHOTOS, Finding
from gradsight.auditing.heat import Heat, averaged, border_share
from gradsight.auditing.seen import UNKNOWN, Seen
from gradsight.auditing.words import photos
from gradsight.errors import InvalidArgument
from gradsight.significance import Interval, holm, interval, paired


@dataclass(frozen=True, eq=False)
class Change:
    """What is other in a second run, of the photos that the first takes for one class.

    Attributes:
        target: the class.
        photos: how many are in both.
        changed: how many of them are taken for another class in the second.
        mended: how many were wrong and are right now.
        broken: how many were right and are wrong now.
        moved: the share of a map's heat that lies elsewhere, over photos.
        border: the share of heat in the outer tenth, in the first and in the second.
        p: how often the border's share would change as much by chance, corrected for the number of classes (Holm).
        places: where the maps lie, in words, in the first and in the second.
        rows: the photos whose maps moved most, as rows of the first.
    """

    target: int
    photos: int
    changed: int
    mended: int
    broken: int
    moved: Interval
    border: tuple[float, float]
    p: float
    places: tuple[str, str]
    rows: tuple[int, ...]


def changes(first: Seen, second: Seen) -> tuple[Change, ...]:
    """Compare what two models saw of the same photos, by their keys.

    Raises:
        InvalidArgument: they have no photo in common.
    """
    hot = np.asarray(second.heat.any(axis=(1, 2)))
    there = {key: row for row, key in enumerate(second.keys) if hot[row]}
    found: list[tuple[int, NDArray[np.intp], NDArray[np.intp]]] = []
    for target, rows in first.of.items():
        own = np.array([row for row in rows if first.keys[row] in there], np.intp)
        if len(own):
            found.append((target, own, np.array([there[first.keys[row]] for row in own], np.intp)))
    if not found:
        raise InvalidArgument(
            "`against` must be a run of the same photos. Received: one that has no key in common with this. Run the "
            "same folder again."
        )
    # Each class is a test, and with twenty classes one would look changed by chance.
    shares = [(border_share(first.heat[one]), border_share(second.heat[other])) for _, one, other in found]
    ps = holm([paired(before, after).p for before, after in shares])
    return tuple(
        _change((first, second), each, (float(before.mean()), float(after.mean())), p)
        for each, (before, after), p in zip(found, shares, ps, strict=True)
    )


def _change(
    pair: tuple[Seen, Seen],
    which: tuple[int, NDArray[np.intp], NDArray[np.intp]],
    border: tuple[float, float],
    p: float,
) -> Change:
    (first, second), (target, one, other) = pair, which
    before, after = _on_one_grid(first.heat[one], second.heat[other])
    moved = np.abs(before - after).sum(axis=(1, 2)) / 2
    # The labels of the first: a class that is known in one run is known.
    known = first.labels[one] != UNKNOWN
    was, now = (seen.predictions[rows] == first.labels[one] for seen, rows in ((first, one), (second, other)))
    return Change(
        target=target,
        photos=len(one),
        changed=int((first.predictions[one] != second.predictions[other]).sum()),
        mended=int((known & ~was & now).sum()),
        broken=int((known & was & ~now).sum()),
        moved=interval(moved),
        border=border,
        p=p,
        places=(look_of(first, one, target).place, look_of(second, other, target).place),
        rows=tuple(int(row) for row in one[np.argsort(-moved, kind="stable")][:PHOTOS]),
    )


def _on_one_grid(one: Heat, other: Heat) -> tuple[Heat, Heat]:
    """Heat of two layers on the coarser grid: a finer one is no change of the model's."""
    grid = (min(one.shape[1], other.shape[1]), min(one.shape[2], other.shape[2]))
    cells = grid[0] * grid[1]
    laid = []
    for heat in (one, other):
        # Means over cells become shares again by how many of them there are.
        times = heat.shape[1] * heat.shape[2] / cells
        laid.append(np.stack([averaged(each, grid) * times for each in heat]).astype(np.float32))
    return laid[0], laid[1]


def of_changes(seen: Seen, found: tuple[Change, ...]) -> Iterator[Finding]:
    """A finding for each class."""
    for one in found:
        label = seen.name(one.target)
        by_label = f": {one.mended} become right, {one.broken} become wrong" if one.mended + one.broken else ""
        yield Finding(
            kind="change",
            label=label,
            sentence=(
                f"{label}: {one.changed} of {photos(one.photos)} {'is' if one.changed == 1 else 'are'} taken for "
                f"another class in the other run{by_label}; {one.moved.mean:.0%} of a map's heat lies elsewhere "
                f"there, and {one.border[1]:.0%} of the heat at the border instead of {one.border[0]:.0%} "
                f"(p = {one.p:.2g}){_where(*one.places)}."
            ),
            strength=float(np.clip(one.moved.mean, 0, 1)),
            photos=tuple(seen.keys[row] for row in one.rows),
            figures={"changed": one.changed, "moved": one.moved.mean, "p": one.p, "photos": one.photos},
        )


def _where(here: str, there: str) -> str:
    if here != there:
        return f": most of the heat is {at(there)} there, and {at(here)} here"
    # That it is nowhere in both is nothing to tell.
    return "" if here == NOWHERE else f"; most of it is {at(here)} in both"
