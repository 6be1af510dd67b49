"""Where positions of the image lie in a layer's output, found by trial: right for every order of axes and of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from costs import flops
from gradsight.errors import ModelError
from gradsight.layouts import Layout
from gradsight.positions.locations import correlation


def place_of_change(model: nn.Module, image: torch.Tensor, changed: torch.Tensor, layer: Any = None) -> tuple[int, ...]:
    """Where the activations that gradsight sees change most."""
    seen: list[torch.Tensor] = []

    def keep(probe: Any, _ops: Any) -> Any:
        seen.append(probe.activations.clone())
        return probe.activations[:, :1] * 0

    explainer = gs.Explainer(model, targets=1, layer=layer, method=keep)
    explainer(image)
    explainer(changed)
    change = (seen[0] - seen[1]).abs().sum(1)[0].numpy()
    return tuple(int(i) for i in np.unravel_index(change.argmax(), change.shape))


def check_places(model: nn.Module, image: torch.Tensor, grid: Sequence[int], layer: Any = None) -> None:
    """A change of the part of the image that lies in a cell shows in that cell, for corners and others."""
    sides = [side // cells for side, cells in zip(image.shape[2:], grid, strict=True)]
    corners = itertools.product(*[(0, cells - 1) for cells in grid])
    inner = [tuple(min(cells - 1, i + 1) for i, cells in enumerate(grid))]
    for cell in [*corners, *inner]:
        changed = image.clone()
        changed[(0, slice(None), *(slice(i * s, (i + 1) * s) for i, s in zip(cell, sides, strict=True)))] += 3
        assert place_of_change(model, image, changed, layer) == cell


def chosen(model: nn.Module, inputs: torch.Tensor) -> Any:
    return gs.Explainer(model).layers(inputs)[0]


# Which axis is what.


class Recurrent(nn.Module):
    """A signal through a convolution and then something that wants (n, steps, channels)."""

    def __init__(self, behind: nn.Module, width: int, *, steps_first: bool = False) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv1d(3, 16, 9, 8, 4), nn.ReLU())
        self.behind, self.fc, self.steps_first = behind, nn.Linear(width, 5), steps_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cnn(x).permute(2, 0, 1) if self.steps_first else self.cnn(x).transpose(1, 2)
        y = self.behind(y)
        y = y[0] if isinstance(y, tuple) else y
        return self.fc(y.tanh().mean(0 if self.steps_first else 1))


def encoder(width: int, *, batch_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("behind", "width", "steps_first"),
    [
        (lambda: nn.LSTM(16, 24, batch_first=True, bidirectional=True), 48, False),
        (lambda: nn.GRU(16, 20), 20, True),
        (lambda: encoder(16, batch_first=True), 16, False),
        (lambda: encoder(16, batch_first=False), 16, True),
        (lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU()), 32, False),
    ],
)
def test_the_map_of_a_signal_is_over_its_steps(behind: Callable[[], nn.Module], width: int, steps_first: bool) -> None:
    torch.manual_seed(0)
    model, x = Recurrent(behind(), width, steps_first=steps_first).eval(), torch.randn(2, 3, 200)
    found = gs.Explainer(model)(x, targets=2)
    assert found.layer == "behind"
    y = model.cnn(x).permute(2, 0, 1) if steps_first else model.cnn(x).transpose(1, 2)
    y = model.behind(y)
    y = (y[0] if isinstance(y, tuple) else y).detach().requires_grad_()
    model.fc(y.tanh().mean(0 if steps_first else 1))[:, 2].sum().backward()
    steps = 0 if steps_first else 1
    right = (y.grad.mean(steps, keepdim=True) * y).sum(-1).detach()
    right = right.T if steps_first else right
    assert found.maps.shape == (2, 1, 25)
    np.testing.assert_allclose(found.maps[:, 0], right, atol=1e-5 * float(right.abs().max()))


@pytest.mark.parametrize(("steps", "hidden"), [(14, 64), (10, 10), (6, 24), (4, 8)])
def test_few_steps_are_not_mistaken_for_hidden_units(steps: int, hidden: int) -> None:
    torch.manual_seed(0)
    model = Recurrent(nn.LSTM(16, hidden, batch_first=True), hidden).eval()
    ranked = gs.Explainer(model).layers(torch.randn(1, 3, 8 * steps))
    assert {x.layout.grid for x in ranked} == {(steps,)}


@pytest.mark.parametrize("length", [31, 63, 100])
def test_a_class_token_is_no_step_of_a_signal(length: int) -> None:
    class WithToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn, self.token = nn.Conv1d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
            self.blocks, self.fc = encoder(16, batch_first=True), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.cnn(x).transpose(1, 2)
            return self.fc(self.blocks(torch.cat([self.token.expand(len(y), -1, -1), y], 1)).mean(1))

    torch.manual_seed(0)
    best = chosen(WithToken().eval(), torch.randn(1, 3, 4 * length))
    assert (best.name, best.layout.grid, best.layout.extra) == ("blocks", (length,), 1)


@pytest.mark.parametrize("width", [48, 128, 256])
@pytest.mark.parametrize("steps_first", [False, True])
def test_steps_whose_rows_were_pooled_lie_side_by_side(width: int, steps_first: bool) -> None:
    """As in a reader of texts: columns of a map become steps, batch or steps first."""

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(1, 8, (8, 2), (8, 2)), nn.ReLU())
            self.rnn, self.fc = nn.LSTM(16, 12, batch_first=not steps_first, bidirectional=True), nn.Linear(24, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.cnn(x).flatten(1, 2)
            y = self.rnn(y.permute(2, 0, 1) if steps_first else y.transpose(1, 2))[0]
            return self.fc(y).mean(0 if steps_first else 1)

    torch.manual_seed(0)
    model, images = Reader().eval(), torch.randn(2, 1, 16, width)
    found = gs.Explainer(model, layer="rnn", targets=1)(images)
    assert found.maps.shape == (2, 1, 1, width // 2)
    changed = images[:1].clone()
    changed[..., 20:22] += 3
    assert place_of_change(model, images[:1], changed, "rnn")[1] in (9, 10, 11)


def test_a_square_of_hidden_units_is_no_map_of_a_signal() -> None:
    """25 steps of 25 channels: no shape tells which is which."""
    torch.manual_seed(0)
    model = Recurrent(nn.Sequential(nn.Linear(16, 25), nn.GELU()), 25).eval()
    x = torch.randn(1, 3, 200)
    changed = x.clone()
    changed[..., 80:88] += 3
    assert place_of_change(model, x, changed, "behind")[0] in (10, 11)


def test_pictures_that_a_model_turns_are_turned_back() -> None:
    class Turned(nn.Module):
        def __init__(self, turn: Callable[[torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            self.turn, self.conv, self.fc = turn, nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(self.turn(x)).relu().mean((2, 3)))

    turns: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda x: x.mT,
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
        lambda x: x.rot90(1, (2, 3)),
    ]
    for turn in turns:
        torch.manual_seed(0)
        check_places(Turned(turn).eval(), torch.randn(1, 3, 24, 24), (6, 6), "conv")


# Tokens: their grid, and their order.


class Tokens(nn.Module):
    """Patches by reshaping and a Linear, put in some order, and a block that treats each by itself."""

    def __init__(
        self, patch: tuple[int, int], order: Callable[[torch.Tensor], torch.Tensor], *, extra: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.patch, self.order = patch, order
        self.embed = nn.Linear(3 * patch[0] * patch[1], 32)
        self.before, self.after = (nn.Parameter(torch.randn(1, count, 32)) for count in extra)
        self.block = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU())
        self.fc = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        p, q = self.patch
        y = x.reshape(n, c, h // p, p, w // q, q).permute(0, 2, 4, 3, 5, 1).reshape(n, h // p, w // q, p * q * c)
        y = self.order(self.embed(y))
        if self.before.numel() + self.after.numel():
            y = torch.cat([self.before.expand(n, -1, -1), y, self.after.expand(n, -1, -1)], 1)
        y = self.block(y)
        return self.fc(y.reshape(n, -1, 32).mean(1))


def windows(y: torch.Tensor, side: int) -> torch.Tensor:
    """(n, rows, columns, c) to (n, windows, side * side, c)."""
    n, h, w, c = y.shape
    return y.reshape(n, h // side, side, w // side, side, c).transpose(2, 3).reshape(n, -1, side * side, c)


def unrolled(y: torch.Tensor) -> torch.Tensor:
    """The places within squares of 2 x 2 first, the squares behind them, as Hiera has it."""
    n, h, w, c = y.shape
    return y.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c)


ORDERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "by rows": lambda y: y.flatten(1, 2),
    "by columns": lambda y: y.transpose(1, 2).flatten(1, 2),
    "backwards": lambda y: y.flatten(1, 2).flip(1),
    "windows": lambda y: windows(y, 2),
    "windows in a row": lambda y: windows(y, 2).flatten(1, 2),
    "windows as rows": lambda y: windows(y, 4).flatten(0, 1),
    "unrolled": unrolled,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("patch", "size"), [((4, 4), (32, 48)), ((8, 4), (64, 32)), ((8, 8), (64, 64))])
def test_tokens_in_any_order_lie_where_they_look(order: str, patch: tuple[int, int], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Tokens(patch, ORDERS[order]).eval()
    grid = (size[0] // patch[0], size[1] // patch[1])
    image = torch.randn(1, 3, *size)
    check_places(model, image, grid, "block")
    if order != "windows as rows":  # whose rows are put together behind the layer
        assert chosen(model, image).layout.grid == grid


@pytest.mark.parametrize("extra", [(1, 0), (5, 0), (0, 1), (2, 3), (0, 40)])
def test_tokens_that_are_no_positions_are_left_out(extra: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Tokens((8, 8), ORDERS["by rows"], extra=extra)).eval()
    best = chosen(model, torch.randn(1, 3, 64, 48))
    assert (best.layout.grid, best.layout.extra) == ((8, 6), sum(extra))
    check_places(model, torch.randn(1, 3, 64, 48), (8, 6), "0.block")


def test_methods_that_change_activations_put_them_back_in_their_order() -> None:
    """The tail of ablations runs on tokens in the model's order: of all layouts the maps are the same."""
    torch.manual_seed(0)
    image, maps = torch.randn(2, 3, 32, 48), []
    for order in ("by rows", "windows", "unrolled", "by columns", "backwards"):
        torch.manual_seed(1)
        model = Tokens((4, 4), ORDERS[order]).eval()
        methods = ["gradcam", "ablationcam", "scorecam(top=8)", "layercam", "fullgrad", "eigencam"]
        maps.append([x.maps for x in gs.Explainer(model, layer="block", targets=3, method=methods)(image)])
    for found in maps[1:]:
        for a, b in zip(maps[0], found, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(a).max())


