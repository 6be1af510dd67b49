"""What noise hides of positions, as behind attention or in trained models, is not read as a layout that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from gradsight.layouts import Layout, layouts
from gradsight.positions import Call, Locations, resolve_layouts


class Attention(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return x + self.out((q @ k.mT / 4).softmax(-1) @ v)


def windows(y: torch.Tensor, side: int) -> torch.Tensor:
    """(n, rows, columns, c) to (n, windows, side * side, c)."""
    n, h, w, c = y.shape
    return y.reshape(n, h // side, side, w // side, side, c).transpose(2, 3).reshape(n, -1, side * side, c)


def like(shape: tuple[int, ...], cells: Any, grid: tuple[int, int], shares: tuple[float, float], noise: float) -> Call:
    """A call of as many tokens as ``cells``, each at its own, seen through noise and drawn to the middle by axis."""
    generator = np.random.default_rng(0)
    places = (np.stack(np.unravel_index(cells, grid)) + 0.5) / np.array(grid)[:, None] - 0.5
    energy = np.ones((2, 1, len(cells)))
    moments = [
        0.5 + share * own + noise * generator.standard_normal((2, 1, len(cells)))
        for share, own in zip(shares, places, strict=True)
    ]
    return Call(shape, {2: Locations((np.arange(1), np.arange(len(cells))), energy, np.stack(moments))})


def resolved(cells: Any, shares: tuple[float, float], noise: float, grid: tuple[int, int] = (8, 8)) -> Any:
    """The layouts of a noisy call behind one that tells clearly that tokens come by rows."""
    count, size = len(cells), (grid[0] * 8, grid[1] * 8)
    first, later = (1, count, 48), (1, count, 96)
    calls = {
        "first": like(first, np.arange(count), grid, (1.0, 1.0), 0.0),
        "later": like(later, cells, grid, shares, noise),
    }
    usual = {"first": layouts(first, 1, size), "later": layouts(later, 1, size)}
    found = resolve_layouts(calls, usual, size).layouts
    assert found["first"] == (Layout((0, 2, 1), grid),)
    return found["later"]


@pytest.mark.parametrize("hidden", [0, 1])
@pytest.mark.parametrize("share", [0.3, 0.1])
@pytest.mark.parametrize("grid", [(8, 8), (6, 10)])
def test_a_grid_whose_columns_are_lost_in_noise_is_not_read_as_one_column(
    hidden: int, share: float, grid: tuple[int, int]
) -> None:
    """Behind attention one axis may answer weakly; row by row, tokens then lie almost as those of one column do."""
    shares = (share, 1.0) if hidden == 0 else (1.0, share)
    found = resolved(np.arange(grid[0] * grid[1]), shares, 0.12, grid)
    assert {layout.grid for layout in found} <= {grid}


def test_tokens_that_come_otherwise_than_before_are_not_read_as_before() -> None:
    """Windows lie a little as rows do: with r = 0.9 along one axis, 0.4 along the other."""
    for side in (2, 4):
        cells = np.arange(64).reshape(8 // side, side, 8 // side, side).transpose(0, 2, 1, 3).ravel()
        right = Layout((0, 2, 1), (8, 8), order=tuple(int(i) for i in np.argsort(cells)))
        for noise in (0.05, 0.2, 0.3, 0.4):
            found = resolved(cells, (1.0, 1.0), noise)
            assert set(found) <= {right}
        assert resolved(cells, (1.0, 1.0), 0.02) == (right,)


def test_a_clear_change_to_one_column_is_seen() -> None:
    """What noise must not make is found where locations say it."""
    cells = np.arange(64)
    calls = {"first": like((1, 64, 48), cells, (64, 1), (1.0, 0.0), 0.01)}
    found = resolve_layouts(calls, {"first": []}, (64, 64)).layouts["first"]
    assert [layout.grid for layout in found] == [(64, 1)]


class Sharp(nn.Module):
    """A transformer with strong attention, as after training, whose tokens come window by window."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.blocks = nn.Conv2d(3, 32, 8, 8), nn.Sequential(*(Attention() for _ in range(2)))
        self.norm, self.fc = nn.LayerNorm(32), nn.Linear(32, 5)
        with torch.no_grad():
            for block in self.blocks:
                block.qkv.weight.mul_(4), block.out.weight.mul_(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patches(x).permute(0, 2, 3, 1)
        return self.fc(self.norm(self.blocks(windows(y, 2).flatten(1, 2))).mean(1))


@pytest.mark.parametrize("seed", [0, 4, 6])
def test_what_strong_attention_mixes_is_never_read_in_another_order(seed: int) -> None:
    torch.manual_seed(seed)
    ranked = gs.Explainer(Sharp().eval()).layers(torch.randn(1, 3, 64, 64))
    cells = windows(torch.arange(64).reshape(1, 8, 8, 1), 2).flatten().argsort()
    for layer in ranked:
        if layer.name != "patches" and layer.layout.channel_axis == 2 and len(layer.layout.axes) == 3:
            assert layer.layout.order == tuple(cells.tolist()), layer.name
