"""Bring boxes and masks from a photo to what the model saw of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.annotations.marks import Marks
from gradsight.errors import InvalidArgument
from gradsight.imaging import Placement, read_marked

Boxes: TypeAlias = NDArray[np.float64]
"""(b, 4): (top, left, bottom, right)."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where things are on a model's input.

    Attributes:
        boxes: (b, 4): (top, left, bottom, right) in pixels of the input, measured from its upper left corner, cut at
            what the model saw; boxes that lie outside of it altogether are left out. Around a mask's areas there are
            none: a mask says no boxes.
        region: (height, width) of the input: where the things are. A pixel is on a box where its centre is; a box
            that holds no centre has the pixel in its middle.
        seen: which share of the things, by area, the model saw, in [0, 1]; 0 where there is none.
        things: how many there are on the photo.
    """

    boxes: Boxes
    region: NDArray[np.bool_]
    seen: float
    things: int


def placed(marks: Marks, placement: Placement, labels: Collection[str] | None = None) -> Placed:
    """Bring what is known of a photo to the input that a model got of it, through crop, letterbox and resize.

    Args:
        marks: of the photo.
        placement: where the input lies on it (`Explanation.placements`).
        labels: of the boxes that are meant; all by default. A mask has no label, and is always meant.

    Raises:
        InvalidArgument: they are of another photo: its size is another, or a box lies beside it.
        ImageError: the mask cannot be read.
    """
    marks.check(placement.image_size)
    if marks.mask is not None:
        return _of_mask(read_marked(marks.mask), placement, str(marks.mask))
    boxes = [box.on(placement.image_size) for box in marks.boxes if labels is None or box.label in labels]
    return _of_boxes(np.array(boxes, np.float64).reshape(-1, 4), placement)


def placed_by_class(
    marks: Marks, placement: Placement, targets: Sequence[int | None], classes: Mapping[str, Collection[int]]
) -> tuple[Placed, ...]:
    """As `placed`, for each of a photo's targets the things whose label means its class.

    Args:
        marks: of the photo.
        placement: where the input lies on it.
        targets: the class of each target; None where it is no class, and then no box is meant.
        classes: for each label the classes that it means, from `classes_of`.

    Raises:
        InvalidArgument: they are of another photo.
        ImageError: the mask cannot be read.
    """
    found: dict[int | None, Placed] = {}
    for target in targets:
        # Targets of one class share what is found: a mask of a large photo takes time to read.
        if target not in found:
            labels = {label for label, meant in classes.items() if target in meant}
            found[target] = placed(marks, placement, labels)
    return tuple(found[target] for target in targets)


def _of_boxes(boxes: Boxes, placement: Placement) -> Placed:
    moved = _on_input(boxes, placement)
    (height, width), whole = placement.input_size, _areas(moved)
    cut = np.clip(moved, 0, (height, width, height, width))
    areas = _areas(cut)
    region = np.zeros((height, width), bool)
    for box in cut[areas > 0]:
        region[_covered(box[0], box[2], height), _covered(box[1], box[3], width)] = True
    seen = float(areas.sum() / whole.sum()) if len(boxes) else 0.0
    return Placed(cut[areas > 0], region, seen, len(boxes))


def _on_input(boxes: Boxes, placement: Placement) -> Boxes:
    """Boxes on the photo as boxes on the input, which may reach beyond it."""
    top, left, bottom, right = placement.box
    height, width = placement.input_size
    down, across = height / (bottom - top), width / (right - left)
    return np.asarray((boxes - (top, left, top, left)) * (down, across, down, across))


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))


def _covered(start: float, stop: float, length: int) -> slice:
    """The pixels whose centres lie in [start, stop); the one in the middle where none does."""
    first, last = int(np.ceil(start - 0.5)), int(np.ceil(stop - 0.5))
    # A thing that is smaller than a pixel of the input is there all the same.
    middle = min(int((start + stop) / 2), length - 1)
    return slice(first, last) if last > first else slice(middle, middle + 1)


def _of_mask(mask: NDArray[np.bool_], placement: Placement, name: str) -> Placed:
    if mask.shape != placement.image_size:
        raise InvalidArgument(
            f"{name!r} must be as large as its photo, {placement.image_size[1]} x {placement.image_size[0]} pixels. "
            f"Received: a mask of {mask.shape[1]} x {mask.shape[0]}. Give the one that was drawn on this photo."
        )
    top, left, bottom, right = placement.box
    rows, columns = _looked_at(top, bottom, placement.input_size[0]), _looked_at(left, right, placement.input_size[1])
    # Where the input was padded it shows nothing of the photo, and no thing.
    inside = [(at >= 0) & (at < length) for at, length in zip((rows, columns), mask.shape, strict=True)]
    region = np.zeros(placement.input_size, bool)
    region[np.ix_(*inside)] = mask[np.ix_(rows[inside[0]], columns[inside[1]])]
    first, second, third, fourth = placement.seen
    all_of_it = int(mask.sum())
    seen = float(mask[first:third, second:fourth].sum() / all_of_it) if all_of_it else 0.0
    return Placed(np.zeros((0, 4)), region, seen, int(all_of_it > 0))


def _looked_at(start: float, stop: float, length: int) -> NDArray[np.int64]:
    """The pixel of the photo below the centre of each of the input's."""
    centres = start + (np.arange(length) + 0.5) * ((stop - start) / length)
    return np.asarray(np.floor(centres).astype(np.int64))
