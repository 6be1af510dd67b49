"""torchvision's detectors, with all of their predictions: the scores that go into post-processing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import TYPE_CHECKING, TypeAlias

from gradsight.foreign import Module, Outputs
from gradsight.targets.scores import Scores

if TYPE_CHECKING:
    from torch import Tensor


Prediction: TypeAlias = "dict[str, Tensor]"
"""Of one picture: boxes (q, 4) or one for each class of each, scores (q, classes), labels (q)."""

Shape: TypeAlias = tuple[int, int]
"""(height, width) of a picture, in pixels."""


def keep_all(detector: Module) -> tuple[Scores, Callable[[Outputs], tuple[Tensor, Tensor]]] | None:
    """Let a detector of torchvision give every prediction of its head, by its logits, instead of a chosen few.

    Its post-processing drops predictions by thresholds and non-maximum suppression, which have no gradient, and gives
    probabilities. Everything else, such as bringing boxes back to the picture's size, stays its own.

    Args:
        detector: a model, which is changed.

    Returns:
        How class scores and how detections are read from its output; None where it is no detector.
    """
    head: Module = getattr(detector, "roi_heads", detector)
    if not hasattr(head, "postprocess_detections"):
        return None
    if head is not detector:
        # torchvision has no option for this: what it calls at the end is replaced on this one object
        head.postprocess_detections = MethodType(_of_regions, head)
        head.has_mask = head.has_keypoint = lambda: False  # neither is explained, and each costs a pass a prediction
        background = True
    else:
        of_levels = hasattr(detector, "topk_candidates") and not hasattr(detector, "neg_to_pos_ratio")
        head.postprocess_detections = MethodType(_of_levels if of_levels else _of_anchors, head)
        background = not of_levels  # these score each class by itself
    return Scores(lambda outputs: _padded(outputs, background)[0].amax(1), ""), (
        lambda outputs: _padded(outputs, background)
    )


def _prediction(boxes: Tensor, logits: Tensor, shape: Shape) -> Prediction:
    from torchvision.ops import clip_boxes_to_image

    # A label for each prediction is asked for, and has no meaning before one class is chosen.
    return {"boxes": clip_boxes_to_image(boxes, shape), "scores": logits, "labels": logits.argmax(-1)}


def _of_regions(
    head: Module, logits: Tensor, regression: Tensor, proposals: Sequence[Tensor], shapes: Sequence[Shape]
) -> tuple[list[Tensor], ...]:
    """Faster R-CNN and its kin: a box for each class of each proposal."""
    import torch

    counts = [len(boxes) for boxes in proposals]
    boxes = head.box_coder.decode(regression, proposals)
    found = [
        _prediction(own.flatten(0, 1), scores, shape)
        for own, scores, shape in zip(torch.split(boxes, counts), torch.split(logits, counts), shapes, strict=True)
    ]
    return tuple([x[name] for x in found] for name in ("boxes", "scores", "labels"))


def _of_anchors(head: Module, outputs: Outputs, anchors: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Prediction]:
    """SSD."""
    rows = zip(outputs["bbox_regression"], outputs["cls_logits"], anchors, shapes, strict=True)
    return [_prediction(head.box_coder.decode_single(codes, own), logits, s) for codes, logits, own, s in rows]


def _of_levels(
    head: Module, outputs: Outputs, anchors: Sequence[Sequence[Tensor]], shapes: Sequence[Shape]
) -> list[Prediction]:
    """RetinaNet and FCOS: anchors of several levels."""
    import torch

    decode = getattr(head.box_coder, "decode_single", None) or head.box_coder.decode
    codes, logits = (torch.cat(list(outputs[name]), dim=1) for name in ("bbox_regression", "cls_logits"))
    rows = zip(codes, logits, anchors, shapes, strict=True)
    return [_prediction(decode(c, torch.cat(list(own))), scores, s) for c, scores, own, s in rows]


def _padded(outputs: Sequence[Prediction], background: bool) -> tuple[Tensor, Tensor]:
    """Scores (n, q, classes) and boxes (n, q, 4) or (n, q, classes, 4), filled up to one q with boxes of no size."""
    import torch

    # pictures have different numbers of predictions, and the scores of a batch are one array
    most = max(len(x["scores"]) for x in outputs)
    scores, boxes = [], []
    for x in outputs:
        own = x["scores"]
        lowest = own.min()
        if background:  # its first class is "nothing"
            own = torch.cat([lowest.expand(len(own), 1), own[:, 1:]], dim=1)
        corners = x["boxes"].reshape(len(own), -1, 4)  # (q, 1 or classes, 4)
        fill = most - len(own)
        scores.append(torch.cat([own, lowest.expand(fill, own.shape[1])]))
        boxes.append(torch.cat([corners, corners.new_zeros(fill, *corners.shape[1:])]))
    found = torch.stack(boxes)
    return torch.stack(scores), found[:, :, 0] if found.shape[2] == 1 else found
