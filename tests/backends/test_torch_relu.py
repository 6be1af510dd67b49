"""ReLU with the rules on the way back: right wherever a gradient is shared, and no work beside the plain gradient's."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import gradsight as gs
from costs import python_calls
from gradsight.backends.torch import TorchBackend
from gradsight.layers import INPUT, Layer
from gradsight.targets import OutputContext, resolve

RULES = {"guidedbackprop": "guided", "deconvnet": "deconvnet"}


class Ruled(torch.autograd.Function):
    """ReLU with one rule, out of place, as the papers have it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rule: str) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.rule = rule
        return torch.where(x > 0, x, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        positive = torch.where(gradient > 0, gradient, 0.0)
        return positive if ctx.rule == "deconvnet" else torch.where(x > 0, positive, 0.0), None


Relu = Callable[[torch.Tensor], torch.Tensor]


def beside(x: torch.Tensor, y: torch.Tensor, relu: Relu) -> torch.Tensor:
    """The sum's gradient goes to both, as one tensor."""
    return relu(x) + y


def into_the_sum(x: torch.Tensor, y: torch.Tensor, relu: Relu) -> torch.Tensor:
    return relu(x).add_(y)


def twice(x: torch.Tensor, y: torch.Tensor, relu: Relu) -> torch.Tensor:
    return relu(relu(x + 0.1) - y) + relu(y - 0.1) - x


def turned(x: torch.Tensor, y: torch.Tensor, relu: Relu) -> torch.Tensor:
    """Gradients that are laid out otherwise, and one of a single number that is seen at all positions."""
    return (relu(x.transpose(1, 3)).transpose(1, 3) + y) * relu(x).mean((2, 3), keepdim=True)


class Graph(nn.Module):
    def __init__(self, way: Callable[..., torch.Tensor], relu: Relu) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.way, self.relu = way, relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.way(self.one(x), self.two(x), self.relu)).mean((2, 3))


@pytest.mark.parametrize("rule", RULES.values())
@pytest.mark.parametrize("relu", [F.relu, lambda x: F.relu(x, inplace=True)], ids=["out of place", "in place"])
@pytest.mark.parametrize("way", [beside, into_the_sum, twice, turned])
def test_a_rule_is_right_where_a_gradient_is_shared_or_laid_out_otherwise(way: Any, relu: Relu, rule: str) -> None:
    if way is not beside and relu is not F.relu:
        relu = lambda x, own=relu: own(x * 1)  # noqa: E731 - of its own memory, since x is read again
    if way is into_the_sum:
        relu = lambda x, own=relu: own(x) * 1  # noqa: E731 - what ReLU gave is kept, and may not be written into
    model, images = Graph(way, relu).double(), torch.randn(2, 3, 9, 8, dtype=torch.float64)
    backend, named = TorchBackend(model), [[0, 3], [4, 1]]
    shared = backend.run(images, [INPUT], lambda logits, _: resolve(named, OutputContext(2, logits)), rule="true")
    found = shared.image.rectified(rule).gradients
    model.relu = lambda x: Ruled.apply(x, rule)
    x = images.clone().requires_grad_()
    scores = model(x)
    for j in range(2):
        score = scores[0, named[0][j]] + scores[1, named[1][j]]
        (expected,) = torch.autograd.grad(score, x, retain_graph=True)
        torch.testing.assert_close(found[:, j], expected, rtol=1e-12, atol=1e-12)
        assert expected.any()


def test_what_is_written_into_a_result_is_an_error_where_the_result_is_needed_as_of_plain_gradients() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Added(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = torch.randn(1, 3, 9, 9)
    for method in ("gradient", "guidedbackprop"):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gs.Explainer(model, layer="0", method=method)(image)
    found = gs.Explainer(model, layer="0", method="deconvnet")(image, targets=0)
    del model[2]
    expected = gs.Explainer(model, layer="0", method="deconvnet")(image, targets=0)
    assert (found.maps == expected.maps).all()


class Added(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1)


@pytest.mark.parametrize("rule", RULES.values())
def test_a_pass_ends_with_the_last_that_holds_it(rule: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.SiLU(), nn.Flatten(), nn.LazyLinear(6))
    image = torch.randn(1, 3, 9, 9)
    model(image)
    gc.disable()
    try:
        targets = lambda logits, _: resolve(0, OutputContext(1, logits))  # noqa: E731
        shared = TorchBackend(model).run(image, [Layer("0")], targets, rule="true")
        assert shared.image.rectified(rule).gradients.any()
        kept = weakref.ref(shared.forward.rectifiers)
        del shared
        assert kept() is None
    finally:
        gc.enable()


# What it costs.


STEPS = ("relu", "relu_", "threshold_backward", "clamp", "clone")


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ran = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ran[str(func).split(".")[1]] += 1
        return func(*args, **(kwargs or {}))


def calls_of(m: int, method: str, *, inplace: bool = True) -> Callable[[], Any]:
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace)) for _ in range(m)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)).eval()
    image, explainer = torch.randn(1, 3, 9, 9), gs.Explainer(model, layer="0", method=method)
    for _ in range(2):
        explainer(image)
    return lambda: explainer(image)


@pytest.mark.parametrize("inplace", [False, True])
def test_rules_write_into_what_relu_made_or_are_its_step(inplace: bool) -> None:
    ran: dict[str, Counter[str]] = {}
    for method in ("gradient", *RULES):
        call = calls_of(7, method, inplace=inplace)
        with Operators() as operators:
            call()
        ran[method] = operators.ran
    seen = {name: {op: counts[op] for op in STEPS} for name, counts in ran.items()}
    made = {"relu": 0 if inplace else 7, "relu_": 7 if inplace else 0}  # forward
    assert seen["gradient"] == {**made, "threshold_backward": 7, "clamp": 0, "clone": seen["gradient"]["clone"]}
    assert seen["guidedbackprop"] == {**seen["gradient"], "relu_": made["relu_"] + 7}
    assert seen["deconvnet"] == {**seen["gradient"], "relu": made["relu"] + 7, "threshold_backward": 0}


@pytest.mark.parametrize("method", RULES)
def test_a_rule_runs_few_functions_of_python_for_each_module(method: str) -> None:
    def more(m: int) -> int:
        return python_calls(calls_of(m, method)) - python_calls(calls_of(m, "gradient"))

    # For a convolution, a normalisation and a ReLU, forward and back.
    assert 0 < more(23) - more(3) <= 20 * 52
