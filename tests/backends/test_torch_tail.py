"""The model from the layer on: equal to the model, without the stem at a cut, and always there."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import toys
from costs import flops
from gradsight.backends.torch import TorchBackend
from gradsight.layers import INPUT, Layer
from gradsight.targets import OutputContext, resolve


def probe_of(model: nn.Module, inputs: Any, layer: str, classes: Any, batch_size: int = 32) -> tuple[Any, TorchBackend]:
    backend = TorchBackend(model)
    prepared = backend.prepare(inputs)
    done = backend.run(
        prepared,
        [Layer(layer)],
        lambda logits, _: resolve(classes, OutputContext(len(classes), logits)),
        batch_size,
    )
    return done.probes[0], backend


def replaced(model: nn.Module, layer: str, inputs: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The model's scores with a layer's output replaced, the plain way."""
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, _o: value)
    try:
        with torch.no_grad():
            return model(inputs)
    finally:
        handle.remove()


def is_cut(backend: TorchBackend) -> bool:
    (tails,) = backend.view.tails.values()
    (tail,) = tails.values()
    assert tail is not None  # traced
    return tail.is_cut


@pytest.mark.parametrize(
    ("make", "layer", "cut"),
    [
        (toys.convolutional, "4", True),
        (lambda: toys.convolutional(inplace=True), "1", True),
        (toys.ClassMap, "features", True),
        (toys.Residual, "join", True),
        (toys.Residual, "shortcut", False),
        (toys.Residual, "body", False),
        (toys.Bypassed, "branch", False),
        (toys.Bypassed, "stem", True),
    ],
)
def test_tail_equals_the_model_with_its_layer_replaced(make: Any, layer: str, cut: bool) -> None:
    model, inputs, classes = make().eval(), torch.randn(2, 3, 16, 12), [[0, 3], [4, 1]]
    probe, backend = probe_of(model, inputs, layer, classes)
    torch.testing.assert_close(probe.tail(probe.activations), probe.scores, atol=1e-6, rtol=1e-5)
    for times in (1, 3):
        values = torch.randn(2 * times, *probe.activations.shape[1:])
        expected = replaced(model, layer, inputs.repeat(times, 1, 1, 1), values.clone())
        rows = torch.stack([expected[j, classes[j % 2]] for j in range(2 * times)])
        torch.testing.assert_close(probe.tail(values), rows, atol=1e-6, rtol=1e-5)
    assert is_cut(backend) == cut


@pytest.mark.parametrize("sequence_first", [False, True])
def test_tail_of_tokens_keeps_the_extra_ones_of_each_image(sequence_first: bool) -> None:
    model = toys.Tokens(extra=2, sequence_first=sequence_first).eval()
    inputs = torch.randn(2, 3, 24, 16)
    probe, backend = probe_of(model, inputs, "blocks.0", [[0, 3], [4, 1]])
    once = probe.tail(probe.activations)
    torch.testing.assert_close(once, probe.scores, atol=1e-6, rtol=1e-5)
    twice = probe.tail(torch.cat((probe.activations, probe.activations * 0.5)))
    torch.testing.assert_close(twice[:2], probe.scores, atol=1e-6, rtol=1e-5)
    assert (twice[2:] - probe.scores).abs().min() > 0
    assert is_cut(backend)


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (toys.convolutional, "4"),
        (lambda: toys.convolutional(inplace=True), "1"),
        (toys.Residual, "body"),
        (lambda: toys.Tokens(extra=2), "blocks.0"),
        (lambda: toys.Tokens(extra=2, sequence_first=True), "blocks.0"),
        (toys.convolutional, INPUT.name),
    ],
)
def test_without_channels_is_the_tail_of_activations_that_are_0_there(make: Any, layer: str) -> None:
    model, inputs = make().eval(), torch.randn(2, 3, 24, 16)
    probe, _ = probe_of(model, inputs, layer, [[0, 3], [4, 1]])
    groups = np.array([[0, 1], [2, 2], [1, 0]])
    expected = []
    for group in groups:
        left = probe.activations.clone()
        left[:, group] = 0
        expected.append(probe.tail(left))
    before = probe.activations.clone()
    torch.testing.assert_close(probe.without_channels(groups), torch.cat(expected), atol=1e-6, rtol=1e-5)
    assert torch.equal(probe.activations, before)
    bounded, _ = probe_of(model, inputs, layer, [[0, 3], [4, 1]], batch_size=5)  # two groups, then one
    torch.testing.assert_close(bounded.without_channels(groups), torch.cat(expected), atol=1e-6, rtol=1e-5)


