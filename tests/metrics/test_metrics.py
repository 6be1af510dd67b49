"""Each metric against its oracle."""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import frameworks
from cases_of import CLASSES, OURS, asked, case_of, images, network
from gradsight.metric_registry import METRICS, as_metric
from metric_oracles import ORACLES
from plain import Plain

TOLERANCE = 5e-4 if frameworks.ON_KERAS else 1e-5
"""Twins are float32, and the sum of squares of infidelity doubles what that rounds."""


def measured(text: str, case: Any) -> Any:
    return as_metric(text)(case)


def expected(text: str, model: nn.Module, batch: torch.Tensor, maps: Any, classes: Any = CLASSES) -> Any:
    name, _, options = text.partition("(")
    call = ast.parse(f"f({options.removesuffix(')')})", mode="eval").body
    view = Plain(model, "4", batch, classes)
    return ORACLES[name](view, maps, **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})


def assert_same(values: Any, other: Any, tolerance: float = TOLERANCE) -> None:
    assert values.shape == other.shape
    np.testing.assert_array_equal(np.isnan(values), np.isnan(other))
    np.testing.assert_allclose(values, other, atol=tolerance * max(1, np.nanmax(np.abs(other), initial=0)), rtol=0)


@pytest.mark.pytorch
def test_every_metric_of_a_map_has_an_oracle() -> None:
    elsewhere = {name for name in METRICS if METRICS[name].measures == "localisation"}
    assert set(METRICS) - elsewhere <= set(ORACLES) <= set(METRICS)


@pytest.mark.parametrize("name", OURS)
def test_metric_equals_its_oracle(name: str) -> None:
    model, batch = network(), images()
    case = case_of(model, batch, CLASSES, layer="4")
    values = measured(asked(name), case)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert_same(values, expected(asked(name), model, batch, case.maps))


@pytest.mark.not_on_jax
@pytest.mark.parametrize(
    "text",
    [
        *(f"deletion(steps=4, baseline='{name}')" for name in ("blur", "mean", "white", "noise")),
        "insertion(steps=3, baseline='black')",
        "averagedrop(baseline='mean')",
        "increase(baseline='white')",
        "averagegain(baseline='blur')",
        "coherency(baseline='inpaint')",
        "pixelflipping(steps=3, share=0.2, baseline='mean')",
        "infidelity(samples=7, factor='one', baseline='white')",
        "mufidelity(samples=9, cells=100, share=0.6, baseline='blur')",
        "faithfulnesscorrelation(samples=9, share=0.5, baseline='mean')",
        "roadmorf(steps=1, noise=0.5)",
        "roadlerf(steps=4, noise=0)",
        "effectivecomplexity(threshold=0.4)",
        "classsensitivity(by='ssim')",
        "logitrandomisation(values='absolute')",
        "shifting(share=0.3)",
    ],
)
def test_options_do_what_they_do_in_the_oracle(text: str) -> None:
    model, batch = network(), images()
    case = case_of(model, batch, CLASSES, layer="4")
    assert_same(measured(text, case), expected(text, model, batch, case.maps))


@pytest.mark.not_on_jax
@pytest.mark.parametrize("name", OURS)
def test_maps_that_say_nothing_are_measured_as_the_oracle_does(name: str) -> None:
    """A map that is not finite is NaN; level and empty ones are what their order makes of them."""
    model, batch = network(), images(n=4)
    classes = [[0], [4], [2], [1]]
    maps = np.stack([np.full((1, 5, 4), math.nan), np.zeros((1, 5, 4)), np.full((1, 5, 4), 0.7), -np.ones((1, 5, 4))])
    case = case_of(model, batch, classes, layer="4", maps=maps)
    values = measured(asked(name), case)
    assert np.isnan(values[0]).all()
    assert_same(values, expected(asked(name), model, batch, case.maps, classes))
