"""Gradients taken in parts: those of autograd, at the price of the rows that are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradsight as gs
from costs import flops
from gradsight.backends.torch.gradients import by_columns
from gradsight.backends.torch.in_parts import InParts

WIDTH, HEADS, TOKENS = 24, 3, 17
columns = partial(by_columns, batched=True)

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Queries, keys and values (n, heads, tokens, channels) to (n, heads, tokens, channels)."""


def fused(**more: Any) -> Attend:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **more)


def scaled_queries(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


def scaled_scores(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = torch.matmul(q, k.mT) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(torch.arange(scores.shape[-1]) == 3, -math.inf)
    return torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float64).to(q.dtype), v)


def turned(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Positions as angles, all tokens but the first."""

    def turn(x: torch.Tensor) -> torch.Tensor:
        first, rest = x.split([1, x.shape[2] - 1], dim=2)
        angles = torch.arange(rest.shape[2], dtype=x.dtype)[:, None] * torch.arange(1, x.shape[3] + 1)
        quarter = torch.stack((-rest[..., 1::2], rest[..., ::2]), dim=-1).flatten(-2)
        return torch.cat((first, rest * angles.cos() + quarter * angles.sin()), dim=2)

    return F.scaled_dot_product_attention(turn(q), turn(k), v)


def grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)


class Root(nn.Module):
    """RMS normalization."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


class Gate(nn.Module):
    """A gated layer of two halves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = x.chunk(2, dim=-1)
        return torch.cat((F.silu(gate) * value, -torch.tanh(value) * torch.sigmoid(1.7 * gate)), dim=-1)


class Block(nn.Module):
    def __init__(self, attend: Attend, split: str, norm: Callable[[], nn.Module], act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attend, self.split = attend, split
        self.norm1, self.norm2 = norm(), norm()
        self.packed = nn.Linear(WIDTH, 3 * WIDTH)
        self.apart = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.project = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), act(), nn.Linear(4 * WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        n, tokens, _ = y.shape
        if self.split == "apart":
            parts = [layer(y).view(n, tokens, HEADS, -1).transpose(1, 2) for layer in self.apart]
        elif self.split == "unbind":
            parts = list(self.packed(y).reshape(n, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0))
        else:
            parts = [z.reshape(n, tokens, HEADS, -1).permute(0, 2, 1, 3) for z in self.packed(y).chunk(3, dim=-1)]
        attended = self.attend(*parts).transpose(1, 2).reshape(n, tokens, WIDTH)
        x = x + self.scale * self.project(attended)
        return x + self.mlp(self.norm2(x))


class Tower(nn.Module):
    """Two blocks; ``read`` takes what the head is given from the tokens."""

    def __init__(
        self,
        attend: Attend = fused(),  # noqa: B008 - a function
        split: str = "unbind",
        read: Callable[[torch.Tensor], torch.Tensor] = lambda x: x[:, 0],
        norm: Callable[[], nn.Module] = lambda: nn.LayerNorm(WIDTH),
        act: Callable[[], nn.Module] = nn.GELU,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(attend, split, norm, act) for _ in range(2)))
        self.read, self.norm = read, nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(self.norm(self.blocks(x))))


def tokens(n: int = 2) -> torch.Tensor:
    return torch.randn(n, TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def recorded(model: nn.Module, names: tuple[str, ...] = ("blocks.0",)) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Scores (n, 5) of a model in double precision, and its layers' outputs, with their graph."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.double().requires_grad_(False)
    leaves: list[torch.Tensor] = []

    def keep(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output if output.requires_grad else output.detach().requires_grad_())
        return leaves[-1].clone()

    for name in names:
        model.get_submodule(name).register_forward_hook(keep)
    return model(tokens())[:, :5], leaves


ATTENTIONS: dict[str, Attend] = {
    "fused": fused(),
    "causal": fused(is_causal=True),
    "masked": fused(attn_mask=(torch.arange(TOKENS) % 4 != 2)[None, None, None]),
    "biased": fused(attn_mask=torch.linspace(-1, 1, TOKENS * TOKENS, dtype=torch.float64).view(1, 1, TOKENS, TOKENS)),
    "scaled": fused(scale=0.3),
    "scaled queries": scaled_queries,
    "scaled scores": scaled_scores,
    "turned": turned,
    "grouped": grouped,
}

READ: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "first": lambda x: x[:, 0],
    "last": lambda x: x[:, -1],
    "two tokens": lambda x: (x[:, 0] + 2 * x[:, 1]) / 2,
    "a slice": lambda x: x[:, 1:4].mean(1),
    "a list": lambda x: x[:, [2, 5, 11]].sum(1),
}


@pytest.mark.parametrize("split", ["unbind", "chunk", "apart"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_they_are_those_of_autograd_whatever_the_attention(attention: str, split: str) -> None:
    check(Tower(ATTENTIONS[attention], split), spared=0 if attention == "grouped" else 0.5)


@pytest.mark.parametrize("read", READ)
def test_they_are_those_of_autograd_whichever_tokens_are_read(read: str) -> None:
    check(Tower(read=READ[read]), spared=0.5)


def test_they_are_those_of_autograd_through_other_norms_and_gates() -> None:
    check(Tower(norm=Root, act=Gate), spared=0.5)


def test_attention_modules_of_pytorch_are_passed() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 48, batch_first=True, norm_first=True, activation="gelu").eval()
    model = Tower()
    model.blocks = nn.Sequential(model.blocks[0], layer)
    check(model, spared=0.5)


def test_a_token_that_asks_all_others_is_passed() -> None:
    class Pooled(nn.Module):
        """As SigLIP: a learned query attends to all tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.rand(1, 1, WIDTH))
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
            self.need = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked = self.query.expand(len(x), -1, -1)
            return self.attention(asked, x, x, need_weights=self.need)[0][:, 0]

    for need in (False, True):
        pool = Pooled()
        pool.need = need
        check(Tower(read=pool), names=("norm",), spared=0.5)


