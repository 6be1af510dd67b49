"""Layers that are given as modules, or by the names that wrappers have for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import InvalidArgument, InvalidType, UnknownName

BATCH = torch.rand(2, 3, 16, 16)


def eager(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


def same(model: nn.Module, layer: Any, name: str, named: str = "") -> None:
    """The layer is explained as by its name."""
    explainer = gs.Explainer(model)
    found, expected = explainer(BATCH, layer=layer), explainer(BATCH, layer=named or name)
    assert found.layer == expected.layer == name
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_a_module_of_the_model_is_its_name() -> None:
    model = toys.convolutional()
    same(model, model[1], "1")
    same(nn.Sequential(model), model[4], "0.4")
    residual = toys.Residual().eval()
    same(residual, residual.body, "body")


def test_modules_and_names_go_together_in_a_list() -> None:
    model = toys.convolutional()
    found = gs.Explainer(model, layer=[model[1], "3", model[4]])(BATCH)
    assert [explanation.layer for explanation in found] == ["1", "3", "4"]
    fused = gs.Explainer(model)(BATCH, method="fuse(layercam)", layer=(model[1], model[4]))
    assert (fused[0].layers, fused[0].at, fused[0].layer) == (("1", "4"), "layers", None)


def test_the_explainer_itself_may_have_a_module() -> None:
    model = toys.convolutional()
    assert gs.Explainer(model, layer=model[3])(BATCH).layer == "3"
    assert gs.Explainer(gs.Model(model), layer=model[3])(BATCH).layer == "3"


def test_a_module_that_was_put_in_later_is_one_of_the_models() -> None:
    model = toys.convolutional()
    explainer, before = gs.Explainer(model), model[4]
    assert explainer(BATCH, layer=before).layer == "4"
    model[4] = nn.ReLU()
    assert explainer(BATCH, layer=model[4]).layer == "4"
    with pytest.raises(InvalidArgument, match="a module inside of the explained model"):
        explainer(BATCH, layer=before)


@pytest.mark.parametrize("wrap", [nn.DataParallel, eager])
def test_names_and_modules_of_wrappers_are_those_inside(wrap: Any) -> None:
    prefix = "_orig_mod" if wrap is eager else "module"
    plain = toys.convolutional()
    wrapped = wrap(plain)
    same(wrapped, f"{prefix}.4", "4")
    same(wrapped, f"{prefix}.4#0", "4#0")
    same(wrapped, plain[4], "4")
    inner = nn.Sequential(wrap(plain[:5]), plain[5:])
    same(inner, f"0.{prefix}.4", "0.4")
    same(inner, inner[0], "0")
    with pytest.raises(UnknownName, match=rf"no layer '{prefix}\.99'"):
        gs.Explainer(wrapped)(BATCH, layer=f"{prefix}.99")


def test_a_models_own_name_comes_before_a_wrappers() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = toys.convolutional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.module(x)

    same(nn.DataParallel(Own().eval()), "module.4", "module.4")
    same(nn.DataParallel(Own().eval()), "module.module.4", "module.4")


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        (nn.ReLU(), InvalidArgument, r"a module inside of.*ReLU\(\).*model\.layer4.*explainer\.layers"),
        (3, InvalidType, r"a layer's name, a module of the model, or a list of them\. Received: 3 \(int\)"),
        (["4", torch.ones(1)], InvalidType, r"Received: Tensor"),
        ({"4": 1}, InvalidType, r"Received: \{'4': 1\}"),
    ],
)
def test_what_is_no_layer_of_the_model_is_refused(layer: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        gs.Explainer(toys.convolutional())(BATCH, layer=layer)


def test_the_model_itself_and_a_copy_of_a_layer_are_refused() -> None:
    import copy

    model = toys.convolutional()
    for layer in (model, copy.deepcopy(model[4]), model[:5]):
        with pytest.raises(InvalidArgument, match="the model itself, a copy"):
            gs.Explainer(model)(BATCH, layer=layer)
