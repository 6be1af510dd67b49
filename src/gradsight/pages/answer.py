"""From a photo to an answer: maps with the photo that they are drawn on, small enough to be kept for each visitor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from gradsight import imaging
from gradsight.pages.asked import Asked
from gradsight.pages.limits import Limits
from gradsight.pages.served import Served
from gradsight.results import wording
from gradsight.results.explanation import Explanation
from gradsight.results.records import ImageRecord
from gradsight.targets import Prediction, TargetLike


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of a photo, and where it looked.

    Attributes:
        served: the model.
        asked: what was asked, of which the model knows all.
        explanations: one for each layer and method. Their photo is a small copy; positions are those of the photo
            itself.
        seconds: that it took.
        remarks: what could not be answered, in words.
        sides: the maps are of one class: what speaks for it, against it, and for it rather than for another one.
    """

    served: Served
    asked: Asked
    explanations: tuple[Explanation, ...]
    seconds: float
    remarks: tuple[str, ...] = ()
    sides: bool = False

    @property
    def photo(self) -> Image.Image:
        """The small copy."""
        return self.explanations[0].photos[0]

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The model's best classes, the best first."""
        found = self.explanations[0].predictions
        return found[0] if found else ()

    def records(self, name: str | None = None) -> tuple[ImageRecord, ...]:
        """What is written about the photo, for JSON: one for each layer and method."""
        return tuple(replace(one.record(), image=name) for one in self.explanations)

    @property
    def shared(self) -> tuple[str, ...]:
        """What the reader must know of all maps."""
        every = self._every
        return tuple(note for note in dict.fromkeys(sum(every, ())) if all(note in own for own in every))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know: what could not be answered, and what is true of all maps or of some."""
        return tuple(dict.fromkeys([*self.remarks, *self.shared, *sum(self._every, ())]))

    @property
    def _every(self) -> list[tuple[str, ...]]:
        """The notes of each map."""
        return [
            tuple(note.text for note in own) for one in self.explanations for row in one.target_notes for own in row
        ]

    def words(self) -> tuple[str, ...]:
        """Where each map is hot, in sentences."""
        found = []
        for one in self.explanations:
            record = one.record().to_dict()
            for target in record["targets"]:
                where = wording.where(target, record["size"])
                found.append(f"{target['label']}, by {record['title']} {wording.place(one.layers)}: {where}.")
        return tuple(found)


def answered(served: Served, photo: Image.Image, asked: Asked, limits: Limits) -> Answer:
    """Explain a photo.

    Args:
        served: the model.
        photo: upright RGB, of its full size.
        asked: what is explained.
        limits: what is taken on.

    Raises:
        GradsightError: it asks for too much, or for what the model does not have.
    """
    meant, remarks = asked.within(served.explainer.labels)
    served.check(meant, limits)
    begun = time.perf_counter()
    made = explained(served, photo, meant, meant.targets, limits)
    return Answer(served, meant, made, time.perf_counter() - begun, remarks)


def explained(
    served: Served, photo: Image.Image, asked: Asked, targets: TargetLike, limits: Limits
) -> tuple[Explanation, ...]:
    """Explanations of a photo by the methods and layers that are asked for, which hold a small copy of it."""
    layers = list(asked.layers) or None
    made: Sequence[Explanation]
    if layers is None:
        made = served.explainer(photo, targets=targets, method=list(asked.methods))
    else:
        made = served.explainer(photo, targets=targets, method=list(asked.methods), layer=layers)
    small = imaging.shrunk(photo, limits.side)
    # Placements stay those of the photo itself, and so do positions; what is drawn is laid on the copy.
    return tuple(replace(one, photos=(small,)) for one in made)