def test_an_order_that_no_grid_has_is_refused_in_words() -> None:
    torch.manual_seed(0)
    order = torch.randperm(64)
    model = nn.Sequential(nn.Identity(), Tokens((8, 8), lambda y: y.flatten(1, 2)[:, order])).eval()
    explainer, image = gs.Explainer(model, targets=1), torch.randn(1, 3, 64, 64)
    with pytest.raises(ModelError, match="positions come in an order that no grid has"):
        explainer(image, layer="1.block")
    assert explainer(image).layer == "1.embed"  # before they are put in that order
    forced = gs.Explainer(model, targets=1, layer="1.block", layout="tokens", grid=(8, 8))(image)
    assert forced.maps.shape == (1, 1, 8, 8)  # the user's word


def test_frames_behind_patches() -> None:
    """Tokens (patch, frame) as TimeSformer has them, and (frame, patch)."""

    class Clip(nn.Module):
        def __init__(self, *, patches_first: bool) -> None:
            super().__init__()
            self.conv, self.patches_first = nn.Conv3d(3, 16, (2, 8, 8), (2, 8, 8)), patches_first
            self.block, self.fc = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16)), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x).flatten(3)  # (n, c, frames, patches)
            y = (y.transpose(2, 3) if self.patches_first else y).flatten(2).transpose(1, 2)
            return self.fc(self.block(y).relu().mean(1))

    for patches_first in (True, False):
        torch.manual_seed(0)
        model = Clip(patches_first=patches_first).eval()
        check_places(model, torch.randn(1, 3, 8, 32, 24), (4, 4, 3), "block")
        assert chosen(model, torch.randn(1, 3, 8, 32, 24)).layout.grid == (4, 4, 3)


