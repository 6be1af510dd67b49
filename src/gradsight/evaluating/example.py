"""A small evaluation for examples."""

from __future__ import annotations

from gradsight.evaluating.evaluation import Evaluation
from gradsight.evaluating.rows import Row

_HITS = {"gradcam": (1, 1, 1, 0, 1, 1, 1, 1), "random": (0, 0, 1, 0, 0, 0, 1, 0)}


def example() -> Evaluation:
    """Of two methods on eight photos by one metric."""
    rows = [
        Row(f"{i}.jpg", "bird", 7, "layer4", method, "pointing", float(hit))
        for i in range(8)
        for method, hits in _HITS.items()
        for hit in hits[i : i + 1]
    ]
    return Evaluation(tuple(rows), "example")
