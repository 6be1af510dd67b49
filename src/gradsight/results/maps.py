"""What an explanation holds: maps, and all that is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight import imaging
from gradsight.checks import index as index_of
from gradsight.errors import InvalidArgument
from gradsight.registry import Scope
from gradsight.results import consistency
from gradsight.results.later import MAKERS, Makers, later
from gradsight.results.note import Note
from gradsight.targets import Prediction, TargetInfo


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of n images and k targets from one method; `Explanation` says what each field is."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    targets: tuple[tuple[TargetInfo, ...], ...]
    layers: tuple[str, ...]
    at: Scope
    method: str
    model: str
    input_size: tuple[int, ...]
    predictions: tuple[tuple[Prediction, ...], ...] = later(())
    target_notes: tuple[tuple[tuple[Note, ...], ...], ...] = later(())
    photos: tuple[Image.Image, ...] = later(())
    placements: tuple[imaging.Placement, ...] = ()
    title: str = ""
    alphas: NDArray[np.float32] | None = later(None)  # noqa: RUF009
    channel_means: NDArray[np.float32] | None = later(None)  # noqa: RUF009
    question: str = ""
    written: tuple[str, ...] = ()
    preprocess: Mapping[str, object] | None = None
    channel_axis: int = 0

    def __post_init__(self) -> None:
        # Here, so that whoever makes one is told: a method, a file or a user.
        consistency.check(self)

    @classmethod
    def _of_call(cls, held: Mapping[str, object], makers: Makers) -> Self:
        """What a call of an explainer made, whose fields fit each other: they are not looked at one by one.

        Args:
            held: the fields that are known; others have their defaults.
            makers: by field, what computes it when it is first asked for.
        """
        made = object.__new__(cls)
        vars(made).update(held)
        vars(made)[MAKERS] = makers
        return made

    def __getstate__(self) -> dict[str, object]:
        # What is not computed yet may be made of a framework's arrays, which are in no file.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def layer(self) -> str | None:
        """The layer's name, where the maps are of exactly one; None where they are of several or of the input."""
        return self.layers[0] if len(self.layers) == 1 else None

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The name of each target of each image: n tuples of k."""
        return tuple(tuple(target.label for target in row) for row in self.targets)

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything the reader must know, in sentences that say which image and target they are about.

        ``target_notes`` has the same with the codes that programs read.
        """
        found: dict[Note, list[str]] = {}
        for i, row in enumerate(self.target_notes):
            for target, notes in zip(self.targets[i], row, strict=True):
                for note in notes:
                    # One sentence for all maps that it is true of: the same note ten times would hide the others.
                    found.setdefault(note, []).append(f"image {i}, {target.label}")
        count = sum(len(row) for row in self.targets)
        return tuple(
            note.text if len(where) == count else f"{'; '.join(where)}: {note}" for note, where in found.items()
        )

    def in_shell(self) -> Self:
        """The same, with notes that name options as they are typed on the command line."""
        rows = tuple(
            tuple(tuple(Note(note.code, note.in_shell) for note in notes) for notes in row) for row in self.target_notes
        )
        return replace(self, target_notes=rows)

    @property
    def _fine(self) -> bool:
        """Whether the maps are of single pixels, whatever made them."""
        # By the sizes, not by the method: a layer may be as fine as the input, and its map is as noisy then.
        return tuple(self.maps.shape[2:]) == tuple(self.input_size)

    @property
    def _is_picture(self) -> bool:
        """Whether the model's input is a picture, and the maps lie on it."""
        return len(self._matching_input()) == 2

    @property
    def _lies_on_photo(self) -> bool:
        """Positions are those of a photo, and not of the model's input."""
        # By the placements, of which there are as many: photos of a run are read only when they are drawn on.
        return self._is_picture and bool(self.placements)

    def _size(self, image: int) -> tuple[int, ...]:
        """The axes that positions of an image count in: of a photo its own pixels, of an array those of the input."""
        return self.placements[image].image_size if self._lies_on_photo else tuple(self.input_size)

    def _at(self, image: int, target: int) -> tuple[int, int]:
        """The numbers of an image and of a target, as plain ones.

        Raises:
            InvalidArgument: there is no such image or target.
        """
        n, k = self.maps.shape[:2]
        return index_of("image", image, n), index_of("target", target, k)

    def _matching_input(self) -> tuple[int, ...]:
        """The input's positions, which those of the maps lie on."""
        positions, size = tuple(self.maps.shape[2:]), tuple(self.input_size)
        # A layer of another shape, as of a text beside a picture, has a map, but no place on the input.
        if len(positions) != len(size):
            raise InvalidArgument(
                f"a map must have as many axes as the model's input to lie on it, which has the positions {size}. "
                f"Received: maps of the positions {positions}. Explain another layer, or pass `layout=` and `grid=` to "
                "Explainer where it is these axes that were misread; `maps` holds the values as they are."
            )
        return size

    def _need_picture(self) -> None:
        if not self._is_picture:
            raise InvalidArgument(
                f"the map must be of a picture to lie on a photo. Received: one of an input with the positions "
                f"{tuple(self.input_size)}. Use heatmaps() for its values at these, or overlay() to draw it."
            )

    def _need_photo(self) -> None:
        self._need_picture()
        if not self.placements:
            raise InvalidArgument(
                "this explanation was made from arrays, so there is no photo to draw on. Pass `photo=` to overlay(), "
                "or give photos to an Explainer with a `preprocess`."
            )
