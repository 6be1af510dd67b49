"""Notes and predictions of an explanation, computed when they are asked for, of what it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradsight.cached import cached_property
from gradsight.explaining import notes
from gradsight.explaining.strength import of_strength
from gradsight.results.explanation import Explanation
from gradsight.results.later import Makers
from gradsight.results.note import Note
from gradsight.targets import Prediction, Reading, TargetInfo, predicted

_SMALL = 1 << 16
"""Maps of so many values are copied, to be looked at later; larger ones are looked at now."""

Notes = tuple[tuple[tuple[Note, ...], ...], ...]
"""For each image a tuple of targets, each a tuple of notes."""


@dataclass(frozen=True, eq=False)
class Told:
    """What a pass says of its images, whatever is explained in it.

    Attributes:
        reading: how class scores were read.
        labels: the classes' names; None where they are not known.
        logits: (n, classes); None where there are none.
    """

    reading: Reading
    labels: Sequence[str] | None
    logits: NDArray[np.float64] | None

    @cached_property
    def predictions(self) -> tuple[tuple[Prediction, ...], ...]:
        """The best classes of each image, the same in all explanations of the pass."""
        return predicted(self.logits, self.reading, self.labels)

    def of_class(self, i: int, target: TargetInfo) -> list[Note]:
        """What the class scores of image ``i`` say of a class that is explained."""
        reading, scores = self.reading, self._beside(i, target)
        if scores is None or target.index is None or reading.activation != "softmax" or reading.gives:
            return []
        return notes.of_share(scores, target.index)

    def of_strength(self, i: int, target: TargetInfo, values: NDArray[np.floating]) -> list[Note]:
        """What they say of how strong the map of a class is, which has their unit."""
        scores = self._beside(i, target)
        return [] if scores is None else of_strength(values, scores)

    def _beside(self, i: int, target: TargetInfo) -> NDArray[np.float64] | None:
        """The scores of all classes, where a target is one of them and the scores are of the whole picture."""
        reading = self.reading
        if self.logits is None or target.index is None or target.place or reading.binary or reading.positions:
            return None
        return np.asarray(self.logits[i])

    def notes(self, i: int, *, of_classes: bool) -> list[Note]:
        """What the class scores of image ``i`` say, for targets that are classes or not."""
        if self.logits is None:
            return []
        # gs.Pixels asks about a place
        reading = self.reading if of_classes else replace(self.reading, positions=False)
        return notes.of_scores(self.logits[i], reading, self.labels)


@dataclass(frozen=True, eq=False)
class Noting:
    """What notes are made of beside the maps.

    Attributes:
        told: of the pass.
        general: notes on every map.
        of_image: notes on all maps of one image.
        of_classes: the targets are classes, or sums of classes.
        by_position: of maps whose weights are means over positions, those with a weight of each position.
        in_scores: the maps have the unit of the scores, and all that the layer says is in them.
    """

    told: Told
    general: Sequence[Note]
    of_image: Callable[[int], Sequence[Note]]
    of_classes: bool
    by_position: NDArray[np.floating] | None = None
    in_scores: bool = False

    def explanation(self, held: dict[str, object], makers: Makers) -> Explanation:
        """An explanation with its notes, which are made when they are asked for.

        Args:
            held: its fields.
            makers: by field, what computes others later.
        """
        maps, targets = held["maps"], held["targets"]
        assert isinstance(maps, np.ndarray)
        if not _are_named(
            targets, *maps.shape[:2]
        ):  # by a target of the user's own: the fields are looked at one by one
            return Explanation(**held, **{name: make() for name, make in makers.items()})  # type: ignore[arg-type]
        if maps.size > _SMALL:
            return Explanation._of_call({**held, "target_notes": self._notes(Explanation._of_call(held, {}))}, makers)
        # Of a copy: whoever writes into the maps does not change what is said of them.
        seen = Explanation._of_call({**held, "maps": maps.copy()}, {})
        return Explanation._of_call(held, {**makers, "target_notes": lambda: self._notes(seen)})

    def _notes(self, explanation: Explanation) -> Notes:
        return tuple(
            self._notes_of_image(explanation, i, scale, self.told.notes(i, of_classes=self.of_classes))
            for i, scale in enumerate(explanation.scale)
        )

    def _notes_of_image(
        self, explanation: Explanation, i: int, scale: NDArray[np.float32], of_scores: Sequence[Note]
    ) -> tuple[tuple[Note, ...], ...]:
        maps, placements, own = explanation.maps[i], explanation.placements, self.of_image(i)
        of_beside = notes.among_targets(maps, scale)
        seen = notes.of_placement(placements[i].seen, placements[i].image_size) if placements else []
        return tuple(
            (
                *notes.of_map(values, target.signed),
                *beside,
                *([] if self.by_position is None else notes.of_averages(values, self.by_position[i, j])),
                *(self.told.of_strength(i, target, values) if self.in_scores else []),
                *self.told.of_class(i, target),
                *_of_box(explanation, i, j),
                *seen,
                *self.general,
                *own,
                *of_scores,
            )
            for j, (values, target, beside) in enumerate(zip(maps, explanation.targets[i], of_beside, strict=True))
        )


def _are_named(names: object, n: int, k: int) -> bool:
    """Whether each of k maps of n images has a target with its name, as all of gradsight's own targets give them."""
    if not isinstance(names, tuple) or len(names) != n:
        return False
    return all(isinstance(row, tuple) and len(row) == k and {*map(type, row)} == {TargetInfo} for row in names)


def _of_box(explanation: Explanation, i: int, j: int) -> list[Note]:
    """Notes on a map whose target is a class in a box of the picture."""
    target = explanation.targets[i][j]
    # A box has two axes, and so must the maps have: (n, k, h, w).
    if target.index is None or not target.place or explanation.maps.ndim != 4:
        return []
    found = explanation.region(i, j)
    seen = explanation.placements[i].box if explanation.placements else (0, 0, *explanation.input_size)
    # Of the part that the model saw: the map covers that, and not the whole photo.
    cell = [(seen[axis + 2] - seen[axis]) / explanation.maps.shape[axis + 2] for axis in range(2)]
    return notes.of_place(None if found is None else found.peak, target.place, cell)
