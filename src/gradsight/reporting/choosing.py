"""Which photos of a run are shown: examples of what was found first, and of the others an even draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from gradsight.auditing.finding import Finding
from gradsight.reporting.listing import Listing

EXAMPLES = 6
"""So many pictures stand beside a finding, and as many right and wrong ones in the panel of a class."""

_SEED = 0
"""The same photos each time: a report that is made again shows what it showed."""


def chosen(listing: Listing, findings: Sequence[Finding], most: int) -> list[str]:
    """The keys of at most so many photos, those that matter most first.

    Args:
        listing: of the run.
        findings: the strongest first.
        most: at most so many.
    """
    # In dicts, which keep their order and hold each key once.
    wanted = dict.fromkeys(key for key in _in_order(listing, findings) if key in listing.entries)
    return list(islice(wanted, most))


def _in_order(listing: Listing, findings: Sequence[Finding]) -> Iterator[str]:
    # Of each finding a few before more of any: a report with pictures of the first one alone shows little.
    for one in findings:
        yield from one.photos[:2]
    yield from _each(listing)
    for one in findings:
        yield from one.photos[:EXAMPLES]
    keys = list(listing.entries)
    order = np.random.default_rng(_SEED).permutation(len(keys))
    # Pairs of class and guess in turn: of twenty thousand photos few are of a rare pair.
    yield from in_turn([keys[i] for i in order], listing)


def _each(listing: Listing) -> Iterator[str]:
    """Of each guess the photos of which the model was surest, right ones, wrong ones and those that nobody knows of."""
    groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for key, one in listing.entries.items():
        groups.setdefault((one.taken, one.status), []).append((-(one.probability or 0), key))
    ordered = [[key for _, key in sorted(own)[:EXAMPLES]] for own in groups.values()]
    # The first of each class before the second of any: there may be a thousand classes.
    for place in range(EXAMPLES):
        yield from (own[place] for own in ordered if place < len(own))


def in_turn(keys: Iterable[str], listing: Listing) -> Iterator[str]:
    """Keys so that the first of each pair of class and guess come before the second of any."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        one = listing.entries[key]
        groups.setdefault((one.truth, one.taken), []).append(key)
    for place in range(max(map(len, groups.values()), default=0)):
        yield from (own[place] for own in groups.values() if place < len(own))
