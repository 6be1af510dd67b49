"""Methods of attention against their oracles, which see it by hand, and what of a model's attention they need."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import gradsight as gs
from attending import Attended, spelled_out
from gradsight.attention import NoAttention
from gradsight.backends.torch import attention
from gradsight.errors import InvalidArgument
from gradsight.registry import METHODS
from oracles import ORACLES
from toys import Tokens, convolutional

pytestmark = pytest.mark.pytorch

NAMES = [name for name in METHODS if METHODS[name].attends]
CLASSES = [[0, 3], [4, 1]]


def toy(**options: Any) -> tuple[nn.Module, torch.Tensor]:
    return Tokens(**options).double().eval(), torch.randn(2, 3, 16, 16, dtype=torch.float64)


def by_hand(model: Tokens, batch: torch.Tensor, **options: Any) -> Attended:
    """The toy's attention; a row for each image."""
    return Attended(
        spelled_out(model),
        [batch[i : i + 1] for i in range(len(batch))],
        lambda outputs, i: [outputs[0, c] for c in CLASSES[i]],
        blocks=["blocks.0", "blocks.1"],
        kinds=[(0, 0)] * 2,
        grid=(4, 4),
        **options,
    )


def assert_same(maps: Any, other: Any, tolerance: float = 1e-6) -> None:
    assert maps.shape == other.shape
    assert np.abs(other).max() > 0
    np.testing.assert_allclose(maps, other, atol=tolerance * np.abs(other).max(), rtol=0)


def expected(text: str, view: Attended) -> Any:
    name, _, options = text.partition("(")
    call = ast.parse(f"f({options or ')'}", mode="eval").body
    return ORACLES[name](view, **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})


@pytest.mark.parametrize("extra", [1, 3])
@pytest.mark.parametrize("sequence_first", [False, True])
def test_each_method_equals_its_oracle(extra: int, sequence_first: bool) -> None:
    model, batch = toy(extra=extra, sequence_first=sequence_first)
    view = by_hand(model, batch, extra=extra, token_axis=0 if sequence_first else 1)
    for found in gs.Explainer(model, method=NAMES)(batch, targets=CLASSES):
        assert found.maps.dtype == np.float32
        assert_same(found.maps, expected(found.method, view))


OPTIONS = [
    "attention(head=1)",
    "attentionrollout(heads='max')",
    "attentionrollout(heads='min')",
    "attentionrollout(discard=0.9)",
    "attentionrollout(start=1)",
    "legrad(blocks=1)",
]


@pytest.mark.parametrize("text", OPTIONS)
def test_options_do_what_they_do_in_the_oracle(text: str) -> None:
    model, batch = toy(extra=2)
    plain, changed = gs.Explainer(model, method=[text.partition("(")[0], text])(batch, targets=CLASSES)
    assert changed.method == text
    assert_same(changed.maps, expected(text, by_hand(model, batch, extra=2)))
    assert np.abs(changed.maps - plain.maps).max() > 0


@pytest.mark.parametrize("text", NAMES)
def test_an_image_is_explained_alike_alone_and_beside_others_and_with_other_methods(text: str) -> None:
    model, batch = toy()
    together = gs.Explainer(model, method=[*NAMES, "gradcam"])(batch, targets=CLASSES)
    both = next(found for found in together if found.method == text)
    for i in range(2):
        alone = gs.Explainer(model, method=text)(batch[i : i + 1], targets=CLASSES[i : i + 1])
        assert_same(alone.maps, both.maps[i : i + 1])
        for j in range(2):
            one = gs.Explainer(model, method=text)(batch[i : i + 1], targets=[CLASSES[i][j]])
            assert_same(one.maps[:, 0], both.maps[i : i + 1, j])


def test_rollout_and_raw_attention_are_told_to_be_the_same_for_all_classes() -> None:
    model, batch = toy()
    for found in gs.Explainer(model, method=NAMES)(batch, targets=CLASSES):
        told = {note.code for notes in found.target_notes[0] for note in notes}
        assert ("same_for_all" in told) == (found.method in ("attention", "attentionrollout"))


def test_an_image_that_is_not_finite_leaves_those_beside_it_alone() -> None:
    model, batch = toy()
    right = gs.Explainer(model, method=NAMES)(batch[:1], targets=CLASSES[:1])
    batch[1] = torch.nan
    for found, alone in zip(gs.Explainer(model, method=NAMES)(batch, targets=CLASSES), right, strict=True):
        assert_same(found.maps[:1], alone.maps)
        assert np.isnan(found.maps[1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_precisions_give_the_map_of_double_precision(dtype: torch.dtype) -> None:
    model, batch = toy()
    right = gs.Explainer(model, method=NAMES)(batch, targets=CLASSES)
    found = gs.Explainer(model.to(dtype), method=NAMES)(batch, targets=CLASSES)
    for a, b in zip(found, right, strict=True):
        assert_same(a.maps, b.maps, 2e-5 if dtype == torch.float32 else 0.1)


def test_scores_that_do_not_change_give_maps_of_zeros() -> None:
    model, batch = toy()
    nn.init.zeros_(model.head.weight)
    for found in gs.Explainer(model, layer="blocks.0", method=["attentionrollout", "gradientrollout", "legrad"])(
        batch, targets=1
    ):
        assert not found.maps.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attention(head=2)", "`head` must be less than the 2 heads"),
        ("attention(head=-1)", "`head` must be a whole number"),
        ("attentionrollout(start=2)", "`start` must be less than the model's 2 blocks"),
        ("attentionrollout(discard=1)", "`discard` must be"),
        ("legrad(blocks=3)", "`blocks` must be at most the model's 2 blocks"),
    ],
)
def test_an_option_out_of_range_is_one_clear_error(text: str, message: str) -> None:
    model, batch = toy()
    with pytest.raises(InvalidArgument, match=message):
        gs.Explainer(model, method=text)(batch, targets=1)