class Hybrid(nn.Module):
    """A convolutional stem, patches of its map by reshaping and a Linear, and blocks of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.ReLU())
        self.embed, self.blocks, self.fc = nn.Linear(128, 32), encoder(32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.stem(x)
        n, c, h, w = f.shape
        f = f.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(n, -1, 128)
        return self.fc(self.blocks(self.embed(f)).mean(1))


def test_tokens_behind_a_finer_map_are_chosen_before_it() -> None:
    torch.manual_seed(0)
    model, image = Hybrid().eval(), torch.randn(1, 3, 64, 96)
    best = chosen(model, image)
    assert (best.name, best.layout.grid) == ("blocks", (8, 12))
    check_places(model, image, (8, 12), "embed")


def of_timesformer() -> nn.Module:
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    config = TimesformerConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=64, num_frames=6,
        num_labels=5,
    )  # fmt: skip
    return TimesformerForVideoClassification(config)


def of_videomae() -> nn.Module:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=64, num_frames=8,
        num_labels=5,
    )  # fmt: skip
    return VideoMAEForVideoClassification(config)


def of_timm(name: str, **smaller: Any) -> nn.Module:
    import timm

    model = timm.create_model(name, num_classes=5, **smaller)
    nn.init.normal_(model.get_classifier().weight, std=0.02)  # some begin with zeros, which no gradient passes
    return model


def of_nest() -> nn.Module:
    from timm.models.nest import Nest

    return Nest(embed_dims=(24, 48, 96), num_heads=(1, 2, 4), depths=(1, 1, 2), num_classes=5)


def of_crossvit() -> nn.Module:
    from timm.models.crossvit import CrossVit

    return CrossVit(img_size=240, embed_dim=(24, 48), depth=((1, 2, 0),), num_heads=(2, 2), num_classes=5)


REAL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str | None, tuple[int, ...]]]] = {
    "TimeSformer": (of_timesformer, (6, 3, 64, 64), {None: (6, 4, 4), "timesformer.embeddings": (6, 4, 4)}),
    "VideoMAE": (of_videomae, (8, 3, 64, 64), {None: (4, 4, 4), "videomae.encoder": (4, 4, 4)}),
    "ViT of flat patches": (
        lambda: of_timm("vit_tiny_patch16_224", depth=2, img_size=(128, 64), patch_size=(16, 8)),
        (3, 128, 64),
        {None: (8, 8), "blocks.0": (8, 8)},
    ),
    "Hiera": (
        lambda: of_timm("hiera_tiny_224", stages=(1, 1, 2, 1), embed_dim=48),
        (3, 224, 224),
        {None: (7, 7), "blocks.0": (56, 56), "blocks.1": (28, 28), "blocks.3": (14, 14)},
    ),
    "NesT": (
        of_nest,
        (3, 224, 224),
        {None: (14, 14), "levels.0.transformer_encoder": (56, 56), "levels.1.transformer_encoder": (28, 28)},
    ),
    "CrossViT": (of_crossvit, (3, 240, 240), {"blocks.0.blocks.0": (30, 30)}),
}


@pytest.mark.parametrize("name", REAL)
def test_models_as_they_are_in_use(name: str) -> None:
    """The cell whose activations change most, where a patch of the image changes, is the patch's, or beside it."""
    make, size, layers = REAL[name]
    torch.manual_seed(0)
    model, image = make().eval(), torch.randn(1, *size)
    video = len(size) == 4
    for layer, grid in layers.items():
        explainer = gs.Explainer(model, targets=1, layer=layer)
        found = explainer(image)
        assert found.maps.shape[2:] == grid
        named = gs.Explainer(model, targets=1, layer=found.layer)(image)
        np.testing.assert_array_equal(named.maps, found.maps)
        sides = [s // g for s, g in zip((size[0], *size[2:]) if video else size[1:], grid, strict=True)]
        for part in (0.2, 0.7):
            cell = tuple(int(part * (g - 1)) for g in grid)
            window = tuple(slice(i * s, (i + 1) * s) for i, s in zip(cell, sides, strict=True))
            changed = image.clone()
            changed[(0, window[0], slice(None), *window[1:]) if video else (0, slice(None), *window)] += 3
            at = place_of_change(model, image, changed, layer)
            assert max(abs(a - b) for a, b in zip(at, cell, strict=True)) <= 1


# What looks like a map and is none.


class Attention(nn.Module):
    def __init__(self, width: int = 32, heads: int = 2) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.split, self.attend, self.heads = nn.Unflatten(2, (heads, width // heads)), nn.Softmax(-1), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.split(part).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        return x + self.out((self.attend(q @ k.mT / 4) @ v).transpose(1, 2).flatten(2))


class Simple(nn.Module):
    """A transformer whose attention is made of modules, on patches by reshaping and a Linear."""

    def __init__(self, heads: int, *, token: bool) -> None:
        super().__init__()
        self.embed, self.fc = nn.Linear(192, 32), nn.Linear(32, 5)
        self.token = nn.Parameter(torch.randn(1, 1, 32)) if token else None
        self.blocks = nn.Sequential(*(Attention(heads=heads) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 192)
        y = self.embed(y)
        if self.token is not None:
            y = torch.cat([self.token.expand(n, -1, -1), y], 1)
        return self.fc(self.blocks(y).mean(1))


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("token", [False, True])
def test_neither_attention_matrices_nor_heads_are_maps(heads: int, token: bool) -> None:
    torch.manual_seed(0)
    model, image = Simple(heads, token=token).eval(), torch.randn(1, 3, 64, 64)
    ranked = gs.Explainer(model, targets=1).layers(image)
    assert (ranked[0].name, ranked[0].layout.grid, ranked[0].layout.extra) == ("blocks", (8, 8), int(token))
    assert {x.layout.grid for x in ranked} == {(8, 8)}
    if heads > 1:  # of one head, what a query attends to is a channel, and queries lie where they look
        assert not any(x.name.endswith(("attend",)) for x in ranked)
        with pytest.raises(ModelError, match=r"no positions|no grid has"):
            gs.Explainer(model, targets=1)(image, layer="blocks.1.attend")
    check_places(model, image, (8, 8))


def test_a_map_that_was_flattened_is_no_row_of_positions() -> None:
    class Flat(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).unsqueeze(2)

    class Tall(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).unsqueeze(3)

    for flat in (Flat(), Tall()):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 8, 8), nn.ReLU(), flat, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
        )
        check_places(model.eval(), torch.randn(1, 3, 64, 64), (8, 8), "2")


def test_strides_that_differ_by_axis_are_read_as_they_are() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, (16, 2), (16, 2)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()
    check_places(model, torch.randn(1, 3, 64, 48), (4, 24), "1")
    assert chosen(model, torch.randn(1, 3, 32, 48)).layout.grid == (2, 24)


@pytest.mark.parametrize("ending", ["segmentation", "pooled", "two ways"])
def test_a_map_of_one_channel_is_the_prediction_and_not_what_it_is_made_of(ending: str) -> None:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 1)]
    endings: dict[str, tuple[list[nn.Module], Any]] = {
        "segmentation": ([nn.Sigmoid()], gs.Pixels(0, box=(4, 4, 20, 20))),
        "pooled": ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid()], None),
        "two ways": ([nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 1)], lambda output: output.mean((1, 2, 3))),
    }
    rest, target = endings[ending]
    ranked = gs.Explainer(nn.Sequential(*body, *rest).eval(), targets=target).layers(torch.rand(1, 3, 32, 32))
    assert ranked[0].name == "3"
    assert all("class-score map" in x.remark for x in ranked if x.channels == 1)


