"""Which methods run on which layers: one pass serves all that it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradsight.contracts import Pass, Probe
from gradsight.explaining.inputs import Batch
from gradsight.explaining.layer_choice import Study
from gradsight.explaining.passes import Passes
from gradsight.layers import INPUT, Layer, last_of_each_resolution
from gradsight.registry import Method
from gradsight.targets import TargetLike


class MethodRun(NamedTuple):
    """A method that is about to run.

    Attributes:
        method: which one.
        shared: the pass that it looks at, together with others.
        probe: where it looks.
        layers: the names of the layers that its maps are of; none where they are of the image itself.
    """

    method: Method
    shared: Pass
    probe: Probe
    layers: tuple[str, ...]


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
    # A method of the image needs a graph if it takes gradients, whatever the layers are.
    at_input = [INPUT] * any(m.gradient for m in of_input)
    shared = passes.run(batch, single or joint or at_input, targets, doubtful)
    runs = [MethodRun(method, shared, probe, (probe.name,)) for probe in shared.probes for method in of_one]
    if joint:
        # A second pass only where the layers differ from those of the first.
        together = passes.run(batch, joint, targets, doubtful) if single and single != joint else shared
        layers = tuple(probe.name for probe in together.probes)
        runs += [MethodRun(method, together, together.probes[0], layers) for method in of_several]
    return [*runs, *(MethodRun(method, shared, shared.image, ()) for method in of_input)]


def _joint(passes: Passes, names: Sequence[str | None], chosen: Study | None) -> list[Layer]:
    """The layers of methods that look at several: those named, or the last good one of each resolution."""
    if len(names) < 2 and chosen is not None:
        return [passes.layer(candidate.name, chosen) for candidate in last_of_each_resolution(chosen.ranked)]
    return [passes.layer(name, chosen) for name in names]
