"""Attention is seen whatever runs it: fused or in the open, modules or functions, exported or compiled programs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gradsight as gs
from gradsight.backends.torch import seeing
from gradsight.backends.torch.seeing import Seeing
from gradsight.errors import ModelError
from gradsight.models.load import load_model

pytestmark = pytest.mark.pytorch

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def functional(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1) @ v


def method(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), 3) @ v


def module(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return nn.Softmax(dim=-1)(q @ k.mT / math.sqrt(q.shape[-1])) @ v


def rows_of_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    weights = torch.bmm(flat[0], flat[1].mT).div_(math.sqrt(q.shape[-1])).softmax(-1)
    return torch.bmm(weights, flat[2]).view_as(q)


def shared_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)


def by_operators(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten.scaled_dot_product_attention.default(q, k, v)


def by_the_kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(q, k, v, 0.0, False)[0]


def by_a_softmax_operator(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten._softmax.default(q @ k.mT / math.sqrt(q.shape[-1]), -1, False) @ v


class Net(nn.Module):
    """Two blocks whose attention is given, a class token and 16 patches."""

    def __init__(self, attention: Attention = fused, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.patches, self.first = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(attention, width, heads) for _ in range(2))
        self.head = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), 1)
        for block in self.blocks:
            x = self.through(block, x)
        return self.head(x[:, 0])

    def through(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return block(x)


class Block(nn.Module):
    def __init__(self, attention: Attention, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.heads, self.qkv = attention, heads, nn.Linear(width, 3 * width)
        self.norm, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        return x + self.mlp(x).tanh()


NAMES = ["attention", "attentionrollout", "gradientrollout", "legrad"]
TARGETS = [[0, 3], [4, 1]]


def net(attention: Attention = fused, kind: type[Net] = Net) -> Net:
    torch.manual_seed(0)
    return kind(attention).eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def maps(model: nn.Module, batch: torch.Tensor | None = None, layer: str | None = None) -> list[Any]:
    found = gs.Explainer(model, layer=layer)(images() if batch is None else batch, targets=TARGETS, method=NAMES)
    return [one.maps for one in found]


def assert_same(found: list[Any], expected: list[Any], tolerance: float = 1e-5) -> None:
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max(), rtol=0, err_msg=name)


@pytest.fixture(scope="module")
def right() -> list[Any]:
    return maps(net(functional))


WAYS = [fused, method, plain, module, rows_of_heads, by_operators, by_the_kernel, by_a_softmax_operator]


@pytest.mark.parametrize("way", WAYS)
def test_attention_is_seen_whatever_function_runs_it(way: Attention, right: list[Any]) -> None:
    assert_same(maps(net(way)), right)


def test_heads_that_share_keys_are_seen_as_such() -> None:
    def spelled_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional(q, k[:, :1].expand_as(k), v[:, :1].expand_as(v))

    assert_same(maps(net(shared_heads)), maps(net(spelled_out)))


@pytest.mark.parametrize("kind", ["causal", "boolean", "numbers", "scale"])
def test_masks_and_scales_are_those_of_the_fused_kernel(kind: str) -> None:
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    allowed = torch.tensor([[1, 0, 1, 1, 0]] * 4 + [[0] * 5], dtype=torch.bool)
    options: dict[str, dict[str, Any]] = {
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": allowed},
        "numbers": {"attn_mask": torch.randn(2, 1, 5, 5)},
        "scale": {"scale": 0.3},
    }
    expected = F.scaled_dot_product_attention(q, k, v, **options[kind])
    with Seeing() as mode:
        found = F.scaled_dot_product_attention(query=q, key=k, value=v, **options[kind])
    torch.testing.assert_close(found, expected)
    (weights,) = mode.weights
    torch.testing.assert_close(weights @ v, expected)
    sums = weights.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums) * (allowed.any(-1) if kind == "boolean" else 1))


class Checkpointed(Net):
    def through(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(block, x, use_reentrant=False)


class Frozen(Net):
    def through(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad() if block is self.blocks[0] else contextlib.nullcontext():
            return block(x)


@pytest.mark.parametrize("wrap", [Checkpointed, "compiled", "training"])
def test_models_in_other_shapes_give_the_same_maps(wrap: Any, right: list[Any]) -> None:
    model: Any = net(kind=wrap) if isinstance(wrap, type) else net()
    if wrap == "compiled":
        model = torch.compile(model, backend="eager")
    assert_same(maps(model.train(wrap == "training")), right)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")  # PyTorch's own, as it decomposes
@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_gives_the_same_maps(decomposed: bool, right: list[Any], tmp_path: Path) -> None:
    size = {0: torch.export.Dim("n", min=1, max=64)}
    program = torch.export.export(net(), (images(),), dynamic_shapes=(size,))
    torch.export.save(program.run_decompositions() if decomposed else program, tmp_path / "net.pt2")
    explainer = gs.Explainer(load_model(tmp_path / "net.pt2"))
    found = [explainer(images(), targets=TARGETS, method=name).maps for name in NAMES[:3]]
    assert_same([*found, right[3]], right)


def test_autocast_is_followed() -> None:
    class Cast(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x).float()

    assert_same(maps(net(kind=Cast)), maps(net()), 0.1)


def test_a_frozen_block_without_a_graph_has_no_gradient_and_the_error_says_why() -> None:
    model = net(kind=Frozen)
    found = gs.Explainer(model, layer="blocks.0")(images(), targets=TARGETS, method="attentionrollout")
    expected = gs.Explainer(net(), layer="blocks.0")(images(), targets=TARGETS, method="attentionrollout")
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-5)


@pytest.mark.parametrize("need_weights", [False, True])
def test_the_native_paths_of_pytorch_s_own_transformer_hide_nothing(need_weights: bool) -> None:
    class Native(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patches = nn.Conv2d(3, 8, 4, 4)
            one = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.blocks = nn.TransformerEncoder(one, 2, enable_nested_tensor=False)
            self.last, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
            return self.head(self.last(x, x, x, need_weights=need_weights)[0].mean(1))

    seen: list[Any] = []

    def kept(probe: Any, ops: Any) -> Any:
        seen.extend(probe.attention)
        return ops.broadcast_to(ops.mean(probe.activations, axis=1, keepdims=True), (2, 2, 4, 4))

    model = Native().eval()
    gs.Explainer(model, layer="blocks")(images(), targets=TARGETS, method=kept)
    assert [tuple(x.shape) for x in seen] == [(2, 2, 16, 16)] * 3
    with torch.no_grad():
        tokens = model.blocks(model.patches(images()).flatten(2).transpose(1, 2))
        _, weights = model.last(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(seen[2], weights)


def test_what_a_model_does_to_its_weights_afterwards_is_not_seen() -> None:
    with torch.no_grad(), Seeing() as mode:
        given = torch.randn(2, 3, 4, 4).softmax(-1).mul_(0)
    assert not given.any()
    torch.testing.assert_close(mode.weights[0].sum(-1), torch.ones(2, 3, 4))


@pytest.mark.parametrize("text", NAMES)
def test_weights_that_do_not_give_the_outputs_again_are_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "_shares", lambda scores, *, masked: scores.softmax(-2))
    with pytest.raises(ModelError, match=r"gave other outputs than before.*'gradcam'"):
        gs.Explainer(net(), method=text)(images(), targets=TARGETS)


def test_nothing_of_the_model_changes_and_no_other_pass_is_seen() -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    maps(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        model.head.weight.mul_(-1)  # a call sees the weights of now
    assert not np.allclose(maps(model)[2], maps(net())[2])


def test_a_softmax_over_classes_at_each_token_is_no_attention(right: list[Any]) -> None:
    class Dense(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), 1)
            for block in self.blocks:
                gates = self.head(x).softmax(-1)  # (n, tokens, 5), as of experts
                x = block(x + 0 * gates.sum(-1, keepdim=True))
            return self.head(x[:, 0])

    found = maps(net(kind=Dense), layer="blocks.0")
    assert_same(found[:1] + found[1:], maps(net(), layer="blocks.0"))


def test_results_of_threads_do_not_mix() -> None:
    from concurrent.futures import ThreadPoolExecutor

    explainer, batches = gs.Explainer(net(), method="gradientrollout"), [images() * (1 + i) for i in range(6)]
    alone = [explainer(batch, targets=TARGETS).maps for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda batch: explainer(batch, targets=TARGETS).maps, batches))
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max())
