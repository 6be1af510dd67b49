"""What a pass on PyTorch keeps, and how it is differentiated: one batched backward pass of the tail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from gradsight.backends.passes import Forward, ModelPass
from gradsight.backends.torch.gradients import ClassGradients, check_graph, jacobian, with_gradient
from gradsight.backends.torch.rectify import Rectifiers
from gradsight.backends.torch.tail import Tail
from gradsight.errors import ModelError

if TYPE_CHECKING:
    from gradsight.foreign import Array


@dataclass(frozen=True)
class TorchForward(Forward):
    """One forward pass of one batch.

    Attributes:
        by_class: the gradients of single classes that were asked for so far.
        source: the image as the graph starts from it, where it starts there and layers are looked at too.
        rectifiers: those that ran, where a rule was asked for.
        tails: by layer, where one was asked for, its tail with what bypasses it in this pass; None where the whole
            model has to run.
    """

    by_class: ClassGradients = field(default_factory=ClassGradients)
    source: torch.Tensor | None = None
    rectifiers: Rectifiers | None = None
    tails: dict[str, tuple[Tail, tuple[torch.Tensor, ...]] | None] = field(default_factory=dict)


def gradients(shared: ModelPass[TorchForward], quantized: str) -> dict[str, torch.Tensor]:
    """By layer, d scores[:, k] / d output: (k, *output).

    Args:
        shared: the pass.
        quantized: the kind of a quantized module in the model; empty where there is none.

    Raises:
        ModelError: the scores carry no gradient back to a layer.
    """
    forward = shared.forward
    check_graph(shared.graph, forward.leaves, quantized)
    if not shared.targets.of_classes:
        return jacobian(shared.graph, forward.leaves, forward.by_class.in_parts)
    axes = {name: x.axes[0] for name, x in forward.layouts.items()}
    logits: Array = shared.class_scores  # there are some, since the targets are classes
    # Differences and sums of classes are made of the gradients of single classes, which are differentiated once.
    return forward.by_class.combined(shared.targets, logits, forward.leaves, axes, picked=shared.graph)


def curvature(
    function: Callable[..., torch.Tensor], leaf: torch.Tensor, direction: torch.Tensor, layer: str
) -> torch.Tensor:
    """The Hessian of each column of ``function(leaf)`` (n, k), times ``direction``: (n, k, *leaf[0]).

    Raises:
        ModelError: something behind the layer has no second derivative.
    """
    failed: RuntimeError | None = None
    for traced in (True, False):  # fused attention has no second derivative, the plain one has
        try:
            return torch.stack(hessian_products(partial(function, traced=traced), leaf, direction), dim=1)
        except RuntimeError as error:
            failed = error
    raise ModelError(
        f"what is behind layer {layer!r} has no second derivative in PyTorch, which this method needs: "
        f"{failed} Use a method without it, such as 'gradcam'."
    ) from failed


def hessian_products(
    function: Callable[[torch.Tensor], torch.Tensor], leaf: torch.Tensor, direction: torch.Tensor
) -> list[torch.Tensor]:
    """The Hessian of each column's sum of ``function(leaf)`` (n, k), times ``direction``."""
    with with_gradient():
        leaf = leaf.detach().requires_grad_()
        scores = function(leaf)
        columns = []
        for j in range(scores.shape[1]):
            (gradient,) = torch.autograd.grad(scores[:, j].sum(), leaf, create_graph=True)
            product = None
            # Of a score that is linear in the leaf the gradient is a constant, and the product zero.
            if gradient.requires_grad:
                (product,) = torch.autograd.grad(gradient, leaf, direction, retain_graph=True, allow_unused=True)
            columns.append(torch.zeros_like(leaf) if product is None else product.detach())
        return columns
