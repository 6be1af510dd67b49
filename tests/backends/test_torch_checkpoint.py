"""`torch.utils.checkpoint` in the region that is explained: the maps of the same network without it."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import gradsight as gs

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

METHODS = ("gradcam", "gradcampp", "scorecam", "gradient", "guidedbackprop", "fullgrad", "shapleycam")

Run = Callable[..., torch.Tensor]


def plainly(part: Run, *arguments: Any) -> torch.Tensor:
    return part(*arguments)


def nested(part: Run, *arguments: Any) -> torch.Tensor:
    outer = functools.partial(checkpoint, use_reentrant=False)
    return outer(lambda *given: checkpoint(part, *given, use_reentrant=True), *arguments)


def in_parts(part: Run, x: torch.Tensor) -> torch.Tensor:
    if not isinstance(part, nn.Sequential):
        return checkpoint(part, x, use_reentrant=False)
    return checkpoint_sequential(part, 2, x, use_reentrant=False)


def contexts() -> tuple[Any, Any]:
    return contextlib.nullcontext(), contextlib.nullcontext()


def selective() -> Any:
    ops = [torch.ops.aten.convolution.default]
    return torch_checkpoint.create_selective_checkpoint_contexts(ops)


WAYS: dict[str, Run] = {
    "reentrant": functools.partial(checkpoint, use_reentrant=True),
    "not reentrant": functools.partial(checkpoint, use_reentrant=False),
    "without the random state": functools.partial(checkpoint, use_reentrant=False, preserve_rng_state=False),
    "with contexts": functools.partial(checkpoint, use_reentrant=False, context_fn=contexts),
    "selective": functools.partial(checkpoint, use_reentrant=False, context_fn=selective),
    "nested": nested,
    "sequential": in_parts,
}


class Net(nn.Module):
    """Two stages and a block whose relu runs twice, each behind ``way``; no parameter of one part is another's."""

    def __init__(self, way: Run = plainly) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4))
        self.b, self.c, self.relu = nn.Conv2d(4, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU()
        self.fc, self.way = nn.Linear(6, 5), way
        self.double().eval()

    def block(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.b(x))
        return self.relu(self.c(y * y) + y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.way(self.block, self.way(self.a, x))
        return self.fc((y * y).mean((2, 3)))  # type: ignore[no-any-return]


@functools.cache
def right(layer: str | None, method: str) -> gs.Explanation:
    return gs.Explainer(Net(), layer=layer, method=method)(IMAGE, targets=[1, 3])


def assert_right(way: str, layer: str | None, method: str) -> None:
    found = gs.Explainer(Net(WAYS[way]), layer=layer, method=method)(IMAGE, targets=[1, 3])
    expected = right(layer, method)
    assert found.layer == expected.layer
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    scale = np.abs(expected.maps).max()
    assert scale > 0
    np.testing.assert_allclose(found.maps, expected.maps, atol=2e-6 * scale, err_msg=method)


@pytest.mark.parametrize("way", WAYS)
def test_every_method_gives_the_maps_of_the_network_without_checkpoints(way: str) -> None:
    for method in METHODS:
        assert_right(way, None, method)
    for layer in ("a.1", "relu#0", "c"):
        assert_right(way, layer, "gradcam")
    if way != "sequential":  # it runs the children alone
        assert_right(way, "a", "gradcam")
    assert_right(way, "b", "ablationcam")


@pytest.mark.parametrize("reentrant", [False, True])
def test_other_threads_checkpoint_as_ever(reentrant: bool) -> None:
    inside, done = threading.Event(), threading.Event()
    counts: list[int] = []

    def waiting(part: Run, *arguments: Any) -> torch.Tensor:
        inside.set()
        assert done.wait(20)
        return checkpoint(part, *arguments, use_reentrant=reentrant)

    def other() -> None:
        assert inside.wait(20)
        count = 0

        def squared(x: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            return x * x

        x = torch.ones(3, requires_grad=True)
        checkpoint(squared, x, use_reentrant=reentrant).sum().backward()
        counts.extend((count, int(x.grad.sum())))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    found = gs.Explainer(Net(waiting), layer="c")(IMAGE, targets=[1, 3])
    thread.join()
    assert counts == [2, 6]  # run again on the way back
    np.testing.assert_allclose(found.maps, right("c", "gradcam").maps, rtol=1e-6)


def test_nothing_of_torch_stays_changed() -> None:
    names = ("CheckpointFunction", "_checkpoint_without_reentrant_generator", "checkpoint")
    before = [getattr(torch_checkpoint, name) for name in names]
    gs.Explainer(Net(WAYS["nested"]))(IMAGE)
    with pytest.raises(gs.GradsightError):
        gs.Explainer(Net(WAYS["nested"]))(IMAGE[:, :1])
    assert all(getattr(torch_checkpoint, name) is value for name, value in zip(names, before, strict=True))


class OwnCheckpoint(torch.autograd.Function):
    """As written by hand in more than one network."""

    @staticmethod
    def forward(ctx: Any, function: Run, x: torch.Tensor) -> torch.Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        with torch.no_grad():
            return function(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            result = ctx.function(x)
        return None, torch.autograd.grad(result, x, gradient)[0]


def test_one_of_the_model_s_own_is_right_before_it_and_refused_within() -> None:
    net = Net(OwnCheckpoint.apply)
    for layer in ("b", "c"):
        with pytest.raises(gs.GradsightError, match="carry no gradient back to layer"):
            gs.Explainer(net, layer=layer)(IMAGE, targets=[1, 3])
    np.testing.assert_allclose(
        gs.Explainer(net, method="gradient")(IMAGE, targets=[1, 3]).maps, right(None, "gradient").maps, rtol=1e-5
    )


def test_timm_with_checkpoints() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5).eval()
    images = torch.randn(1, 3, 32, 32)
    expected = {method: gs.Explainer(model, method=method)(images, targets=1) for method in ("gradcam", "gradient")}
    model.set_grad_checkpointing(True)
    for method, explanation in expected.items():
        found = gs.Explainer(model, method=method)(images, targets=1)
        assert found.layer == explanation.layer
        np.testing.assert_allclose(found.maps, explanation.maps, atol=1e-5 * np.abs(explanation.maps).max())


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
def test_transformers_with_checkpoints_in_training_mode() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    model = transformers.ViTForImageClassification(config).eval()
    images = torch.randn(1, 3, 32, 32)
    expected = gs.Explainer(model)(images, targets=1)
    model.gradient_checkpointing_enable()
    found = gs.Explainer(model.train())(images, targets=1)
    assert found.layer == expected.layer
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5 * np.abs(expected.maps).max())