def check(model: nn.Module, *, names: tuple[str, ...] = ("blocks.0",), spared: float) -> None:
    """The gradients are taken in parts, are autograd's, and spare this share of its operations."""
    scores, leaves = recorded(model, names)
    ways = InParts()
    found = ways.gradients(scores, leaves, columns)
    expected = columns(scores, leaves)
    assert found is not None
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))
    counted = flops(lambda: ways.gradients(scores, leaves, columns)).total()
    assert counted <= (1 - spared) * flops(lambda: columns(scores, leaves)).total()
    (one,) = ways.gradients(scores[:, :1], leaves[:1], columns) or [None]
    assert one is not None
    torch.testing.assert_close(one[0], expected[0][0], rtol=1e-10, atol=1e-10)  # type: ignore[index]


def test_several_layers_are_differentiated_in_one_way_back() -> None:
    model = Tower()
    model.blocks.append(Block(fused(), "apart", lambda: nn.LayerNorm(WIDTH), nn.GELU))
    check(model, names=("blocks.0", "blocks.1", "blocks.2"), spared=0.2)
    model.blocks.append(Block(scaled_queries, "chunk", lambda: nn.LayerNorm(WIDTH), nn.ReLU))
    check(model, names=("blocks.0", "blocks.3.norm1"), spared=0.2)


