"""In how many images each metric ranks the right map above wrong ones: ``python benchmarks/worlds_of_metrics.py``.

Images are scenes of two things and the model one that knows them, as in ``tests/metrics/test_worlds_metrics.py``: the
right map is the mask of the thing that is asked for, a little blurred. Wrong ones are that map shifted by 24 of 64
pixels, inverted, and noise. Metrics that run a method again say something of methods, not of one map, and are left out.
"""

# ruff: noqa: E402 - the imports below need the path and the shim
from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "support"), str(TESTS / "metrics")]

import torchvision_shim

torchvision_shim.install()

from dataclasses import replace

import numpy as np
from test_worlds_metrics import world, wrong

from gradsight.cases import Case
from gradsight.metric_registry import METRICS, as_metric


def boxed(case: Case) -> Case:
    """The case with the boxes of its regions."""
    regions = case.regions
    assert regions is not None
    return replace(case, boxes=[[_box(mask) for mask in row] for row in regions])


def _box(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return np.array([[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]], float)


def figures(text: str, case: Case) -> np.ndarray:
    """(n,): of metrics of sets the best overlap of each image."""
    values = as_metric(text)(case)[:, 0]
    return values.max(axis=1) if values.ndim > 1 else values


def line(text: str, case: Case) -> str:
    """One row of the table."""
    metric, cells = as_metric(text), []
    own = figures(text, case)
    for maps in wrong(case).values():
        other = figures(text, replace(case, maps=maps))
        better = own > other if metric.better == "higher" else own < other
        same = (own == other) | (np.isnan(own) & np.isnan(other))
        cells.append(f"{better.mean():.2f}" + (f" ({same.mean():.2f} equal)" if same.any() else ""))
    return f"| {text} | {metric.measures} | {' | '.join(cells)} |"


MORE = ("deletion(baseline=mean)", "insertion(baseline=black)", "averagedrop(baseline=mean)")
"""Metrics with options of interest."""


def main() -> None:
    case = boxed(world()[0])
    print(f"{len(case.maps)} images; the share in which the right map is better than the wrong one\n")
    print("| metric | measures | shifted | inverted | random |")
    print("| --- | --- | --- | --- | --- |")
    again = {name for name, metric in METRICS.items() if "method" in metric.needs}
    for text in sorted([*(set(METRICS) - again), *MORE]):
        print(line(text, case), flush=True)
    print(f"\nOf methods, and not of one map: {', '.join(sorted(again))}.")


if __name__ == "__main__":
    main()
