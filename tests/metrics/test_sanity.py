"""Metrics of sanity: facts by hand, models whose weights are taken away, and methods that do not look at the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_metrics import assert_same, expected
from torch import nn

import gradsight as gs
from cases_of import CLASSES, case_as_asked, case_of, images, network
from gradsight.backends.randomising import groups, randomised
from gradsight.cases.alike import ranks_alike, structure_alike
from gradsight.errors import ModelError
from gradsight.metric_registry import METRICS, as_metric
from gradsight.metrics.randomisation import randomisation
from sanity_oracles import forgotten, ssim
from states import state

pytestmark = pytest.mark.pytorch

PHOTO = Path(__file__).parents[2] / "docs" / "cat_and_coffee.jpg"


def test_how_alike_a_few_numbers_are() -> None:
    def ranked(one: Sequence[float], other: Sequence[float]) -> float:
        a, b = (np.array(x, float).reshape(1, 1, -1) for x in (one, other))
        return float(ranks_alike(a, b[None], "signed")[0, 0, 0])

    assert ranked([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)
    assert ranked([1, 1, 2, 2], [1, 2, 3, 4]) == pytest.approx(0.894427)
    assert ranked([-1, 1, 1], [0, 0, 2]) == pytest.approx(0.5)
    assert ranked([1, 2, 3], [7, 7, 7]) == 0
    assert np.isnan(ranked([7, 7, 7], [1, 2, 3]))
    zeros, ones = np.zeros((1, 1, 20, 20)), np.ones((1, 1, 20, 20))
    assert structure_alike(zeros, ones[None]).item() == pytest.approx(1e-4, rel=1e-3)
    noise = np.random.default_rng(0).random((1, 1, 20, 20))
    assert structure_alike(noise, noise[None]).item() == pytest.approx(1)


def test_structural_similarity_is_that_of_its_oracle() -> None:
    one, other = np.random.default_rng(0).random((2, 9, 13))
    other += one
    assert structure_alike(one[None, None], other[None, None, None]).item() == pytest.approx(ssim(one, other))


@pytest.mark.parametrize(
    "text",
    [
        "randomisation(by='ssim', steps=2)",
        "randomisation(steps=9, values='absolute')",
        "independentrandomisation(by='ssim', steps=1)",
        "independentrandomisation(steps=3)",
    ],
)
def test_options_of_randomisation_do_what_they_do_in_the_oracle(text: str) -> None:
    model, batch = network(), images()
    case = case_of(model, batch, CLASSES, layer="4")
    assert_same(as_metric(text)(case), expected(text, model, batch, case.maps))


@pytest.mark.parametrize("name", ["randomisation", "independentrandomisation"])
def test_the_users_model_stays_as_it_is(name: str) -> None:
    model, batch = network(), images()
    before, scores = state(model), model(batch)
    case = case_of(model, batch, CLASSES, layer="4")
    METRICS[name](case)
    assert state(model) == before
    assert torch.equal(model(batch), scores)
    assert np.array_equal(case_of(model, batch, CLASSES, layer="4").maps, case.maps)


class Recurrent(nn.Module):
    """What keeps its weights in a list of its own, what is given those of a layer inside, and weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.reader = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 5)
        self.again = nn.Linear(8, 5)
        self.again.weight = self.head.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        last = self.reader(tokens)[0][:, -1]
        return self.head(last) + self.again(last.sin())


@pytest.mark.parametrize("part", range(6))
def test_every_weight_can_be_replaced_wherever_the_model_keeps_it(part: int) -> None:
    torch.manual_seed(0)
    model = Recurrent().double().eval()
    case = case_of(model, images(), CLASSES, layer="stem")
    assert case.probe is not None
    names = case.probe.weighted
    assert names == (("",), ("stem",), ("attention", "attention.out_proj"), ("reader",), ("head",), ("again",))
    other, own = case.probe.randomised(names[part], 0), forgotten(model, list(names[part]))
    # A weight that two layers share is one.
    own.head.weight = own.again.weight = (own.again if part == 5 else own.head).weight
    with torch.no_grad():
        scores = own(torch.as_tensor(case.scoring.numpy(case.scoring.images))).numpy()[np.arange(2)[:, None], CLASSES]
    np.testing.assert_allclose(other.scores, scores, rtol=1e-9)
    assert not np.allclose(other.scores, case.probe.scores)


