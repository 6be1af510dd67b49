"""Measure a few photos together: one pass serves all methods that look at it, and all metrics share its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case, Scoring
from gradsight.cases.case import Explain
from gradsight.cases.scoring import Level
from gradsight.cases.together import Member, Together
from gradsight.contracts import Backend, Floats, Pass
from gradsight.evaluating.items import Classes, Item
from gradsight.evaluating.places import Things, things_of
from gradsight.evaluating.plan import Plan
from gradsight.evaluating.rows import JOINED, OF_IMAGE, Measured, Row
from gradsight.evaluating.targets import BestOfEach
from gradsight.explaining.assemble import maps_of
from gradsight.explaining.colours import colours
from gradsight.explaining.inputs import Batch, Prepared
from gradsight.explaining.layer_choice import names_of
from gradsight.explaining.method_runs import MethodRun, method_runs
from gradsight.explaining.passes import Passes
from gradsight.locks import whole
from gradsight.metric_registry import Metric
from gradsight.photos import out_of_memory
from gradsight.recent import Recent
from gradsight.targets import TargetLike


@dataclass(eq=False)
class Measuring:
    """Measures photos by a plan.

    Attributes:
        passes: of the model.
        plan: what is measured.
        classes: what labels of boxes mean; None where there are none.
        masks: masks are known, and no boxes.
        left_out: the methods that fit the model not, by name, and why; only of those that nobody named.
    """

    passes: Passes
    plan: Plan
    classes: Classes | None = None
    masks: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    _worked: set[str] = field(default_factory=set)
    _ends: Recent[tuple[int, ...], tuple[Level, Level]] = field(default_factory=Recent)

    @whole()
    def __call__(self, items: Sequence[Item], prepared: Sequence[Prepared]) -> list[Measured]:
        """Measure photos that became inputs of one size; one value for each."""
        found: list[Measured | None] = [None] * len(items)
        # A pass has equally many targets of each image.
        for count in dict.fromkeys(len(item.choices) for item in items):
            at = [i for i, item in enumerate(items) if len(item.choices) == count]
            made = self._of_one_count([items[i] for i in at], [prepared[i] for i in at])
            for i, one in zip(at, made, strict=True):
                found[i] = one
        return [one for one in found if one is not None]

    def _of_one_count(self, items: Sequence[Item], prepared: Sequence[Prepared]) -> list[Measured]:
        # Asked once a batch: the user may train the model between two, and a batch is of one moment.
        backend = self.passes.user_model.backend()
        batch = self.passes.batch_of_prepared(prepared, backend)
        targets = _targets(items, self.plan.targets)
        names = names_of(list(self.plan.layers), backend)
        return backend.of_one_moment(lambda: self._of_batch(batch, items, targets, names))

    def _of_batch(
        self, batch: Batch, items: Sequence[Item], targets: TargetLike | None, names: Sequence[str | None]
    ) -> list[Measured]:
        methods = [method for method in self.plan.methods if method.name not in self.left_out]
        runs = method_runs(self.passes, batch, names, methods, targets)
        shared = runs[0].shared
        if batch.size > 1 and shared.rows.apart:
            # What is beside a photo would be part of its figures.
            alone = [self._of_batch(batch.alone(i), [items[i]], targets, names) for i in range(batch.size)]
            return [one for part in alone for one in part]
        # One for all methods: what the model says of the photos themselves, and of empty ones, is asked once.
        scoring = Scoring.of(shared, batch.backend, ends=self._colours(batch), seed=self.plan.seed)
        things = things_of(items, batch.placements, shared.targets, self.classes) if self._has_places else None
        rows: list[list[Row]] = [[] for _ in items]
        # Metrics of sanity and stability run the method again, on other images or weights.
        again = [run.again(batch.backend) for run in runs]
        scoring.together = Together(Member(run.shared, run.probe, one) for run, one in zip(runs, again, strict=True))
        for run, explain in zip(runs, again, strict=True):
            maps = self._maps(run, batch.backend)
            if maps is not None:
                self._measure(run, _case(maps, run, explain, scoring, things, masks=self.masks), rows)
        problems = things.problems if things else ((),) * len(items)
        return [
            Measured(item.name, tuple(_named(row, item.name) for row in own), told)
            for item, own, told in zip(items, rows, problems, strict=True)
        ]

    @property
    def _has_places(self) -> bool:
        return self.masks or self.classes is not None

    def _maps(self, run: MethodRun, backend: Backend) -> NDArray[np.float32] | None:
        """The maps of a method; None where it does not fit the model, and nobody named it."""
        name = run.method.name
        try:
            maps = maps_of(run.method, run.probe, run.shared, backend)
        except Exception as error:
            # What worked before fits the model: then it is this photo, or the memory.
            if name in self.plan.named or name in self._worked or run.method.control or out_of_memory(error):
                raise
            self.left_out[name] = str(error)
            return None
        self._worked.add(name)
        return maps

    def _measure(self, run: MethodRun, case: Case, rows: Sequence[list[Row]]) -> None:
        # Metric by metric, and the case is let go of with its maps at the photo's size: memory is that of one method.
        for metric in self.plan.metrics:
            values = metric(case)
            for i, own in enumerate(rows):
                own += _rows(run, metric, values[i], i)

    def _colours(self, batch: Batch) -> tuple[Level, Level]:
        """Black and white as the model gets them."""
        return self._ends.of(batch.backend.size(batch.inputs), lambda: colours(self.passes, batch))


def _targets(items: Sequence[Item], for_all: TargetLike | None) -> TargetLike | None:
    # All of one batch alike: they were put together by how many targets they have.
    if items[0].choices:
        return BestOfEach(tuple(item.choices for item in items))
    # A list that has one entry for each photo has one for all of them.
    own = [item.target for item in items if item.target is not None]
    return own or for_all


def _case(
    maps: Floats, run: MethodRun, explain: Explain, scoring: Scoring, things: Things | None, *, masks: bool
) -> Case:
    if things is None:
        return Case(maps, scoring, run.probe, explain)
    return Case(maps, scoring, run.probe, explain, things.regions, None if masks else things.boxes)


def _rows(run: MethodRun, metric: Metric, values: NDArray[np.float64], i: int) -> list[Row]:
    """The figures of one image, (k,) or (k, ...) of a metric of sets."""
    layer = JOINED.join(run.layers) or OF_IMAGE
    told = (layer, run.method.name, metric.name)
    rows = []
    for value, target in zip(values, _named_targets(run.shared, i), strict=True):
        if metric.together is None:
            rows.append(Row("", *target, *told, float(value)))
        else:
            rows.append(Row("", *target, *told, float("nan"), tuple(map(float, value.ravel()))))
    return rows


def _named_targets(shared: Pass, i: int) -> list[tuple[str, int | None]]:
    return [(target.label, target.index) for target in shared.targets.names[i]]


def _named(row: Row, image: str) -> Row:
    return Row(image, *list(vars(row).values())[1:])
