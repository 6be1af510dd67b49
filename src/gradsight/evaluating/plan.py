"""What an evaluation measures: methods, layers and metrics, with what is taken where nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.explaining.asked import methods_of
from gradsight.explaining.layer_choice import LayerLike, several
from gradsight.metric_registry import Metric, MetricLike, as_metric
from gradsight.registry import METHODS, Method
from gradsight.rules import Whole
from gradsight.targets import TargetLike
from gradsight.variants import MethodLike

CONTROLS = ("random", "edge", "centre")
"""Methods that say nothing of the model: whatever is measured is measured of them too."""

CURVES = ("deletion(steps=14)", "insertion(steps=14)")
"""Fewer steps than the metrics' own: most of what is measured is these, and photos differ far more than steps do."""

FAITHFULNESS = (*CURVES, "averagedrop")
"""Metrics of what maps say of the model, where none are named; ROAD would take as long as all of them together."""

LOCALISATION = ("pointing", "energypointing", "maskauc")
"""Metrics that are added where boxes or masks are known."""

OF_BOXES = ("maxboxacc",)
"""Metrics that are added where boxes are known."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured of each photo.

    Attributes:
        methods: whose maps, the controls among them.
        named: the names of those that were asked for, and must work; the others are left out where they do not.
        metrics: what is measured.
        layers: where; None for the layer to choose.
        targets: what is explained, where photos have no classes of their own; None for the best class.
        seed: of whatever is drawn.
    """

    methods: tuple[Method, ...]
    named: frozenset[str]
    metrics: tuple[Metric, ...]
    layers: tuple[LayerLike | None, ...]
    targets: TargetLike | None
    seed: int

    @property
    def passes(self) -> int:
        """About how many forward passes a photo of one target takes."""
        # Without what metrics share: how much that is depends on which they are.
        per_map = sum(metric.passes for metric in self.metrics)
        of_layer = sum(method.at == "layer" for method in self.methods) * max(1, len(self.layers))
        maps = of_layer + sum(method.at != "layer" for method in self.methods)
        return 1 + maps * per_map + sum(method.cost(512, 1) - 1 for method in self.methods)


def plan_of(
    methods: Sequence[MethodLike] | MethodLike | None,
    metrics: Sequence[MetricLike] | MetricLike | None,
    layers: Sequence[LayerLike | None] | LayerLike | None,
    targets: TargetLike | None,
    seed: int,
    has: frozenset[str],
) -> Plan:
    """A plan; what is None is chosen.

    Args:
        methods: see `evaluate`.
        metrics: see `evaluate`.
        layers: see `evaluate`.
        targets: see `evaluate`.
        seed: see `evaluate`.
        has: what is known of where things are, of ``"regions"`` and ``"boxes"``.

    Raises:
        UnknownName: there is no such method or metric.
        InvalidArgument: a metric needs boxes or masks, and there are none.
    """
    named = [] if methods is None else methods_of(methods)
    chosen = named or [method for method in METHODS.values() if not method.costly and not method.control]
    controls = [METHODS[name] for name in CONTROLS]
    # Each once, by its name: rows are put together by names.
    by_name = {method.name: method for method in (*chosen, *controls)}
    measured = {metric.name: metric for metric in metrics_of(metrics, has)}
    kept = tuple(dict.fromkeys(several(layers, "layers")))
    # The controls too where methods are named: without them no figure can be read.
    return Plan(
        tuple(by_name.values()),
        frozenset(method.name for method in named),
        tuple(measured.values()),
        kept,
        targets,
        taken("seed", seed, Whole(0), "Pass 0."),
    )


def metrics_of(metrics: Sequence[MetricLike] | MetricLike | None, has: frozenset[str]) -> list[Metric]:
    """The metrics that are meant, or those that go with what is known.

    Raises:
        UnknownName: there is no such metric.
        InvalidArgument: one needs boxes or masks, and there are none.
    """
    if metrics is None:
        chosen = FAITHFULNESS + LOCALISATION * ("regions" in has) + OF_BOXES * ("boxes" in has)
        return [as_metric(name) for name in chosen]
    found = [as_metric(metric) for metric in several(metrics, "metrics")]  # type: ignore[arg-type]
    for metric in found:
        _check_needs(metric, has)
    return found


def _check_needs(metric: Metric, has: frozenset[str]) -> None:
    # Of all photos at once, before any is read: a case would tell it photo by photo.
    for need, way_out in (("regions", "`boxes` or `masks`"), ("boxes", "`boxes`")):
        if need in metric.needs and need not in has:
            raise InvalidArgument(
                f"the metric {metric.name!r} needs to know where things are. {received(None)} Pass {way_out}, or leave "
                "the metric out."
            )
