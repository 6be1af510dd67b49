"""The layer is chosen for what the target reads, whatever was asked before; and no result depends on its company."""

from __future__ import annotations

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from asking import METHODS_AND_VARIANTS

pytestmark = pytest.mark.pytorch


def pooled(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


@dataclasses.dataclass
class Both:
    a: torch.Tensor
    b: torch.Tensor


class Heads(nn.Module):
    """A trunk with a deep head, whose own features are the last cut, and a shallow one, whose are the trunk's."""

    def __init__(self, wrap: Callable[[torch.Tensor, torch.Tensor], Any], twins: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.a = nn.Sequential(nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU(), pooled(6, 3))
        self.b = nn.Sequential(nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU(), pooled(6, 3)) if twins else pooled(8, 4)
        self.wrap = wrap
        self.eval()

    def forward(self, x: torch.Tensor) -> Any:
        features = self.trunk(x)
        return self.wrap(self.a(features), self.b(features))


WRAPS: dict[str, tuple[Callable[..., Any], Callable[[Any], torch.Tensor], Callable[[Any], torch.Tensor]]] = {
    "dict": (lambda a, b: {"a": a, "b": b}, lambda o: o["a"], lambda o: o["b"]),
    "ordered dict": (lambda a, b: OrderedDict(b=b, a=a), lambda o: o["a"], lambda o: o["b"]),
    "tuple": (lambda a, b: (a, b), lambda o: o[0], lambda o: o[1]),
    "nested": (lambda a, b: {"heads": [a, {"b": b}]}, lambda o: o["heads"][0], lambda o: o["heads"][1]["b"]),
    "dataclass": (Both, lambda o: o.a, lambda o: o.b),
    "namespace": (lambda a, b: SimpleNamespace(a=a, b=b), lambda o: o.a, lambda o: o.b),
}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_head_has_its_own_layer_whichever_was_asked_for_first(wrap: str, twins: bool) -> None:
    make, first, second = WRAPS[wrap]
    model = Heads(make, twins)
    a, b = (lambda o: first(o)[:, 1]), (lambda o: second(o)[:, 1])
    right = {"a": gs.Explainer(model)(IMAGES, targets=a), "b": gs.Explainer(model)(IMAGES, targets=b)}
    assert right["a"].layer == "a.1"
    assert right["b"].layer == ("b.1" if twins else "trunk")
    for order in itertools.product("ab", repeat=3):
        explainer = gs.Explainer(model)
        for head in order:
            found = explainer(IMAGES, targets={"a": a, "b": b}[head])
            assert found.layer == right[head].layer
            np.testing.assert_array_equal(found.maps, right[head].maps)


def test_a_target_of_both_heads_is_explained_where_both_pass() -> None:
    model = Heads(lambda a, b: {"a": a, "b": b})
    explainer = gs.Explainer(model)
    explainer(IMAGES, targets=lambda o: o["a"][:, 0])
    assert explainer(IMAGES, targets=lambda o: o["a"][:, 0] + o["b"][:, 0]).layer == "trunk"
    joined = gs.Explainer(Heads(lambda a, b: torch.cat([a, b], 1)))
    assert {joined(IMAGES, targets=k).layer for k in (0, 2, 3, 6, None)} == {"trunk"}


def test_the_layers_that_are_listed_are_those_of_the_target() -> None:
    model = Heads(lambda a, b: {"a": a, "b": b})
    explainer = gs.Explainer(model, targets=lambda o: o["a"][:, 1])
    explainer(IMAGES, targets=lambda o: o["b"][:, 1])
    assert explainer.layers(IMAGES)[0].name == "a.1"


def test_several_layers_at_once_are_those_of_the_target() -> None:
    model = Heads(lambda a, b: {"a": a, "b": b})
    explainer = gs.Explainer(model, method="refinecam")
    right = gs.Explainer(model, method="refinecam")(IMAGES, targets=lambda o: o["a"][:, 1])
    explainer(IMAGES, targets=lambda o: o["b"][:, 1])
    found = explainer(IMAGES, targets=lambda o: o["a"][:, 1])
    assert found.layer == right.layer
    np.testing.assert_array_equal(found.maps, right.maps)


def test_a_target_made_anew_each_time_costs_no_new_look_at_the_layers() -> None:
    model = Heads(lambda a, b: {"a": a, "b": b})
    count = 0

    def counting(*_: Any) -> None:
        nonlocal count
        count += 1

    model.trunk[0].register_forward_hook(counting)
    explainer = gs.Explainer(model)
    for k in range(3):
        explainer(IMAGES, targets=lambda o, k=k: o["a"][:, k])
    count = 0
    for k in range(3):
        explainer(IMAGES, targets=lambda o, k=k: o["a"][:, k])
    assert count == 3
    explainer(IMAGES, targets=lambda o: o["b"][:, 0])  # one that was not the right guess, the look, and the right one
    count = 0
    explainer(IMAGES, targets=lambda o: o["a"][:, 0])
    assert count == 2  # the pass that told what is read, and the right one


def test_segmentation_and_classes_of_one_network() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.dense = nn.Sequential(nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 4, 1))
            self.head = pooled(8, 5)

        def forward(self, x: torch.Tensor) -> Any:
            features = self.trunk(x)
            return {"logits": self.head(features), "masks": self.dense(features)}

    model = Net().eval()
    asked = {
        "class": 1,
        "pixels": gs.Pixels(1, box=(0, 0, 16, 16)),
        "function": lambda o: o["masks"][:, 1].mean((1, 2)),
    }
    right = {name: gs.Explainer(model)(IMAGES, targets=target).layer for name, target in asked.items()}
    assert right == {"class": "trunk", "pixels": "dense.1", "function": "dense.1"}
    for order in itertools.permutations(asked):
        explainer = gs.Explainer(model)
        assert {name: explainer(IMAGES, targets=asked[name]).layer for name in order} == right


def test_a_class_and_a_contrast_of_classes_at_positions_have_their_own_layers_in_any_order() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
    model = nn.Sequential(trunk, nn.Sequential(nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 4, 1))).eval()
    asked = {"one": gs.Pixels(1), "two": gs.Contrast(gs.Pixels(1), gs.Pixels(2))}
    right = {name: gs.Explainer(model)(IMAGES, targets=target) for name, target in asked.items()}
    assert right["one"].layer == "1.1"  # in the class's own map one channel counts
    for order in itertools.permutations(asked):
        explainer = gs.Explainer(model)
        for name in order:
            found = explainer(IMAGES, targets=asked[name])
            assert found.layer == right[name].layer
            np.testing.assert_array_equal(found.maps, right[name].maps)


