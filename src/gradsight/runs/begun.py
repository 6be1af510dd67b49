"""What the trial made of the first photos of a run: the run takes it over, instead of making it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gradsight.explaining.inputs import Prepared
from gradsight.results.explanation import Explanation
from gradsight.runs.features import Pooled
from gradsight.runs.plan import Numbered

_MOST_PIXELS = 1 << 26
"""Of all photos that are kept: of larger ones, as of a camera, a few would fill the memory, and they are read again."""


class Passed(NamedTuple):
    """What came of one pass.

    Attributes:
        explanations: of a batch, one for each layer and method.
        features: of the explanations, where some are kept.
    """

    explanations: Sequence[Explanation]
    features: Pooled = ()


@dataclass(frozen=True, eq=False)
class Begun:
    """First photos as far as they are done. Each is given away once, so that nothing stays in memory.

    Attributes:
        prepared: photos that were read, by their turn.
        passed: batches that passed the model, by the turns of their photos.
    """

    prepared: dict[int, Prepared] = field(default_factory=dict)
    passed: dict[tuple[int, ...], Passed] = field(default_factory=dict)

    def within(self, batch_size: int) -> Begun:
        """What a run with batches of a size takes over; nothing where the photos are large."""
        if sum(math.prod(one.photo.size) for one in self.prepared.values()) > _MOST_PIXELS:
            return Begun()
        # A batch of another size is not what the run would make of it, to the last digit.
        return Begun(self.prepared, {turns: one for turns, one in self.passed.items() if len(turns) == batch_size})

    def preparing(self, prepare: Callable[[object], Prepared]) -> Callable[[object], Prepared]:
        """What reads the photos that were not read yet."""

        def first_looked_up(photo: object) -> Prepared:
            found = self.prepared.pop(photo.turn, None) if isinstance(photo, Numbered) else None
            return prepare(photo) if found is None else found

        return first_looked_up if self.prepared else prepare

    def taken(self, photos: Sequence[Numbered]) -> Passed | None:
        """What came of just these photos together; None where they did not pass together."""
        return self.passed.pop(tuple(photo.turn for photo in photos), None)
