"""A detection: the prediction that a box asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from gradsight.checks import optional
from gradsight.errors import InvalidArgument, ModelError
from gradsight.foreign import Array, Ops, Outputs
from gradsight.rules import Box as BoxRule
from gradsight.targets.class_names import misfit
from gradsight.targets.context import Floats, Indices, OutputContext, TargetInfo
from gradsight.targets.labels import AClass, class_index, class_name
from gradsight.targets.resolved import ScoreSpec, of_function

_Naming = Callable[[OutputContext, int, "Floats | None", tuple[float, ...]], TargetInfo]


@dataclass(frozen=True)
class Box:
    """The evidence for a detection: a class's score in the prediction that overlaps a box best.

    The score is that of the detector's head, before it drops predictions (non-maximum suppression, a threshold), which
    has no gradient. In further passes of methods that change the picture, the prediction that overlaps the box best
    then is looked for once more, as D-RISE does (Petsiuk et al., arXiv:2006.03204, eq. 3); where none overlaps it, the
    score is the lowest that the class has in that picture.

    Explain it by a method that weighs each position by itself, such as ``"hirescam"`` or ``"layercam"``: Grad-CAM's
    weights are means over the picture, and show another thing of the same class as well.

    Positions are those of the original photo, (row, column) in pixels, or of the model's input where a batch was given.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
    >>> model = torch.nn.Sequential(features, torch.nn.Conv2d(8, 2, 4, stride=4)).eval()
    >>> corners = torch.tensor([[0.0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]])  # of the four predictions
    >>> def detections(output):
    ...     return output.flatten(2).transpose(1, 2), corners.expand(len(output), 4, 4)
    >>> explainer = gs.Explainer(model, labels=["cat", "dog"], layer="0", detections=detections)
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Box("dog", box=(0, 4, 4, 8))).labels
    (('dog in 0,4,4,8',),)

    Attributes:
        which: the class, an index or a label; None for the one that the prediction itself is most for.
        box: (top, left, bottom, right), the latter two exclusive; None for the prediction that scores highest.

    Raises:
        InvalidArgument: the box is none.
        InvalidType: the class is none.
    """

    which: int | str | None = None
    box: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", optional("`which` of Box", self.which, AClass()))
        object.__setattr__(self, "box", optional("`box` of Box", self.box, BoxRule()))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        predictions = detected(context)
        if predictions is None:
            raise ModelError(
                "Box can be explained where the model gives scores and boxes of detections; it gives "
                f"{context.described}. Pass `detections=` to Explainer, a function from the output to scores "
                "(n, q, classes) and boxes (n, q, 4), or gs.Pixels(...) for a segmentation, or a class."
            )
        scores, boxes = predictions
        asked = self._asked(context)
        classes = np.full(
            context.n, 0 if self.which is None else class_index(self.which, context.labels, scores.shape[-1])
        )
        if self.which is None:
            for i in context.images:
                overlap = None if asked is None else _iou(_of_best_class(boxes[i], scores[i]), asked[i], np)
                classes[i] = _best_class(scores[i], overlap)
        return _of_predictions(context, predictions, classes, asked, self._name)

    def _asked(self, context: OutputContext) -> Floats | None:
        """(n, 4): the box as detectors write it, (left, top, right, bottom) in pixels of the model's input."""
        if self.box is None:
            return None
        boxes = np.zeros((context.n, 4), np.float32)
        for i in context.images:
            corners = np.reshape(self.box, (2, 2))
            if context.placements:  # which counts positions from the centres of pixels
                corners = np.array([context.placements[i].to_input(*(corner - 0.5)) for corner in corners]) + 0.5
            boxes[i] = corners[:, ::-1].ravel()
        return boxes

    def _name(self, context: OutputContext, index: int, overlap: Floats | None, place: tuple[float, ...]) -> TargetInfo:
        """What the prediction is called.

        Raises:
            InvalidArgument: none overlaps the box.
        """
        name = class_name(index, context.labels)
        if self.box is None:
            known = place[2] > place[0] and place[3] > place[1]
            return TargetInfo(index, name, place=place if known else ())
        where = ",".join(f"{x:g}" for x in self.box)
        best = 0.0 if overlap is None else float(overlap.max())
        if not best > 0:
            raise InvalidArgument(
                f"`box` of Box must overlap one of the model's predictions of {name}. Received: {where}. "
                "Positions are (top, left, bottom, right) in pixels of the photo; without a box the prediction that "
                "scores highest is explained."
            )
        # who asks for a box expects the prediction to be about there
        label = f"{name} in {where}" + (f" (overlap {best:.2f})" if best < _ALIKE else "")
        return TargetInfo(index, label, place=tuple(self.box))


def detected(context: OutputContext) -> tuple[Floats, Floats] | None:
    """The scores and boxes of a detector's predictions, in NumPy; None where the output has none.

    Raises:
        InvalidArgument: the labels do not fit, or there is no prediction in an image.
    """
    predictions = context.detections(context.outputs)
    if predictions is None:
        return None
    scores, boxes = (context.numpy(x) for x in predictions)
    if context.labels is not None and len(context.labels) != scores.shape[-1]:
        raise InvalidArgument(misfit(context.labels, scores.shape[-1]))
    for i in context.images:
        if not boxes[i].any():  # there are as many rows as the other images need, without a size
            raise InvalidArgument(f"the model predicts nothing in image {i}, so there is no Box to explain.")
    return scores, boxes