def test_tail_of_one_call_of_a_reused_module() -> None:
    model, inputs = toys.Reused().eval(), torch.randn(2, 3, 16, 12)
    probe, _ = probe_of(model, inputs, "relu#0", [[0], [4]])
    torch.testing.assert_close(probe.tail(probe.activations), probe.scores, atol=1e-6, rtol=1e-5)
    assert (probe.tail(probe.activations * 2) - probe.scores).abs().min() > 0


def test_the_other_input_of_a_model_bypasses_the_layer() -> None:
    model = toys.TwoInputs().eval()
    inputs = (torch.randn(2, 3, 16, 12), torch.randn(2, 2))
    probe, backend = probe_of(model, inputs, "features", [[0], [4]])
    torch.testing.assert_close(probe.tail(torch.cat([probe.activations] * 2)), torch.cat([probe.scores] * 2))
    assert not is_cut(backend)


def test_the_tail_of_the_input_is_the_whole_model_with_the_targets_of_each_image() -> None:
    model, inputs = toys.convolutional(), torch.randn(2, 3, 16, 12)
    probe, _ = probe_of(model, inputs, "4", [[0, 3], [4, 1]])
    with torch.no_grad():
        expected = model(inputs * 0.5)
    scores = probe.image.tail(torch.cat((inputs, inputs * 0.5)))
    torch.testing.assert_close(scores[:2], probe.scores)
    torch.testing.assert_close(scores[2:], torch.stack((expected[0, [0, 3]], expected[1, [4, 1]])))
    assert not scores.requires_grad


def test_a_multiple_of_the_batch_is_asked_for() -> None:
    probe, _ = probe_of(toys.convolutional(), torch.randn(2, 3, 16, 12), "4", [[0], [1]])
    with pytest.raises(ValueError, match="multiple of the batch's 2 rows"):
        probe.tail(probe.activations[:1])


def test_a_write_into_a_part_of_a_tensor_is_not_lost() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x) * 1
            x[:, :3] = x[:, 3:].relu()
            return self.head(x.mean((2, 3)))

    model, inputs = Writes().eval(), torch.randn(2, 3, 8, 8)
    probe, _ = probe_of(model, inputs, "conv", [[0], [4]])
    values = torch.randn_like(probe.activations)
    expected = replaced(model, "conv", inputs, values.clone())
    torch.testing.assert_close(probe.tail(values)[:, 0], expected[[0, 1], [0, 4]], atol=1e-6, rtol=1e-5)


def test_a_bypass_that_is_shut_for_this_very_batch_is_found() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features = self.conv(x)
            gate = torch.relu(features.mean((1, 2, 3)) - 50)[:, None]
            return self.head(features.mean((2, 3))) + gate * x.mean((2, 3)).sum(1, keepdim=True)

    model, inputs = Gated().eval(), torch.randn(2, 3, 8, 8)
    probe, backend = probe_of(model, inputs, "conv", [[0], [4]])
    values = probe.activations + 100
    expected = replaced(model, "conv", inputs, values)
    torch.testing.assert_close(probe.tail(values)[:, 0], expected[[0, 1], [0, 4]], atol=1e-4, rtol=1e-5)
    assert not is_cut(backend)


def test_a_tail_that_writes_leaves_the_activations_alone() -> None:
    model, inputs = toys.convolutional(inplace=True).eval(), torch.randn(2, 3, 16, 12)
    probe, backend = probe_of(model, inputs, "0", [[0, 3], [4, 1]])  # an in-place ReLU comes next
    before = probe.activations.clone()
    assert (before < 0).any()
    probe.tail(probe.activations)
    assert is_cut(backend)
    assert torch.equal(probe.activations, before)


