"""Measure methods on photos: `gradsight.evaluate`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypedDict, Unpack

from gradsight.annotations import Annotations
from gradsight.annotations.labels import ClassMap
from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument
from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.items import Item, Known, Label, items_of, known_of, listed
from gradsight.evaluating.measuring import Measuring
from gradsight.evaluating.plan import Plan, plan_of
from gradsight.evaluating.rows import Measured, Unmeasured
from gradsight.explaining.asked import check_words
from gradsight.explaining.explainer import Explainer
from gradsight.explaining.layer_choice import LayerLike
from gradsight.explaining.stream import BATCH_SIZE, Batches
from gradsight.metric_registry import MetricLike
from gradsight.photos import Failed
from gradsight.rules import Instance
from gradsight.targets import TargetLike, check_target
from gradsight.variants import MethodLike

Drawn: TypeAlias = "Annotations | str | os.PathLike[str]"


class More(TypedDict, total=False):
    """Keyword arguments of `evaluate` about the photos and the pass."""

    boxes: Drawn | None
    masks: Drawn | None
    class_map: ClassMap | str | os.PathLike[str] | None
    labels: Iterable[Label | None] | None
    targets: TargetLike | Sequence[TargetLike] | None
    seed: int
    batch_size: int | str | None


def evaluate(
    explainer: Explainer,
    photos: Iterable[object],
    *,
    methods: Sequence[MethodLike] | MethodLike | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    layers: Sequence[LayerLike] | LayerLike | None = None,
    **more: Unpack[More],
) -> Evaluation:
    """Measure how far the maps of methods can be trusted, on photos, in the memory of a few batches.

    One pass of the model serves all methods that look at it, and all metrics of a batch share what the model says of
    images that do not depend on a map. The controls (random, edge, centre) are always among the methods.

    Args:
        explainer: of the model.
        photos: paths, bytes, PIL images, arrays (height, width, 3) of uint8 in RGB or `photos.Photo`, or a folder.
        methods: by name; if not given, those that take a few passes of the model, as far as they fit it.
        metrics: by name; if not given, deletion and insertion in 14 steps and average drop, and where boxes or masks
            are known the pointing game, energy, mask AUC and, of boxes, MaxBoxAcc.
        layers: by name; the explainer's own, or the one to choose, if not given.
        **more: ``boxes``, a file or folder of boxes (`annotations.read_boxes`), or ``masks``, a folder of masks, say
            where things are. ``class_map``: what the labels of boxes mean, a mapping such as ``{"bird": (7, 8)}`` or a
            file of JSON; names of the model's classes mean these. ``labels``: a class for each photo, which is its
            target. ``targets``: what is explained instead, as in `Explainer`, or a list of one for each photo. With
            neither, boxes say the targets: of each label on a photo the most probable class that it means; else it is
            the model's best class. ``seed``: of all that is drawn. ``batch_size``: how many photos are
            measured together, as in `Explainer.stream`; if not given, as many as make a batch of the explainer's with
            the changed photos that metrics ask for, and no more than 8.

    Returns:
        An `Evaluation`. Photos that cannot be read, and boxes that fit no photo, are named in it.

    Raises:
        GradsightError: with what was wrong, what was received and what to do; no photo could be measured.

    >>> import numpy as np, torch, gradsight as gs
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> explainer = gs.Explainer(net, preprocess=gs.Preprocess(16))
    >>> photos = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), np.uint8)
    >>> evaluation = gs.evaluate(explainer, photos, methods=["gradcam"], metrics=["deletion(steps=4)"])
    >>> sorted({one.method for one in evaluation.summary})
    ['centre', 'edge', 'gradcam', 'random']
    """
    asked = asked_of(explainer, photos, methods, metrics, layers, more)
    done: list[Measured] = []
    failed: list[tuple[Unmeasured, BaseException]] = []
    with asked.stream() as stream:
        for one in stream:
            if isinstance(one, Failed):
                failed.append((Unmeasured(one.photo.name, str(one.error)), one.error))
            else:
                done.append(one)
    # A table of nothing would look like one of photos that all failed a metric.
    if not done:
        raise failed[0][1] if failed else InvalidArgument("`photos` must hold at least one. Received: none.")
    return asked.evaluation(done, [one for one, _ in failed])


@dataclass(frozen=True, eq=False)
class Asked:
    """All that a call asks for, checked, before anything is read.

    Attributes:
        explainer: of the model.
        plan: what is measured.
        items: of which photos.
        known: of their things.
        notes: what the reader must know, in words.
        batch_size: how many photos pass the model at once, or ``"auto"``.
        measuring: what does it.
    """

    explainer: Explainer
    plan: Plan
    items: Iterable[Item]
    known: Known
    notes: tuple[str, ...]
    batch_size: int | str
    measuring: Measuring

    def stream(self, items: Iterable[Item] | None = None) -> Batches[Item, Measured]:
        """What comes of each photo, in their order; of some of them, if they are given."""
        chosen = self.items if items is None else items
        return Batches(chosen, self.measuring, self.explainer._passes.preparing(), self.batch_size)

    def evaluation(
        self,
        measured: Sequence[Measured],
        failed: Sequence[Unmeasured] = (),
        left_out: Mapping[str, str] | None = None,
    ) -> Evaluation:
        """The value of what came of the photos; ``left_out`` are methods that did not fit in an earlier call."""
        left = {**(left_out or {}), **self.measuring.left_out}
        # A batch that is tried again in parts may have measured one before it was left out: all photos or none.
        kept = [replace(one, rows=tuple(row for row in one.rows if row.method not in left)) for one in measured]
        model, seed = self.explainer.name, self.plan.seed
        return Evaluation.of(tuple(kept), model, seed, tuple(failed), tuple(sorted(left.items())), self.notes)


_TOGETHER = 8
"""Photos that are measured at once, at most: metrics hold maps of the input's size of all of them and their targets."""

