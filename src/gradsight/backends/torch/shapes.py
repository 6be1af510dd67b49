"""Which axes of two shapes of the same numbers are one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Which axes of two shapes of the same numbers belong together: the shortest runs with the same product."""
    i = j = 0
    while i < len(old) or j < len(new):
        ours: list[int] = []
        theirs: list[int] = []
        size = other = 1
        while not (ours or theirs) or size != other:
            if size <= other and i < len(old):
                size *= old[i]
                ours.append(i)
                i += 1
            else:
                other *= new[j]
                theirs.append(j)
                j += 1
        while i < len(old) and old[i] == 1:  # axes of one place belong anywhere
            ours.append(i)
            i += 1
        while j < len(new) and new[j] == 1:
            theirs.append(j)
            j += 1
        yield ours, theirs