# The trial.


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


def test_the_trial_runs_once_and_is_told_in_passes() -> None:
    model, image = plain().eval(), torch.randn(1, 3, 32, 32)
    once = flops(lambda: model(image)).total()
    explainer = gs.Explainer(model, layer="4", targets=1)
    first, again = (flops(lambda: explainer(image)).total() for _ in range(2))
    assert (first - again) == 4 * once  # a pattern, noise, and noise that grows along two axes
    other = flops(lambda: explainer(image, layer="2")).total()
    assert other < 2 * again  # one trial tells of all layers


@pytest.mark.parametrize("image", [torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)])
def test_blank_images_tell_as_much(image: torch.Tensor) -> None:
    model = Tokens((4, 4), ORDERS["unrolled"]).eval()
    explainer = gs.Explainer(model, layer="block", targets=1)
    explainer(image)
    other = gs.Explainer(model, layer="block", targets=1)
    inputs = torch.randn(1, 3, 32, 32)
    np.testing.assert_array_equal(explainer(inputs).maps, other(inputs).maps)


@pytest.mark.parametrize("first", [0.1, 0.7, float("nan"), float("inf")])
@pytest.mark.parametrize("norm", [nn.Identity(), nn.InstanceNorm2d(3)])
def test_what_the_first_image_holds_does_not_matter_later(first: float, norm: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(norm, Tokens((4, 4), ORDERS["by columns"])).eval()
    explainer, image = gs.Explainer(model, layer="1.block", targets=1), torch.rand(1, 3, 32, 48)
    explainer(torch.full((1, 3, 32, 48), first))
    expected = gs.Explainer(model, layer="1.block", targets=1)(image).maps
    np.testing.assert_array_equal(explainer(image).maps, expected)


@pytest.mark.parametrize("function", [torch.log, torch.sqrt, torch.logit])
def test_models_that_make_no_numbers_of_noise_are_tried_from_0_to_1(function: Callable[[Any], Any]) -> None:
    class Through(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = Tokens((4, 4), ORDERS["by columns"])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inside(function(x))

    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 48) * 0.8 + 0.1
    changed = image.clone()
    changed[..., 8:12, 20:24] = 1 - changed[..., 8:12, 20:24]
    assert place_of_change(Through().eval(), image, changed, "inside.block") == (2, 5)


def test_queries_of_a_detector_are_no_positions_though_they_are_as_many() -> None:
    class Queries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.queries = nn.Conv2d(3, 32, 8, 8), nn.Parameter(torch.randn(1, 64, 32))
            layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
            self.decoder, self.fc = nn.TransformerDecoder(layer, 2), nn.Linear(32, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.backbone(x).flatten(2).transpose(1, 2)
            return self.fc(self.decoder(self.queries.expand(len(x), -1, -1), seen).mean(1))

    torch.manual_seed(0)
    model, image = Queries().eval(), torch.randn(1, 3, 64, 64)
    ranked = gs.Explainer(model).layers(image)
    assert ranked[0].name == "backbone"
    with pytest.raises(ModelError, match=r"no positions|no grid has"):
        gs.Explainer(model)(image, layer="decoder")


def test_models_that_refuse_what_no_image_holds_are_tried_within_its_values() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = Tokens((4, 4), ORDERS["unrolled"])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.min() < 0 or x.max() > 1:
                raise ValueError("pictures are in [0, 1]")
            return self.inside(x)

    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[..., 8:12, 20:24] = 1 - changed[..., 8:12, 20:24]
    assert place_of_change(Strict().eval(), image, changed, "inside.block") == (2, 5)


def test_where_nothing_tells_the_shape_does() -> None:
    """A model that answers to no change by noise: its values are rounded before the first layer."""

    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x * 0 + 1).relu().mean((2, 3)))

    model = Coarse().eval()
    found = gs.Explainer(model, layer="conv", targets=1)(torch.randn(1, 3, 32, 48))
    assert found.maps.shape == (1, 1, 4, 6)