# Company.

METHODS = ["finercam", "gradcam", "smooth(gradcam)", "layercam", "eigencam", "gradcampp", "scorecam"]


@pytest.mark.parametrize("method", METHODS)
def test_an_explanation_is_the_same_alone_and_beside_others_in_any_order(method: str) -> None:
    model = Heads(lambda a, b: torch.cat([a, b], 1))
    alone = gs.Explainer(model)(IMAGES, method=method, targets=gs.Top(2))
    for others in (METHODS, METHODS[::-1]):
        beside = gs.Explainer(model)(IMAGES, method=others, targets=gs.Top(2))[others.index(method)]
        for field in dataclasses.fields(alone):
            one, other = getattr(alone, field.name), getattr(beside, field.name)
            if isinstance(one, np.ndarray):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * np.abs(one).max(), err_msg=field.name)
            else:
                assert one == other, field.name


def test_alphas_are_those_of_methods_that_take_the_gradient_of_the_layer() -> None:
    model = Heads(lambda a, b: torch.cat([a, b], 1))
    for found in gs.Explainer(model)(IMAGES, method=METHODS):
        assert (found.alphas is not None) == (found.method in ("gradcam", "layercam", "gradcampp"))


# Inference mode.


@pytest.mark.parametrize("method", METHODS_AND_VARIANTS)
def test_a_model_made_in_inference_mode_is_explained_in_it_and_outside(method: str) -> None:
    def made() -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        return nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()

    def maps(model: nn.Module, images: torch.Tensor = IMAGES) -> Any:
        return gs.Explainer(model, layer="0.2", method=method, targets=1)(images).maps

    right = maps(made())
    with torch.no_grad():
        np.testing.assert_array_equal(maps(made()), right)
    with torch.inference_mode():
        model = made()
        inside, given = maps(model), maps(model, IMAGES.clone())
    np.testing.assert_array_equal(inside, right)
    np.testing.assert_array_equal(given, right)
    np.testing.assert_array_equal(maps(model), right)


def test_a_model_made_in_inference_mode_is_followed_when_it_changes() -> None:
    with torch.inference_mode():
        model = Heads(lambda a, b: a)
        explainer = gs.Explainer(model, layer="a.1", targets=1, method=["gradcam", "ablationcam"])
        explainer(IMAGES)
        for parameter in model.parameters():
            parameter.mul_(-1.5)
        for tensor in model.a[0].parameters():
            tensor.data = tensor.data * 2
    new = gs.Explainer(model, layer="a.1", targets=1, method=["gradcam", "ablationcam"])(IMAGES)
    for found, right in zip(explainer(IMAGES), new, strict=True):
        np.testing.assert_array_equal(found.maps, right.maps)
        with torch.inference_mode():
            np.testing.assert_allclose(found.scores[:, 0], model(IMAGES)[:, 1].numpy(), rtol=1e-5)
