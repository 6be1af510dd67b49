"""Targets that are classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, ModelError
from gradsight.rules import Whole
from gradsight.targets.boxes import best_of_classes, detected
from gradsight.targets.context import Floats, Indices, OutputContext, TargetInfo
from gradsight.targets.labels import AClass, class_index, class_name
from gradsight.targets.resolved import ScoreSpec, Term


@dataclass(frozen=True)
class Top:
    """The ``k`` classes with the highest scores in each image.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Top(3)).maps.shape
    (1, 3, 6, 6)

    Raises:
        InvalidArgument: ``k`` is not positive, or the model has fewer classes.
    """

    k: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", taken("`k` of Top", self.k, Whole(1)))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        logits = _class_scores(context)
        if self.k > logits.shape[1]:
            raise InvalidArgument(f"Top({self.k}) asks for more classes than the model's {logits.shape[1]}.")
        return _of_classes(_highest(logits, self.k), context)


@dataclass(frozen=True, init=False)
class Classes:
    """The same classes for every image, each an index or a label: ``gs.Classes("tabby", 243)``.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> head = torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    >>> model = torch.nn.Sequential(features, head).eval()
    >>> explainer = gs.Explainer(model, labels=["cat", "dog", "fox", "owl"])
    >>> explainer(torch.rand(1, 3, 8, 8), targets=gs.Classes("fox", 0)).labels
    (('fox', 'cat'),)

    Raises:
        InvalidArgument: there is none.
        InvalidType: one is neither an index nor a label.
    """

    which: tuple[int | str, ...]

    def __init__(self, *which: int | str) -> None:
        if not which:
            raise InvalidArgument("Classes needs at least one class. Received: nothing.")
        object.__setattr__(self, "which", tuple(taken("`which` of Classes", x, AClass()) for x in which))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        return classes_of_each([self.which] * context.n, context)


def classes_of_each(rows: Sequence[Sequence[int | str]], context: OutputContext) -> ScoreSpec:
    """Targets for k classes of each image."""
    count = _class_scores(context).shape[1]
    return _of_classes(np.array([[class_index(x, context.labels, count) for x in row] for row in rows]), context)


def _highest(logits: Floats, k: int) -> Indices:
    """The k classes of each image with the highest scores: (n, k); of equal scores the lower class comes first."""
    if k == 1 and not np.isnan(logits).any():  # the same without sorting all of them
        best: Indices = logits.argmax(axis=1)[:, None]
        return best
    # Stable, so that it is so on every framework.
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


def _class_scores(context: OutputContext) -> Floats:
    """The class scores, (n, classes). A detector's score for a class is that of its best prediction."""
    # What is wrong is known from reading the output, and says more than the general error.
    if context.missing:
        raise InvalidArgument(context.missing)
    if context.logits is not None:
        return context.logits
    detections = detected(context)
    # A model with boxes and a map of classes: the best box of a class and its pixels would be two answers.
    if detections is None or _also_dense(context, detections[0].shape[-1]):
        raise ModelError(
            "a class can be explained where the model gives one row of class scores for each image; it gives "
            f"{context.described}. Pass `targets=` as a function from the model's output to one score for each image, "
            "(n,), or gs.Pixels, gs.Box or gs.Token, where the scores are those of pixels, boxes or words. Where the "
            "output holds class scores after all, `scores=` of Explainer is a function that takes them."
        )
    best: Floats = detections[0].max(axis=1)
    return best


def _also_dense(context: OutputContext, count: int) -> bool:
    """Whether a detector also gives a map of the same classes: then a class could mean either."""
    dense = context.dense(context.outputs)
    return dense is not None and dense.shape[1] == count


def _of_classes(indices: Indices, context: OutputContext) -> ScoreSpec:
    if context.logits is None:
        return best_of_classes(indices, context)
    # Each class is named once, however many images have it.
    rows = indices.tolist()
    known = {i: TargetInfo(i, class_name(i, context.labels)) for i in {i for row in rows for i in row}}
    names = tuple(tuple([known[i] for i in row]) for row in rows)
    indices = np.ascontiguousarray(indices)  # and no part of a larger array, which it would keep
    spec = ScoreSpec(names, tuple([(Term(classes=column),) for column in indices.T]))
    if len({column.tobytes() for column in indices.T}) == indices.shape[1]:  # no class is named twice
        vars(spec).update(classes=indices, indices=indices, of_classes=True)  # which is found out of the terms else
    return spec