class Windows(nn.Module):
    """Attention within four windows, then over all tokens, as in the last stage of a Swin transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 5)
        self.inner, self.outer = (nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        windows = x.reshape(4 * len(x), -1, 8)
        x = x + self.inner(windows, windows, windows)[0].reshape(x.shape)
        return self.head(self.norm(x + self.outer(x, x, x)[0]).mean(1))


class Merging(Windows):
    """Every other token is dropped between two blocks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.inner(x, x, x)[0]
        x = x[:, ::4]
        return self.head(self.norm(x + self.outer(x, x, x)[0]).mean(1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (convolutional, "no attention was seen in this model"),
        (Windows, r"one call has weights of shape \(4, 2, 16, 16\).* windows"),
        (Merging, r"one call has weights of shape \(1, 2, 16, 16\).*pruned or merged"),
    ],
)
@pytest.mark.parametrize("text", NAMES)
def test_what_is_no_attention_over_the_layer_s_tokens_is_refused_in_words(build: Any, message: str, text: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(NoAttention, match=message + ".*'gradcam'"):
        gs.Explainer(build().eval(), method=text)(torch.randn(1, 3, 16, 16), targets=1)


def test_compare_offers_them_where_the_model_has_attention_and_shows_no_row_for_them_elsewhere() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    photo, preprocess = Image.fromarray(pixels), gs.Preprocess(16)
    for model, offered in ((Tokens().eval(), set(NAMES)), (convolutional(), set())):
        found = gs.compare(photo, gs.Explainer(model, preprocess=preprocess))
        assert {row.method.name for row in found.rows if row.method.attends} == offered
        assert not [row for row in found.failed if row.method.attends]
    named = gs.compare(photo, gs.Explainer(convolutional(), preprocess=preprocess), methods=["gradcam", "legrad"])
    assert [row.method.name for row in named.failed] == ["legrad"]


class Products(TorchFunctionMode):
    """Counts the calls of attention, each way that a pass goes through a toy."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.passes += func is F.conv2d
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("text", NAMES)
def test_the_declared_cost_is_that_of_the_passes_that_run(text: str, count: int) -> None:
    model, batch = toy()
    explainer = gs.Explainer(model, method=text)
    targets = [list(range(count))]
    explainer(batch[:1], targets=targets)  # looks at the layers, at attention, and at the blocks

    def passes(*methods: str) -> int:
        with Products() as counted:
            explainer(batch[:1], targets=targets, method=list(methods))
        return counted.passes

    back = count if METHODS[text].gradient and text != "attentionrollout" else 0
    assert passes(text) + back == METHODS[text].cost(12, count)
    # Beside Grad-CAM one pass more, as declared; what needs no attention sees none of it.
    assert passes("gradcam") == 1
    assert passes("gradcam", text) == 2


def test_a_gradient_of_one_call_records_no_graph_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = toy()
    recorded: list[list[bool]] = []
    seen = attention._run
    monkeypatch.setattr(
        attention,
        "_run",
        lambda running, inputs, seeing, *rest: (
            seen(running, inputs, seeing, *rest),
            recorded.append([w.requires_grad for w in seeing.weights]),
        )[0],
    )
    for text in ("attentionrollout", "gradientrollout"):
        recorded.clear()
        gs.Explainer(model, method=text)(batch, targets=1)
        assert recorded == [[False, False]] * 2 + [[text == "gradientrollout", True]]


def codes(model: nn.Module, batch: torch.Tensor, **options: Any) -> list[set[str]]:
    found = gs.Explainer(model, **options)(batch, targets=1)
    return [{note.code for note in notes} for (notes,) in found.target_notes]


def test_tokens_beside_the_picture_and_tokens_far_longer_than_others_are_told() -> None:
    for extra in (1, 2, 5):
        model, batch = toy(extra=extra)
        assert codes(model, batch) == [{"extra_tokens"} if extra > 1 else set()] * 2
    model, batch = toy()
    batch[1, :, :4, :4] *= 40  # one token of the second image alone
    assert codes(model, batch, layer="blocks.0") == [set(), {"artefact_tokens"}]
    batch[1] *= 40
    assert codes(model, batch, layer="blocks.0") == [set(), {"artefact_tokens"}]  # by the median, not by a size
    assert codes(convolutional().double(), batch) == [set(), set()]


@pytest.mark.parametrize("seed", range(20))
def test_no_random_transformer_has_artefacts(seed: int) -> None:
    torch.manual_seed(seed)
    model, batch = Tokens(patch=2).eval(), torch.rand(4, 3, 16, 16) ** 3
    batch[3] = 0
    batch[3, :, 4:8, 4:8] = 1  # a thing on a blank ground
    for layer in ("blocks.0", "blocks.0.mlp.1", "blocks.1.norm"):
        assert not any("artefact_tokens" in found for found in codes(model, batch, layer=layer))