def test_half_precision_tells_too() -> None:
    torch.manual_seed(0)
    model = Tokens((4, 4), ORDERS["windows in a row"]).eval().bfloat16()
    image = torch.randn(1, 3, 32, 48).bfloat16()
    assert chosen(model, image).layout.grid == (8, 12)
    check_places(model, image, (8, 12), "block")


def test_every_layer_that_is_named_has_the_layout_that_is_listed() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 64)
    for model in (Simple(2, token=True), Tokens((8, 8), ORDERS["windows"]), plain()):
        explainer = gs.Explainer(model.eval(), targets=1)
        for layer in explainer.layers(image):
            assert explainer(image, layer=layer.name).maps.shape[2:] == layer.layout.grid


# The layout itself.


@pytest.mark.parametrize(
    "layout",
    [
        Layout((0, 2, 1), (2, 3), 1, order=(1, 3, 5, 2, 4, 6)),
        Layout((0, 2, 1), (2, 3), 3, order=(8, 7, 3, 2, 1, 0)),
        Layout((0, 3, 1, 2), (4, 2), 0, 4, order=(7, 6, 5, 4, 3, 2, 1, 0)),
        Layout((0, 2, 1, 3), (3, 4), 0, 3),
    ],
)
def test_folding_and_unfolding_are_inverse(layout: Layout) -> None:
    tokens = 6 + layout.extra
    shape = {1: (2, tokens, 5), 4: (8, 2, 5), 3: (6, 5, 4)}[layout.frames or 1]
    array = np.random.default_rng(0).normal(size=shape)
    folded = layout.fold(array, np)
    assert folded.shape == (2, 5, *layout.grid)
    np.testing.assert_array_equal(layout.unfold(folded, array, np), array)
    if layout.frames == 0 and layout.order is not None:
        np.testing.assert_array_equal(folded.reshape(2, 5, -1), array[:, list(layout.order)].transpose(0, 2, 1))
    stacked = layout.fold(np.stack([array, 2 * array]), np)
    np.testing.assert_array_equal(stacked, np.stack([folded, 2 * folded]))


def test_a_weighted_correlation_is_that_of_repeated_numbers() -> None:
    generator = np.random.default_rng(0)
    a, b, counts = generator.normal(size=9), generator.normal(size=9), generator.integers(1, 5, 9)
    expected = np.corrcoef(np.repeat(a, counts), np.repeat(b, counts))[0, 1]
    assert correlation(a, b, counts.astype(float)) == pytest.approx(expected)
    assert correlation(np.ones(9), b, counts.astype(float)) == 0