def best_of_classes(indices: Indices, context: OutputContext) -> ScoreSpec:
    """Targets for k classes of each image, (n, k). Each is the score of the class's best detection.

    Raises:
        InvalidArgument: there is none.
    """
    predictions = detected(context)
    assert predictions is not None
    of_each = [_of_predictions(context, predictions, classes, None, Box()._name) for classes in indices.T]
    names = tuple(tuple(x.names[i][0] for x in of_each) for i in range(context.n))
    return ScoreSpec(names, sum((x.columns for x in of_each), ()))


def _of_predictions(
    context: OutputContext,
    predictions: tuple[Floats, Floats],
    classes: Indices,
    asked: Floats | None,
    name: _Naming,
) -> ScoreSpec:
    """One target: for each image the prediction of its class, (n,), that overlaps the wanted box, (n, 4), best."""
    scores, boxes = predictions
    names = [TargetInfo(None, "")] * context.n
    for i in context.images:
        own = _of_class(boxes[i], classes[i])
        overlap = None if asked is None else _iou(own, asked[i], np)
        of_class = scores[i][:, classes[i]]
        best = own[int(of_class.argmax())]
        # A detector that gives one class for each prediction has zeros for all others: a maximum of them is no
        # evidence.
        if asked is None and not of_class.any() and scores[i].any():  # each row has the probability of one class
            raise InvalidArgument(
                f"the model predicts no {class_name(int(classes[i]), context.labels)} in image {i}, so there is no "
                "Box to explain. Explain another class, or gs.Box(), which is the prediction that scores highest."
            )
        names[i] = name(context, int(classes[i]), overlap, _in_photo(best, context, i))
    return of_function(partial(_score, context, np.eye(scores.shape[-1])[classes], asked), names)


def _score(context: OutputContext, chosen: Floats, asked: Floats | None, outputs: Outputs) -> Array:
    """The scores (m,) of an output, for classes ``chosen``, (n, classes) of 0 and 1, and boxes (n, 4) or None."""
    ops = context.ops
    scores, boxes = cast(tuple[Array, Array], context.detections(outputs))  # the first output had them too
    # By a mask, not by an index: images of one batch may have other classes, and every framework has `where`.
    chosen = context.each(chosen, scores)[:, None] > 0
    own = ops.sum(ops.where(chosen, scores, ops.zeros_like(scores)), axis=-1)
    if asked is None:
        return ops.max(own, axis=1)
    # Each class has boxes of its own; those of the chosen class are taken.
    if boxes.ndim == 4:
        boxes = ops.sum(ops.where(chosen[..., None], boxes, ops.zeros_like(boxes)), axis=2)
    overlap = _iou(boxes, context.each(asked, boxes)[:, None], ops)
    best, lowest = ops.max(overlap, axis=1), ops.min(own, axis=1)
    # of several that overlap it alike, the one that scores highest
    evidence = ops.max(ops.where(overlap >= best[:, None], own, lowest[:, None]), axis=1)
    return ops.where(best > 0, evidence, lowest)


def _in_photo(box: Floats, context: OutputContext, i: int) -> tuple[float, ...]:
    """A box (left, top, right, bottom) in pixels of the input as (top, left, bottom, right) in pixels of the photo."""
    corners = box.reshape(2, 2)[:, ::-1]
    if context.placements:
        corners = np.array([context.placements[i].to_pixel(*(corner - 0.5)) for corner in corners]) + 0.5
    return tuple(float(x) for x in corners.ravel())


_ALIKE = 0.5
"""From this overlap on, PASCAL VOC counts a prediction as right."""


def _iou(boxes: Array, asked: Array, ops: Ops) -> Array:
    """Intersection over union of boxes (..., q, 4) with one (..., 1, 4) or (4,), all (left, top, right, bottom)."""
    left, top, right, bottom = (boxes[..., i] for i in range(4))
    start, up, end, down = (asked[..., i] for i in range(4))
    # A clip by minimum and maximum with arrays, since the Array API has none with numbers.
    zero = ops.zeros_like(left)
    across = ops.maximum(ops.minimum(right, end + zero) - ops.maximum(left, start + zero), zero)
    along = ops.maximum(ops.minimum(bottom, down + zero) - ops.maximum(top, up + zero), zero)
    area = ops.maximum(right - left, zero) * ops.maximum(bottom - top, zero)
    return across * along / (area + (end - start) * (down - up) - across * along)


def _of_class(boxes: Floats, index: int) -> Floats:
    """The boxes (q, 4) of a class. Some detectors have boxes for each class: (q, classes, 4)."""
    return boxes if boxes.ndim == 2 else boxes[:, index]


def _of_best_class(boxes: Floats, scores: Floats) -> Floats:
    return boxes if boxes.ndim == 2 else boxes[np.arange(len(boxes)), scores.argmax(1)]


def _best_class(scores: Floats, overlap: Floats | None) -> int:
    """The class of the prediction that overlaps a box best, or, without a box, of the one that scores highest."""
    highest = scores.max(axis=1)
    if overlap is not None:
        # Several predictions often lie at the same box; the surest of them says the class.
        highest = np.where(overlap >= overlap.max(), highest, -np.inf)
    return int(scores[int(highest.argmax())].argmax())
