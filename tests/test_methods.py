"""Each method against its oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gradsight as gs
from gradsight.registry import METHODS
from oracles import ORACLES
from plain import activations_and_gradients
from toys import convolutional


def test_every_method_has_an_oracle_and_every_oracle_a_method() -> None:
    assert set(METHODS) == set(ORACLES)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("name", list(METHODS))
def test_method_equals_its_oracle(name: str, dimensions: int) -> None:
    model = convolutional(dimensions=dimensions).double()
    batch = torch.randn(3, 3, *(12, 10, 8)[:dimensions], dtype=torch.float64)
    classes = [[0, 3], [4, 1], [2, 2]]
    explanation = gs.Explainer(model, method=name, layer="4")(batch, targets=classes)
    activations, gradients = activations_and_gradients(model, "4", batch, classes)
    expected = ORACLES[name](activations.numpy(), gradients.numpy())
    assert explanation.maps.dtype == np.float32
    np.testing.assert_allclose(explanation.maps, expected, atol=1e-6 * np.abs(expected).max(), rtol=0)


def test_method_rejects_a_second_one_of_the_same_name() -> None:
    with pytest.raises(KeyError, match="gradcam"):
        gs.method("gradcam", title="Again", source="nowhere")(lambda probe, ops: None)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.title
    assert method.source
    assert method.summary.endswith(".")
