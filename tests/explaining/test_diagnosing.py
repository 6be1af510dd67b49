"""What `diagnose=True` says of maps whose answer is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from cases_of import case_of, network
from conftest import ROOT
from costs import flops
from gradsight.cases import Case
from gradsight.cases.elsewhere import outdone
from gradsight.cases.passing import passing
from gradsight.errors import InvalidType
from gradsight.explaining import diagnosis
from states import state

pytestmark = pytest.mark.pytorch


def notes(explanation: gs.Explanation, i: int = 0, j: int = 0) -> dict[str, str]:
    return {note.code: note.text for note in explanation.target_notes[i][j]}


class Corner(nn.Module):
    """How bright the upper left quarter of an 8 x 8 layer is, for class 0 by positive weights alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4))
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.body[0].weight.abs_()
            self.head.weight[0].abs_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[:, :, :4, :4].mean((2, 3)))


def images(n: int = 1, size: int = 32) -> torch.Tensor:
    """Smooth noise, with a light in the upper left quarter."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(n, 3, size, size, generator=generator) - 0.5
    drawn[..., 4 : size // 2, 4 : size // 2] += 1
    return nn.functional.avg_pool2d(drawn, 5, 1, 2)


def diagnosed(model: nn.Module, **asked: Any) -> gs.Explanation:
    layer = asked.pop("layer", "body")
    asked.setdefault("targets", 0)
    found = gs.Explainer(model.eval(), layer=layer)(images(), diagnose=True, **asked)
    assert isinstance(found, gs.Explanation)
    return found


def at(rows: slice, columns: slice) -> Callable[..., Any]:
    """A method that is hot in one part of an 8 x 8 layer, whatever the model is."""

    def drawn(probe: Any, ops: Any) -> Any:
        del ops
        maps = torch.zeros(*probe.scores.shape, 8, 8)
        maps[..., rows, columns] = 1 + torch.rand(maps[..., rows, columns].shape, generator=torch.Generator())
        return maps

    return drawn


def test_a_map_where_the_model_looks_beats_chance_and_one_beside_it_does_not() -> None:
    right = notes(diagnosed(Corner(), method=at(slice(4), slice(4))))
    wrong = notes(diagnosed(Corner(), method=at(slice(4, None), slice(4, None))))
    assert "hardly_beats_random" not in right
    assert "hardly_beats_random" in wrong
    assert re.search(r"beats 1[89] of 19 maps laid elsewhere", right["diagnosed"])


def test_a_map_that_does_not_look_at_the_weights_survives_them() -> None:
    model = Corner().eval()
    before = state(model)
    explainer = gs.Explainer(model, layer="body")
    drawn = notes(explainer(images(), method=at(slice(4), slice(4)), diagnose=True))
    cam = notes(explainer(images(), targets=1, diagnose=True))
    assert "survives_random_weights" in drawn
    assert 'method="gradcam"' in drawn["survives_random_weights"]
    assert "1.00" in drawn["survives_random_weights"]
    assert "survives_random_weights" not in cam
    assert state(model) == before


class Strided(nn.Module):
    """Sees every other pixel alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 1, stride=2), nn.ReLU())
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


def test_a_map_of_pixels_that_does_not_move_with_the_picture_is_told() -> None:
    torch.manual_seed(0)
    assert "unstable_under_shift" in notes(diagnosed(Strided(), method="gradient"))
    assert "unstable_under_shift" not in notes(diagnosed(Corner()))


class Shaky(Corner):
    """Gradients that change their sign with the least change of the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((5000 * self.body(x)).sin().mean((2, 3)))


def test_a_map_that_noise_changes_is_told() -> None:
    # At each position by itself: where it is dark the gradient is steady.
    assert "unstable_under_noise" in notes(diagnosed(Shaky(), method="hirescam"))
    assert "unstable_under_noise" not in notes(diagnosed(Corner()))


class Bypassed(Corner):
    """Adds a little, by a branch, to what goes straight on."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight, self.branch, self.sum = weight, nn.Conv2d(6, 6, 1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        return self.head(self.sum(x + self.weight * self.branch(x)).mean((2, 3)))


def test_a_layer_that_most_of_the_score_bypasses_is_told() -> None:
    found = notes(diagnosed(Bypassed(0.01), layer="branch"))
    assert re.search(r"only (<1|\d)% of what moves the score", found["side_branch"])
    assert "side_branch" not in notes(diagnosed(Bypassed(100.0), layer="branch"))
    whole = notes(diagnosed(Bypassed(0.01), layer="sum"))
    assert "side_branch" not in whole
    assert "100% of what moves the score passes the layer" in whole["diagnosed"]


