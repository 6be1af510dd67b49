"""Reading what models give besides rows of class scores: detections, embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sized

import numpy as np

from gradsight.foreign import Array, Ops, Outputs

_EMBEDDINGS = ("image_embeds", "embeddings", "embedding", "features", "pooler_output")


def detections_in(
    outputs: Outputs, size: tuple[int, ...], labels: Sized | None, ops: Ops
) -> tuple[Array, Array] | None:
    """The scores (n, q, classes) and boxes (n, q, 4) of predictions in a model's output; None where it has none.

    Known are:

    - scores and boxes as they should be, as a pair or under the names ``scores`` (or ``logits``) and ``boxes``;
    - DETR and its kin in transformers (``logits``, ``pred_boxes``); a class more than there are labels is "nothing";
    - what torchvision's detectors give, a dict for each image with ``boxes``, ``scores`` and ``labels``.

    Args:
        outputs: of a detector.
        size: (height, width) of the model's input.
        labels: class names, or whatever has as many items; None where their number is not known.
        ops: array functions.

    Returns:
        Boxes are (left, top, right, bottom) in pixels of the model's input; (n, q, classes, 4) where each class has
        boxes of its own.
    """
    logits, relative, boxes, scores = (_entry(outputs, name) for name in ("logits", "pred_boxes", "boxes", "scores"))
    if _has_axes(logits, 3) and _has_axes(relative, 3):
        # DETR has one class more, "no object", which is nothing to explain.
        nothing = labels is not None and logits.shape[2] == len(labels) + 1
        return logits[..., :-1] if nothing else logits, in_pixels(corners(relative, ops), size, ops)
    is_list = isinstance(outputs, list | tuple) and len(outputs) > 0
    named = (scores if logits is None else logits, boxes)
    pair = outputs if is_list and len(outputs) == 2 else named
    if _has_axes(pair[0], 3) and (_has_axes(pair[1], 3) or _has_axes(pair[1], 4)) and pair[1].shape[-1] == 4:
        return pair[0], pair[1]
    if is_list and all(_has_axes(_entry(x, "boxes"), 2) for x in outputs):
        return _chosen(outputs, labels, ops)
    return None


def _chosen(outputs: Outputs, labels: Sized | None, ops: Ops) -> tuple[Array, Array]:
    """Scores and boxes from final predictions, each with one class and its probability.

    Images have different numbers of predictions. All get as many rows as the largest number, at least one; the added
    rows have a box without a size, and score 0.
    """
    predictions = [(x["labels"], x["scores"], x["boxes"]) for x in outputs]
    # One at least: an image without any prediction still needs a row.
    most = max(1, *(boxes.shape[0] for _, _, boxes in predictions))
    if labels is None:
        count = 1 + max((int(ops.max(classes)) for classes, *_ in predictions if classes.shape[0]), default=0)
    else:
        count = len(labels)
    scores, boxes = [], []
    for classes, probabilities, own_boxes in predictions:
        like = {"dtype": probabilities.dtype, "device": getattr(probabilities, "device", None)}
        own = one_hot(ops.astype(classes, probabilities.dtype), count, ops) > 0
        fill = most - own_boxes.shape[0]
        # A product with 0 and 1 would spread what is not finite over the other classes.
        own = ops.where(own, probabilities[:, None], ops.zeros_like(probabilities)[:, None])
        scores.append(ops.concat([own, ops.asarray(np.zeros((fill, count)), **like)], axis=0))
        boxes.append(ops.concat([own_boxes, ops.asarray(np.zeros((fill, 4)), **like)], axis=0))
    return ops.stack(scores, axis=0), ops.stack(boxes, axis=0)


def one_hot(numbers: Array, count: int, ops: Ops) -> Array:
    """1 in the column that a number names and 0 in the others: (...) -> (..., count), in the numbers' own precision."""
    columns = ops.asarray(np.arange(count), dtype=numbers.dtype, device=getattr(numbers, "device", None))
    return ops.astype(numbers[..., None] == columns, numbers.dtype)


def embedding_in(outputs: Outputs, otherwise: Array | None) -> Array | None:
    """The embeddings (n, d) in a model's output, found by their usual names; ``otherwise`` if there are none."""
    entries = (_entry(outputs, name) for name in _EMBEDDINGS)
    return next((x for x in entries if _has_axes(x, 2)), otherwise)


def in_pixels(boxes: Array, size: tuple[int, ...], ops: Ops) -> Array:
    """Boxes (..., 4), each (left, top, right, bottom) in shares of a picture, in its pixels."""
    return boxes * ops.asarray([size[1], size[0]] * 2, dtype=boxes.dtype, device=getattr(boxes, "device", None))


def corners(boxes: Array, ops: Ops) -> Array:
    """(centre x, centre y, width, height) to (left, top, right, bottom)."""
    return ops.concat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1)


def _entry(outputs: Outputs, name: str) -> Outputs:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)


def _has_axes(array: object, count: int) -> bool:
    return getattr(array, "ndim", None) == count