EXPLAINER = Instance(Explainer, "an Explainer")

_WORDS = tuple(More.__annotations__)


def asked_of(
    explainer: Explainer,
    photos: Iterable[object],
    methods: Sequence[MethodLike] | MethodLike | None,
    metrics: Sequence[MetricLike] | MetricLike | None,
    layers: Sequence[LayerLike] | LayerLike | None,
    more: More,
) -> Asked:
    """What a call of `evaluate` asks for; see there for the errors."""
    check_words(more, ["methods", "metrics", "layers", *_WORDS], "evaluate")
    explainer = taken("explainer", explainer, EXPLAINER, "Pass gs.Explainer(model).")
    targets, labels = more.get("targets"), more.get("labels")
    if targets is not None and labels is not None:
        raise InvalidArgument("`targets` and `labels` exclude each other. Received: both. Leave one of them out.")
    for_all = explainer.targets if targets is None else targets
    # A list holds a target for each photo, and not several for all.
    each = for_all if isinstance(for_all, list | tuple) else None
    check_target(*(each or [for_all]))
    boxes, masks = more.get("boxes"), more.get("masks")
    # Boxes say which classes are on a photo; whoever says the class knows better.
    by_boxes = labels is None and for_all is None
    known = known_of(boxes, masks, more.get("class_map"), explainer.labels, by_boxes=by_boxes)
    # Before the plan: metrics that need boxes or masks are among the default ones only where there are some.
    has = frozenset(("regions",) * (known.annotations is not None) + ("boxes",) * (boxes is not None))
    layers = explainer.layer if layers is None else layers
    plan = plan_of(methods, metrics, layers, None if each is not None else for_all, more.get("seed", 0), has)
    items, told = items_of(listed(photos), known, labels, each, explainer.labels)
    size = optional("batch_size", more.get("batch_size"), BATCH_SIZE, "Pass 32.")
    # It is shared by all batches, since what did not fit in one is left out of all.
    measuring = Measuring(explainer._passes, plan, known.classes, masks is not None)
    notes = (*_of_targets(known, labels, for_all), *told)
    return Asked(explainer, plan, items, known, notes, size or _at_once(plan, explainer.batch_size), measuring)


def _at_once(plan: Plan, most: int) -> int:
    """How many photos are measured together, where nobody says it."""
    # Where each map takes many passes these fill a batch by themselves; and figures come, and are kept, batch by batch.
    per_map = sum(metric.passes for metric in plan.metrics)
    return max(1, min(_TOGETHER, most // max(1, per_map)))


def _of_targets(known: Known, labels: object, targets: object) -> Iterator[str]:
    """What is explained, in words."""
    if known.by_boxes:
        yield "explained is, of each label of boxes on a photo, the most probable class that it means"
    elif labels is not None:
        yield "explained is the class that each photo is labelled with"
    elif targets is None:
        yield "explained is the model's best class of each photo, right or wrong"