class Capped(Corner):
    """Scores that have reached their bounds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * (100 * super().forward(x)).tanh()


def test_a_score_whose_gradient_says_nothing_of_it_is_saturated() -> None:
    assert "hardly reacts" in notes(diagnosed(Capped()))["saturated"]
    assert "saturated" not in notes(diagnosed(Corner()))


def test_what_is_said_depends_on_nothing_beside_it() -> None:
    explainer, batch = gs.Explainer(Bypassed(0.3).eval(), layer="branch", batch_size=3), images(3)
    methods = ["layercam", "gradcam"]
    together = explainer(batch, targets=gs.Top(2), method=methods, diagnose=True)
    for i in range(3):
        for j in range(2):
            index = together[1].targets[i][j].index
            alone = explainer(batch[i : i + 1], targets=index, method="gradcam", diagnose=True)
            # But for the number of passes, which is that of the call.
            told = [
                {k: v.partition("model: ")[2] or v for k, v in found.items()}
                for found in (notes(alone), notes(together[1], i, j))
            ]
            assert told[0] == told[1]
    np.testing.assert_array_equal(together[1].maps, explainer(batch, targets=gs.Top(2)).maps)


@pytest.mark.parametrize("figure", [lambda case: outdone(case, 19, 0.3, "mean"), lambda case: passing(case).share])
def test_a_figure_of_an_image_is_that_of_the_image_alone(figure: Callable[[Case], Any]) -> None:
    model, batch = network(), torch.randn(3, 3, 9, 8, dtype=torch.float64)
    # Maps that outdo some and not all, and of whose score some goes past the layer.
    maps = np.random.default_rng(0).normal(size=(3, 2, 5, 4))
    together = figure(case_of(model, batch, [[0, 3]] * 3, layer="2", maps=maps))
    for i in range(3):
        alone = figure(case_of(model, batch[i : i + 1], [[0, 3]], layer="2", maps=maps[i : i + 1]))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)
    assert 0 < together.mean() <= 1


def test_maps_of_which_nothing_can_be_told_get_no_figure() -> None:
    maps = np.zeros((3, 1, 5, 4))
    maps[1, 0, 2] = 1
    maps[2, 0, 0, 0] = np.nan
    case = case_of(network(), torch.randn(3, 3, 9, 8, dtype=torch.float64), 0, layer="2", maps=maps)
    assert np.isnan(outdone(case, 5, 0.3, "mean"))[:, 0].tolist() == [True, False, True]


def test_the_passes_that_are_told_are_those_that_run() -> None:
    model, batch = Bypassed(1.0).eval(), images()
    explainer = gs.Explainer(model, layer="sum")
    explainer(batch, diagnose=True)  # sees how the model takes several rows
    once = flops(lambda: model(batch))["addmm"]
    found: list[gs.Explanation] = []
    counted = flops(lambda: found.append(explainer(batch, diagnose=True)))["addmm"]
    told = re.match(r"checked in at most (\d+) further passes", notes(found[0])["diagnosed"])
    assert told is not None
    assert int(told[1]) == 30
    # The one that finds the order of the layers is run once for all calls.
    assert counted == (1 + int(told[1]) - 1) * once


class Fixed(nn.Module):
    """A model whose weights are no weights to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.body = torch.randn(4, 3, 3, 3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(nn.functional.conv2d(x, self.kernel)).mean((2, 3))


def test_a_check_that_cannot_be_made_is_told_and_the_others_are() -> None:
    found = notes(diagnosed(Fixed()))
    assert "random weights: not checked, since none of this model's weights could be replaced" in found["diagnosed"]
    assert "maps laid elsewhere" in found["diagnosed"]


def test_nothing_is_checked_where_nobody_asks() -> None:
    plain = gs.Explainer(Corner().eval(), layer="body")(images())
    assert "diagnosed" not in notes(plain)
    with pytest.raises(InvalidType, match="diagnose"):
        gs.Explainer(Corner().eval(), layer="body")(images(), diagnose="yes")  # type: ignore[call-overload]


def test_the_page_on_reading_a_map_has_all_codes_of_checks() -> None:
    source = Path(diagnosis.__file__).read_text(encoding="utf-8")
    page = (ROOT / "docs/reading.md").read_text(encoding="utf-8")
    codes = re.findall(r'_note\(\s*"(\w+)"', source)
    assert len(codes) == 6
    assert all(f"`{code}`" in page for code in [*codes, "diagnosed", "weak_map", "bypassed"])


def test_photos_streams_and_one_call_say_the_same() -> None:
    photo = (images()[0].permute(1, 2, 0).numpy() * 120).astype(np.uint8)
    model = Corner().eval()
    explainer = gs.Explainer(model, layer="body", preprocess=gs.Preprocess(32))
    called = explainer([photo], diagnose=True)
    with explainer.stream([photo], diagnose=True) as stream:
        (streamed,) = (done.explanations[0] for done in stream)
    one = gs.explain(photo, model, layer="body", preprocess=gs.Preprocess(32), diagnose=True)
    assert notes(called) == notes(streamed) == notes(one)
    assert "diagnosed" in notes(one)


@pytest.mark.parametrize("method", ["refine(layercam)", "gradient"])
def test_a_method_of_several_layers_or_of_the_image_is_checked_too(method: str) -> None:
    explainer = gs.Explainer(Corner().eval(), layer=["body.0", "body"])
    found = notes(explainer(images(), method=[method], diagnose=True)[0])
    assert "with random weights it correlates" in found["diagnosed"]
    assert "passes the layer" not in found["diagnosed"]
