"""Where second derivatives are zero by how a model is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradsight as gs
import toys
from gradsight.backends.torch import TorchBackend
from gradsight.layers import Layer
from gradsight.targets import OutputContext, resolve


class Between(nn.Module):
    """Two convolutions with something between them, and a linear head."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)
        self.norm, self.between = nn.BatchNorm2d(4), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = x + self.norm(self.two(self.between(x)))
        return self.head(F.max_pool2d(x, 2).mean((2, 3)))


class Relu(torch.autograd.Function):
    """No ReLU, though it is called one."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


LINEAR: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ReLU": torch.relu,
    "in place": lambda x: x.clone().relu_(),
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "ReLU6": F.relu6,
    "PReLU": lambda x: F.prelu(x, torch.full((1,), 0.2, dtype=x.dtype)),
    "a factor": lambda x: 3 * x / 2 - x.flip(0).detach(),
    "two branches": lambda x: torch.cat((x[:, :2], x[:, 2:].abs()), dim=1),
}
CURVED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "SiLU": F.silu,
    "a square": lambda x: x * x,
    "a product of both": lambda x: x * x.mean((2, 3), keepdim=True),
    "a quotient": lambda x: x / (2 + x.abs()),
    "softmax": lambda x: x.softmax(1),
    "of the user's": Relu.apply,  # type: ignore[dict-item]
    "statistics of the batch": lambda x: F.batch_norm(x, None, None, training=True),
}


def probe_of(between: Callable[[torch.Tensor], torch.Tensor]) -> tuple[TorchBackend, Any]:
    torch.manual_seed(0)
    model, batch = Between(between).double().eval(), torch.randn(2, 3, 10, 10, dtype=torch.float64)
    backend = TorchBackend(model)
    shared = backend.run(batch, [Layer("one")], lambda logits, _: resolve([0, 3], OutputContext(2, logits)))
    return backend, shared.probes[0]


@pytest.mark.parametrize("name", LINEAR)
def test_piecewise_linear_tails_are_told_and_their_second_derivative_is_zero(name: str) -> None:
    backend, probe = probe_of(LINEAR[name])
    assert backend.is_piecewise_linear(probe._pass, "one")
    found = probe.curvature(probe.activations)
    assert torch.equal(found, backend.curvature(probe._tail, probe.activations, probe.activations, "one"))


@pytest.mark.parametrize("name", CURVED)
def test_others_are_not(name: str) -> None:
    backend, probe = probe_of(CURVED[name])
    assert not backend.is_piecewise_linear(probe._pass, "one")
    assert probe.curvature(probe.activations).abs().max() > 1e-6


def test_targets_that_bend_the_scores_count() -> None:
    model, batch = toys.convolutional().double(), torch.randn(2, 3, 12, 12, dtype=torch.float64)

    def likely(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.log_softmax(1)[:, 0]

    explainer = gs.Explainer(model, layer="4")
    bent, plain = (explainer(batch, method=name, targets=likely).maps for name in ("shapleycam", "gradcam"))
    assert abs(bent - plain).max() > 1e-6 * abs(plain).max()
