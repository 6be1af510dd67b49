"""Cases as tests make them: of a network, or of its twin, as `frameworks.explain` explains it."""

from __future__ import annotations

from typing import Any

import numpy as np

import frameworks
from gradsight.cases import Case, Scoring
from gradsight.variants import as_method
from metric_oracles import BLACK, WHITE


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
