"""Which methods run on which layers: one pass serves all that it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from gradsight.contracts import TRUE, Backend, Floats, Pass, Probe
from gradsight.explaining.inputs import Batch
from gradsight.explaining.layer_choice import Study
from gradsight.explaining.passes import Passes
from gradsight.layers import INPUT, Layer, last_of_each_resolution
from gradsight.registry import Method
from gradsight.results.explanation import Explanation
from gradsight.targets import TargetLike


class MethodRun(NamedTuple):
    """A method that is about to run.

    Attributes:
        method: which one.
        shared: the pass that it looks at, together with others.
        probe: where it looks.
        layers: the names of the layers that its maps are of; none where they are of the image itself.
        bypassed: something bypasses its layer, which was chosen for want of one that all passes. Of a layer that was
            named nobody knows without another pass.
    """

    method: Method
    shared: Pass
    probe: Probe
    layers: tuple[str, ...]
    bypassed: bool = False

    def again(self, backend: Backend) -> Callable[[Probe], Floats]:
        """What runs the method on another probe of the same layer: maps (m, k, *s) as NumPy, raw and signed."""
        function, ops = self.method.function, backend.ops

        def explain(probe: Probe) -> Floats:
            made = function(probe, ops)
            return np.asarray(made if isinstance(made, np.ndarray) else backend.numpy(made))

        return explain


Finish: TypeAlias = Callable[[Explanation, Passes, Batch, MethodRun], Explanation]
"""What is done with an explanation while the pass that it came of is there: ``(explanation, passes, batch, run)``."""


def method_runs(
    passes: Passes, batch: Batch, names: Sequence[str | None], methods: Sequence[Method], targets: TargetLike | None
) -> list[MethodRun]:
    """Each layer with each method that looks at one, then those that look at several, then those of the image.

    Args:
        passes: of the model.
        batch: what is explained.
        names: the layers; None for the best one.
        methods: which are run.
        targets: what is explained of it.
    """
    return passes.retried(batch, targets, lambda study: _planned(passes, batch, names, methods, targets, study))


def _planned(
    passes: Passes,
    batch: Batch,
    names: Sequence[str | None],
    methods: Sequence[Method],
    targets: TargetLike | None,
    study: Study | None,
) -> list[MethodRun]:
    # In this order explanations come back, as the docstring of a call says.
    of_one = [m for m in methods if m.at == "layer"]
    of_several, of_input = [m for m in methods if m.at == "layers"], [m for m in methods if m.at == "input"]
    chosen = None
    # To rank layers takes a pass of its own, so only where a layer is to be chosen.
    if (of_several and len(names) < 2) or (of_one and None in names):
        chosen = study or passes.study(batch, targets)
    doubtful = None if study else chosen  # of a study that was made for these very targets there is no doubt
    single = [passes.layer(name, chosen) for name in names] if of_one else []
    joint = _joint(passes, names, chosen) if of_several else []
    made = _Made(lambda layers, rule: passes.run(batch, layers, targets, doubtful, rule))
    one_graph = batch.backend.one_graph
    each = [made.at(single, _rule(method, one_graph)) for method in of_one]
    # Layer by layer; one that was named twice is one.
    by_layer = zip(*(seen.probes for seen in each), strict=True)
    best = chosen.ranked[0] if chosen and None in names else None
    bypassed = {best.name} if best is not None and best.cut is False else set()
    runs = [
        MethodRun(method, seen.shared, probe, (probe.name,), probe.name in bypassed)
        for probes in by_layer
        for method, seen, probe in zip(of_one, each, probes, strict=True)
    ]
    for method in of_several:
        shared, probes = made.at(joint, _rule(method, one_graph))
        runs.append(MethodRun(method, shared, probes[0], tuple(probe.name for probe in probes)))
    if of_input:
        rule = TRUE if any(_rule(method, one_graph) for method in of_input) else ""
        # A method of the image needs a graph if it takes gradients, whatever the layers are.
        shared = made.of_image([INPUT] * any(m.gradient for m in of_input), rule)
        runs += [MethodRun(method, shared, shared.image, ()) for method in of_input]
    return runs


def _rule(method: Method, one_graph: bool) -> str:
    """By which rule gradients pass rectifiers in the pass of a method; empty where that does not matter."""
    return TRUE if method.rectified and one_graph else ""


class _Seen(NamedTuple):
    """A pass, and its probes: what one method asks of a probe is there for the next."""

    shared: Pass
    probes: tuple[Probe, ...]


class _Made:
    """The passes of a call, each made once for its layers and the rule by which gradients pass rectifiers."""

    def __init__(self, run: Callable[[Sequence[Layer], str | None], Pass]) -> None:
        self._run = run
        self._seen: dict[tuple[tuple[Layer, ...], str], _Seen] = {}

    def at(self, layers: Sequence[Layer], rule: str) -> _Seen:
        """The pass for these layers."""
        key = tuple(layers), rule
        if key not in self._seen:
            shared = self._run(layers, rule or None)
            self._seen[key] = _Seen(shared, tuple(shared.probes))
        return self._seen[key]

    def of_image(self, layers: Sequence[Layer], rule: str) -> Pass:
        """Any pass that was made, of those with a rule if one is asked for; one for these layers where there is none.

        With a rule the graph starts at the image, so that such a pass serves methods without one best too.
        """
        with_rule = [seen for (_, known), seen in self._seen.items() if known]
        fitting = with_rule or ([] if rule else list(self._seen.values()))
        return (fitting[0] if fitting else self.at(layers, rule)).shared


def _joint(passes: Passes, names: Sequence[str | None], chosen: Study | None) -> list[Layer]:
    """The layers of methods that look at several: those named, or the last good one of each resolution."""
    if len(names) < 2 and chosen is not None:
        return [passes.layer(candidate.name, chosen) for candidate in last_of_each_resolution(chosen.ranked)]
    return [passes.layer(name, chosen) for name in names]
