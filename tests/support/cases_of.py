"""Cases as tests make them: of a network, or of its twin, as `frameworks.explain` explains it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import frameworks
import gradsight as gs
import sanity_oracles  # noqa: F401 - as the others, enters its oracles
import stability_oracles  # noqa: F401 - which enters its oracles beside the others
from gradsight.cases import Case, Scoring
from gradsight.explaining.method_runs import method_runs
from gradsight.variants import as_method
from metric_oracles import BLACK, ORACLES, WHITE
from toys import curved

CLASSES = [[0, 3], [4, 1]]
SIZE = (9, 8)
OURS = sorted(ORACLES)

FEW = {
    "deletion": "steps=5",
    "insertion": "steps=5",
    "pixelflipping": "steps=4, share=0.5",
    "faithfulnesscorrelation": "samples=12, share=0.2",
    "mufidelity": "samples=12, cells=4",
    "infidelity": "samples=12",
    "occlusioncorrelation": "window=0.4, stride=0.3",
    "road": "steps=3",
    "roadmorf": "steps=3",
    "roadlerf": "steps=3",
    "arcc": "steps=3",
    "randomisation": "steps=2",
    "independentrandomisation": "steps=2",
    "maxsensitivity": "samples=4",
    "averagesensitivity": "samples=4",
    "lipschitz": "samples=4",
}
"""Options with which a metric takes few passes."""


def asked(name: str, options: str = "") -> str:
    options = options or FEW.get(name, "")
    return f"{name}({options})" if options else name


def images(n: int = 2, size: Any = SIZE) -> torch.Tensor:
    return 3 * torch.randn(n, 3, *size, dtype=torch.float64)


def network() -> nn.Module:
    model = curved().double()
    with torch.no_grad():  # probabilities that differ, and no certainty
        model[-1].weight *= 3
    return model


def case_of(
    model: Any,
    batch: Any,
    targets: Any,
    *,
    layer: str | None = None,
    method: str = "gradcam",
    maps: Any = None,
    ends: Any = (BLACK, WHITE),
    **options: Any,
) -> Case:
    """The case of one method; of other maps where they are given."""
    explainer = frameworks.explainer(model, batch, **options)
    passes = explainer._passes
    made = passes.batch(frameworks.given(batch))
    layers = [] if layer is None else [passes.layer(frameworks.at(layer), None)]
    shared = passes.run(made, layers, targets, None)
    scoring = Scoring.of(shared, made.backend, ends=ends)
    probe, run = (shared.probes[0] if layers else None), as_method(method).function

    def explain(probe: Any) -> Any:
        return made.backend.numpy(run(probe, made.backend.ops)).astype(np.float32)

    return Case(explain(probe) if maps is None else np.asarray(maps, np.float32), scoring, probe, explain)


def case_as_asked(
    model: Any, inputs: Any, method: str, targets: Any = None, layer: str | None = None, **options: Any
) -> Case:
    """The case of a method as an explainer runs it: of photos too, at a layer that it chooses."""
    passes = gs.Explainer(model, **options)._passes
    made = passes.batch(inputs)
    run = method_runs(passes, made, [layer], [as_method(method)], targets)[0]

    def explain(probe: Any) -> Any:
        return made.backend.numpy(run.method.function(probe, made.backend.ops)).astype(np.float32)

    return Case(explain(run.probe), Scoring.of(run.shared, made.backend), run.probe, explain)
