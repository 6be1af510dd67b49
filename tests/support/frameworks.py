"""The framework of this test process: PyTorch, or Keras on its engine where ``GRADSIGHT_TEST_ON=keras``.

Tests describe networks in PyTorch and judge by them (`plain.Plain`); on Keras a network with the same weights is
explained instead, see `twins`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import nn

import gradsight as gs

ON_KERAS = os.environ.get("GRADSIGHT_TEST_ON") == "keras"

LEFT_OUT: set[str] = {"pytorch"} if ON_KERAS else set()
"""Marks of tests that do not run here."""
if ON_KERAS and os.environ.get("KERAS_BACKEND") == "jax":
    LEFT_OUT.add("not_on_jax")
if ON_KERAS and os.environ.get("KERAS_BACKEND") != "torch":
    LEFT_OUT.add("eager")

ON_JAX = ON_KERAS and os.environ.get("KERAS_BACKEND") == "jax"
SLOW_ON_JAX: Any = pytest.mark.slow if ON_JAX else ()
"""For the ``marks`` of a parameter: JAX compiles for seconds what other engines run at once."""


def slow_on_jax(test: Any) -> Any:
    """A test that is marked slow on JAX, which compiles for seconds what other engines run at once."""
    return pytest.mark.slow(test) if ON_JAX else test


TOLERANCE = 3e-5 if ON_KERAS else 1e-6
"""Of full scale: twins are float32, networks float64."""

_explainers: dict[Any, Any] = {}


def explain(
    model: nn.Module, batch: torch.Tensor, *, layer: Any = None, method: Any = None, targets: Any = None, **options: Any
) -> Any:
    """The explanation of a network, or of its twin; the first where there are several."""
    found = explainer(model, batch, **options)(given(batch), layer=at(layer), method=method, targets=targets)
    return found[0] if isinstance(found, tuple) else found


def explainer(model: nn.Module, batch: torch.Tensor, **options: Any) -> Any:
    """What explains a network, or its twin."""
    return _twin_explainer(model, batch, options) if ON_KERAS else gs.Explainer(model, **options)


def given(batch: torch.Tensor) -> Any:
    """A batch as the framework has it."""
    if not ON_KERAS:
        return batch
    import twins

    return twins.turned(batch)


def at(layer: Any) -> Any:
    """A layer's name, or several, as the framework has them."""
    if not ON_KERAS or layer is None:
        return layer
    return f"m{layer}".replace(".", "_") if isinstance(layer, str) else [at(name) for name in layer]


def _twin_explainer(model: nn.Module, batch: torch.Tensor, options: dict[str, Any]) -> Any:
    """Kept by the network's weights: what an engine compiles takes longer than the tests."""
    import twins

    weights = b"".join(x.detach().numpy().tobytes() for x in model.state_dict().values())
    key = (str(model), weights, tuple(batch.shape[1:]), tuple(options.items()))
    if key not in _explainers:
        _explainers[key] = gs.Explainer(twins.model_like(model, size=batch.shape[2:]), **options)
    return _explainers[key]