def test_what_autograd_goes_on_with_is_passed_once() -> None:
    class Sine(nn.Module):
        """An operation without a rule."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    def block(act: Callable[[], nn.Module]) -> Block:
        return Block(fused(), "unbind", lambda: nn.LayerNorm(WIDTH), act)

    model = Tower()
    model.blocks = nn.Sequential(*map(block, (nn.GELU, nn.GELU, nn.GELU, Sine, nn.GELU)))
    check(model, spared=0.15)


def refuses(model: nn.Module) -> bool:
    scores, leaves = recorded(model)
    return InParts().gradients(scores, leaves, columns) is None


def test_where_all_tokens_are_read_nothing_is_done() -> None:
    scores, leaves = recorded(Tower(read=lambda x: x.mean(1)))
    asked: list[Any] = []

    def ask(*arguments: Any) -> list[torch.Tensor]:
        asked.append(arguments)
        return []

    assert InParts().gradients(scores, leaves, ask) is None
    assert not asked
    assert refuses(Tower(read=lambda x: x.mean(1)))
    assert refuses(Tower(read=lambda x: x[:, 0] + x.mean(1)))
    assert refuses(Tower(read=lambda x: x[:, 1:].mean(1)))


def test_a_gradient_that_a_hook_changes_is_that_of_autograd() -> None:
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.gelu(x)
            if x.requires_grad:
                x.register_hook(lambda grad: 2 * grad)
            return x

    assert refuses(Tower(act=Doubled))
    assert not refuses(Tower(act=nn.GELU))


def test_a_hook_that_begins_to_act_later_is_followed() -> None:
    limits = [math.inf]

    class Limited(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.gelu(x)
            if x.requires_grad:
                x.register_hook(lambda grad: grad.clamp(-limits[0], limits[0]))
            return x

    torch.manual_seed(0)
    model, x = Tower(act=Limited).eval(), tokens(2)
    explainer = gs.Explainer(model, layer="blocks.0")
    free = explainer(x, targets=0, method=gradient_of_first_channel).maps
    limits[0] = 1e-3
    later = explainer(x, targets=0, method=gradient_of_first_channel).maps
    new = gs.Explainer(model, layer="blocks.0")(x, targets=0, method=gradient_of_first_channel).maps
    assert not np.allclose(free, later)
    assert (later == new).all()


def gradient_of_first_channel(probe: Any, _ops: Any) -> Any:
    return probe.gradients[:, :, 0]


def test_a_function_of_somebody_else_goes_by_autograd() -> None:
    class Clone(torch.autograd.Function):
        """Called as one of PyTorch's own."""

        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return 3 * grad

        generate_vmap_rule = True

    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Clone.apply(x)

    model = Tower(act=Own)
    scores, leaves = recorded(model)
    one_by_one = partial(by_columns, batched=False)
    found, expected = InParts().gradients(scores[:, :1], leaves, columns), one_by_one(scores[:, :1], leaves)
    assert found is None or torch.allclose(found[0], expected[0])  # type: ignore[arg-type]


def test_what_was_found_out_is_kept_for_the_graph_and_not_for_its_numbers() -> None:
    model, ways = Tower(), InParts()
    scores, leaves = recorded(model)
    first = flops(lambda: ways.gradients(scores, leaves, columns)).total()
    again = flops(lambda: ways.gradients(scores, leaves, columns)).total()
    assert first > 1.2 * again
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
        model.blocks[1].project.bias[0] = math.nan
    leaves.clear()
    scores = model(tokens(3))[:, :5]
    (found,), (expected,) = ways.gradients(scores, leaves, columns) or [None], columns(scores, leaves)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert flops(lambda: ways.gradients(scores, leaves, columns)).total() == pytest.approx(1.5 * again)


def test_the_first_call_and_the_others_give_the_same_map() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.tower = nn.Conv2d(3, WIDTH, 4, 4), Tower()
            self.token = nn.Parameter(torch.randn(1, 1, WIDTH))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).mT
            return self.tower(torch.cat((self.token.expand(len(x), -1, -1), x), dim=1))

    torch.manual_seed(0)
    explainer, images = gs.Explainer(Net().eval(), layer="tower.blocks.0"), torch.rand(2, 3, 16, 16)
    maps = [explainer(images, targets=[[0, 3], [4, 1]]).maps for _ in range(3)]
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()
    assert maps[0].any()
