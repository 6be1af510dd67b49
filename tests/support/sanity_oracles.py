"""Metrics of sanity once more: models with other weights and other classes, one at a time, in float64."""

from __future__ import annotations

import copy
import itertools
import math
import zlib
from typing import Any

import numpy as np
import torch

import frameworks
from metric_oracles import oracle, pearson, ranks, shown
from oracles import ORACLES as METHODS
from plain import Plain


def mapped(model: Any, view: Any, i: int, target: int) -> Any:
    """Grad-CAM of one picture for one class."""
    return METHODS["gradcam"](Plain(model, view._names, view.images[i : i + 1], [[target]]))[0, 0]


def spearman(one: Any, other: Any, values: str) -> float:
    one, other = (np.abs(x) if values == "absolute" else np.asarray(x) for x in (one, other))
    if np.ptp(one) == 0:
        return math.nan
    return 0.0 if np.ptp(other) == 0 else pearson(ranks(one), ranks(other))


def reflected(place: int, length: int) -> int:
    """...1 0 | 0 1 2 ... n-1 | n-1 n-2..."""
    place %= 2 * length
    return place if place < length else 2 * length - 1 - place


def ssim(one: Any, other: Any) -> float:
    bell = {d: math.exp(-(d**2) / (2 * 1.5**2)) for d in range(-5, 6)}
    total = sum(bell.values())
    found = []
    for at in np.ndindex(*one.shape):
        a, b, weights = [], [], []
        for steps in np.ndindex(*(11,) * one.ndim):
            there = tuple(reflected(p + s - 5, n) for p, s, n in zip(at, steps, one.shape, strict=True))
            a.append(one[there])
            b.append(other[there])
            weights.append(math.prod(bell[s - 5] / total for s in steps))
        a, b, weights = (np.asarray(x) for x in (a, b, weights))
        m, n = (weights * a).sum(), (weights * b).sum()
        va, vb, v = (weights * (x - y) * (z - w) for x, y, z, w in ((a, m, a, m), (b, n, b, n), (a, m, b, n)))
        above = (2 * m * n + 0.01**2) * (2 * v.sum() + 0.03**2)
        found.append(above / ((m**2 + n**2 + 0.01**2) * (va.sum() + vb.sum() + 0.03**2)))
    return float(np.mean(found))


def alike(view: Any, one: Any, other: Any, by: str, values: str) -> float:
    if by == "spearman":
        return spearman(one, other, values)
    drawn = shown(view, one)
    return ssim(drawn, shown(view, other)) if drawn.any() else math.nan


def forgotten(model: Any, layers: list[str]) -> Any:
    """A copy of a model in which some layers have random weights, by the seed 0."""
    model = copy.deepcopy(model)
    for layer in layers:
        for name, weight in model.get_submodule(layer).named_parameters(recurse=False):
            random = np.random.default_rng([0, zlib.crc32(f"{layer}.{name}".encode())])
            values = weight.detach().numpy()
            if values.ndim > 1:
                drawn = random.standard_normal(values.shape, dtype=np.float32)
                other = (drawn * values.std() + values.mean()).astype(np.float32)
            else:
                other = random.permutation(values).astype(np.float32)
            with torch.no_grad():
                weight.copy_(torch.from_numpy(other))
    return model


def after(view: Any, i: int, j: int, one: Any, steps: int, by: str, values: str, *, all_before: bool) -> float:
    layers = [name for name, module in view._model.named_modules() if list(module.parameters(recurse=False))][::-1]
    edges = [round(len(layers) * s / min(steps, len(layers))) for s in range(min(steps, len(layers)) + 1)]
    found = []
    for start, stop in itertools.pairwise(edges):
        model = forgotten(view._model, layers[0 if all_before else start : stop])
        found.append(alike(view, one, mapped(model, view, i, view.classes[i, j]), by, values))
    return float(np.mean(found))


def randomisation(
    view: Any, i: int, j: int, one: Any, by: str = "spearman", values: str = "signed", steps: int = 5
) -> float:
    return after(view, i, j, one, steps, by, values, all_before=True)


def independentrandomisation(
    view: Any, i: int, j: int, one: Any, by: str = "spearman", values: str = "signed", steps: int = 5
) -> float:
    return after(view, i, j, one, steps, by, values, all_before=False)


# What is drawn depends on how a framework lays weights out: on Keras they are looked at in another way.
if not frameworks.ON_KERAS:
    oracle("randomisation")(randomisation)
    oracle("independentrandomisation")(independentrandomisation)


@oracle("logitrandomisation")
def logitrandomisation(view: Any, i: int, j: int, one: Any, by: str = "spearman", values: str = "signed") -> float:
    drawn = np.random.default_rng((0, 4)).permutation(view.logits.shape[1])
    other = next(c for c in drawn if c != view.classes[i, j])
    return alike(view, one, mapped(view._model, view, i, other), by, values)


@oracle("classsensitivity")
def classsensitivity(view: Any, i: int, j: int, one: Any, by: str = "spearman", values: str = "signed") -> float:
    other = next(c for c in np.argsort(view.logits[i]) if c != view.classes[i, j])
    return alike(view, one, mapped(view._model, view, i, other), by, values)
