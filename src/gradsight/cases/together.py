"""Methods that look at one pass look together at the passes of other images, and of other weights, too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.contracts import Pass, Probe

if TYPE_CHECKING:
    from gradsight.cases.case import Explain

Passes: TypeAlias = Callable[[Probe], Iterable[Probe]]
"""From what a method looked at to what it looks at instead, some rows at a time, in the order of the rows."""

Made: TypeAlias = NDArray[np.floating]

_MOST = 128 * 2**20
"""Bytes of maps that are kept for methods whose turn is yet to come."""


@dataclass(frozen=True, eq=False)
class Member:
    """A method and what it looked at.

    Attributes:
        shared: the pass, the same value for all that share one.
        probe: the layer.
        explain: runs the method on another probe of that layer.
    """

    shared: Pass
    probe: Probe
    explain: Explain

    @property
    def of_image(self) -> bool:
        """Whether it looks at the image itself."""
        return self.probe.name == "input"


class Together:
    """The maps of all members of other images, each pass of which is made once.

    Maps are made for all when the first one asks, since a pass itself is too large to be kept: of ten methods nine
    passes of ten are saved. They are the same as if each method had asked alone.
    """

    def __init__(self, members: Iterable[Member] = ()) -> None:
        """Look together, as these methods; nothing is run."""
        self._members = {member.explain: member for member in members}
        self._made: dict[tuple[Hashable, Explain], Made] = {}
        self._asked: set[tuple[Hashable, int, bool]] = set()
        self._left = _MOST

    def maps(self, key: Hashable, probe: Probe, explain: Explain, passes: Passes) -> Made:
        """The maps of a method, (rows, k, *s).

        Args:
            key: what tells the other images, or the other weights, apart from all others.
            probe: what the method looked at.
            explain: the method.
            passes: what it looks at instead.
        """
        known = self._made.get((key, explain))
        if known is not None:
            return known
        own = list[Made]()
        others = {member: list[Made]() for member in self._others(key, explain)}
        for other in passes(probe):
            own.append(explain(other))
            for member in list(others):
                self._add(others, member, other)
        for member, parts in others.items():
            self._made[key, member.explain] = np.concatenate(parts)
        found = np.concatenate(own)
        if others and found.nbytes <= self._left:
            self._left -= found.nbytes
            self._made[key, explain] = found
        return found

    def _others(self, key: Hashable, explain: Explain) -> list[Member]:
        """Those that look on: at the same pass, the first time that it is made."""
        own = self._members.get(explain)
        if own is None:
            return []
        # The graph of methods of the image starts there, and that of the others at their layers.
        kind = (key, id(own.shared), own.of_image)
        if kind in self._asked:
            return []
        self._asked.add(kind)
        alike = (m for m in self._members.values() if m.shared is own.shared and m.of_image == own.of_image)
        return [member for member in alike if member is not own]

    def _add(self, others: dict[Member, list[Made]], member: Member, other: Probe) -> None:
        """Let a member look at a pass; one that fails, or whose maps are too large to keep, looks alone later."""
        try:
            made = member.explain(_at(other, member.probe))
        except Exception:  # of any kind, as a user's method may raise; in its own turn it says why
            made = None
        if made is not None and made.nbytes <= self._left:
            self._left -= made.nbytes
            others[member].append(made)
        else:
            self._left += sum(part.nbytes for part in others.pop(member))


def _at(other: Probe, probe: Probe) -> Probe:
    """The layer of ``probe`` in the pass of another."""
    return other if other.name == probe.name else next(one for one in other.layers if one.name == probe.name)