def test_layers_are_ordered_as_they_run_and_those_inside_belong_to_what_uses_them() -> None:
    calls = ["b#0", "a.x#0", "a#0", "b#1"]
    assert groups(calls, ["a.x", "", "a.y.z", "b", "c"], ".") == (("", "c"), ("b",), ("a.x",), ("a.y.z",))
    assert groups(["a/x#0"], ["a/x", "a/y"], "/") == (("a/y",), ("a/x",))


def test_random_weights_have_the_size_of_those_that_they_replace() -> None:
    values = np.random.default_rng(1).normal(3, 0.5, (64, 64))
    found = randomised(values, 0, "a.weight")
    assert found.mean() == pytest.approx(3, abs=0.05)
    assert found.std() == pytest.approx(0.5, rel=0.05)
    assert abs(np.corrcoef(found.ravel(), values.ravel())[0, 1]) < 0.1
    assert not np.array_equal(found, randomised(values, 1, "a.weight"))
    assert not np.array_equal(found, randomised(values, 0, "b.weight"))
    assert sorted(randomised(values[0], 0, "a.bias")) == sorted(values[0].astype(np.float32))


class Fixed(nn.Module):
    """A model whose weights are no weights to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.layer = torch.randn(4, 3, 3, 3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(nn.functional.conv2d(x, self.kernel)).mean((2, 3))


def test_a_model_whose_weights_cannot_be_replaced_is_told() -> None:
    case = case_of(Fixed(), images().float(), 1, layer="layer")
    with pytest.raises(ModelError, match="could be replaced"):
        randomisation(case)


def test_a_method_that_does_not_look_at_the_model_or_the_class_stays() -> None:
    case = case_of(network(), images(), CLASSES, layer="4", method="edge")
    for name in ("randomisation", "independentrandomisation", "logitrandomisation", "classsensitivity"):
        assert METRICS[name](case) == pytest.approx(1)
        assert as_metric(f"{name}(by=ssim)")(case) == pytest.approx(1)


def test_the_target_itself_is_no_other_class() -> None:
    model, batch = network(), images()
    least = model(batch).argmin(1).tolist()
    case = case_of(model, batch, [[c] for c in least], layer="4")
    for name in ("logitrandomisation", "classsensitivity"):
        assert (METRICS[name](case) < 1 - 1e-6).all()
    two = nn.Sequential(*network()[:-1], nn.Linear(16, 2)).double()
    assert METRICS["classsensitivity"](case_of(two, batch, 0, layer="4")).min() > -1
    two = copy.deepcopy(two)
    with torch.no_grad():
        two[-1].weight[1] = -two[-1].weight[0]
    opposite = case_of(two, batch, 0, layer="4")
    assert METRICS["classsensitivity"](opposite) == pytest.approx(-1)


def test_what_is_no_class_has_no_other() -> None:
    case = case_of(network(), images(), lambda out: out.sum(1), layer="4")
    for name in ("logitrandomisation", "classsensitivity"):
        assert np.isnan(METRICS[name](case)).all()


def photos() -> list[np.ndarray]:
    """Three parts of one photo."""
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    height, width = (side // 2 for side in pixels.shape[:2])
    return [pixels, pixels[:height], pixels[:, width:]]


def test_guided_backpropagation_looks_less_at_the_model_than_grad_cam() -> None:
    """arXiv:1810.03292: it hardly changes when the last layers lose what they learned."""
    model = gs.load_model("demo")
    ranks, pictures, last = ([], [], [])  # type: tuple[list[float], list[float], list[float]]
    for method in ("gradcam", "guidedbackprop"):
        case = case_as_asked(model, photos(), method)
        ranks.append(float(as_metric("randomisation(steps=3)")(case).mean()))
        pictures.append(float(as_metric("randomisation(steps=3, by=ssim)")(case).mean()))
        assert case.probe is not None
        assert case.explain is not None
        names = [name for part in case.probe.weighted[-20:] for name in part]
        last.append(float(ranks_alike(case.maps, case.explain(case.probe.randomised(names, 0))[None], "signed").mean()))
    assert ranks[0] < 0.3 < 0.45 < ranks[1]
    assert pictures[0] + 0.1 < pictures[1]
    assert last[0] < 0.4 < 0.9 < last[1]