def test_nothing_is_destroyed_within_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    class Last:
        """Computes as it goes, as grad-cam's objects do."""

        def __init__(self) -> None:
            self.me, self.kept = self, kept

        def __del__(self) -> None:
            seen.append(type(self.kept + 1))

    kept = torch.ones(2)

    class Litters(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Last()  # garbage that only the collector finds
            return x * 1

    seen: list[type] = []
    model, inputs = (
        nn.Sequential(toys.convolutional()[:5], Litters(), toys.convolutional()[5:]).eval(),
        torch.randn(2, 3, 16, 12),
    )
    probe, _ = probe_of(model, inputs, "0", [[0], [4]])
    threshold = gc.get_threshold()
    gc.set_threshold(1)  # collects at every turn
    try:
        probe.tail(probe.activations)
        assert gc.isenabled()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert set(seen) == {torch.Tensor}


def test_what_is_before_the_layer_is_not_traced_where_nothing_bypasses_it() -> None:
    seen: list[int] = []

    class Sees(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(_get_current_dispatch_mode_stack()))  # what traces
            return x

    features = toys.convolutional()
    model = nn.Sequential(features[0], Sees(), *features[1:]).eval()
    probe, backend = probe_of(model, torch.randn(2, 3, 16, 12), "2", [[0], [4]])
    seen.clear()
    probe.tail(probe.activations)
    assert seen == [0]
    assert is_cut(backend)


def test_what_the_stem_makes_of_weights_alone_follows_when_they_change() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.head.weight * 2
            return nn.functional.linear(self.conv(x).mean((2, 3)), weight)

    model, inputs = Shared().eval(), torch.randn(2, 3, 8, 8)
    backend = TorchBackend(model)
    for _ in range(2):
        run = backend.run(inputs, [Layer("conv")], lambda logits, _: resolve([[0], [4]], OutputContext(2, logits)))
        probe = run.probes[0]
        torch.testing.assert_close(probe.tail(probe.activations), probe.scores)
        assert is_cut(backend)
        with torch.no_grad():
            model.head.weight.mul_(3)


def test_a_number_that_the_stem_reads_is_that_of_each_pass() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scale = float(x.abs().max())
            return self.head(self.conv(x).mean((2, 3)) * scale)

    model = Reads().eval()
    backend = TorchBackend(model)
    for size in (1, 5):
        inputs = size * torch.randn(2, 3, 8, 8)
        run = backend.run(inputs, [Layer("conv")], lambda logits, _: resolve([[0], [4]], OutputContext(2, logits)))
        probe = run.probes[0]
        torch.testing.assert_close(probe.tail(probe.activations), probe.scores)
        assert (probe.tail(probe.activations * 2) - probe.scores).abs().max() > 0.01


def test_what_bypasses_the_layer_is_computed_once() -> None:
    model, inputs = toys.Residual().eval(), torch.randn(2, 3, 16, 12)
    probe, backend = probe_of(model, inputs, "shortcut", [[0], [4]])
    probe.tail(probe.activations)  # traces
    few = flops(lambda: probe.tail(torch.cat([probe.activations] * 2)))
    many = flops(lambda: probe.tail(torch.cat([probe.activations] * 8)))
    assert not is_cut(backend)
    assert {op: count for op, count in many.items() if "conv" in op} == {}
    assert many.total() == 4 * few.total()
    again, _ = probe_of(model, inputs * 2, "shortcut", [[0], [4]])
    torch.testing.assert_close(again.tail(again.activations), again.scores, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("write", [False, True])
def test_what_bypasses_the_layer_may_be_written_into(write: bool) -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
            self.head = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            x = x.mul_(2) if write else x * 2
            branch = self.branch(x)
            x += branch  # what bypasses the branch is overwritten
            return self.head(x.relu_().mean((2, 3)))

    model, inputs = Writes().eval(), torch.randn(2, 3, 8, 8)
    probe, backend = probe_of(model, inputs, "branch", [[0], [4]])
    for times in (1, 3, 1):
        values = torch.randn(2 * times, 6, 8, 8)
        expected = replaced(model, "branch", inputs.repeat(times, 1, 1, 1), values.clone())
        rows = torch.stack([expected[j, [0, 4][j % 2]] for j in range(2 * times)])
        torch.testing.assert_close(probe.tail(values)[:, 0], rows, atol=1e-5, rtol=1e-5)
    assert not is_cut(backend)


def test_a_tail_that_depends_on_the_size_of_the_input_is_that_of_its_own_size() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.head = nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(4)), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            large = nn.functional.interpolate(self.pool(x), x.shape[2:], mode="bilinear")
            return self.head(large.sum((2, 3)) / 16)

    model = Scaled().eval()
    backend = TorchBackend(model)
    for side in (8, 16):
        inputs = torch.randn(1, 3, side, side)
        run = backend.run(inputs, [Layer("pool")], lambda logits, _: resolve([[0]], OutputContext(1, logits)))
        probe = run.probes[0]
        torch.testing.assert_close(probe.tail(probe.activations), probe.scores, atol=1e-5, rtol=1e-5)
