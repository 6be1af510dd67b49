"""What every explanation says of itself, on models whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from gradsight.explaining.notes import of_averages
from gradsight.explaining.strength import of_strength
from gradsight.registry import METHODS
from gradsight.variants import as_method

pytestmark = pytest.mark.pytorch


def codes(explanation: gs.Explanation) -> set[str]:
    return {note.code for row in explanation.target_notes for notes in row for note in notes}


def opposed() -> nn.Module:
    """The dark half counts for the score, and the bright one more strongly against it: a mean makes it the other way.

    With one channel, 1 in the left half and 3 in the right one, gradients +1 on the left and -2 on the right.
    """
    layer, dense = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(64, 2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1)
        slopes = torch.cat([torch.full((8, 4), -2.0), torch.full((8, 4), 3.0)], 1)
        dense.weight.copy_(torch.stack([slopes.flatten(), -slopes.flatten()]))
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten(), dense)


def picture() -> torch.Tensor:
    return torch.cat([torch.full((1, 1, 8, 4), 3.0), torch.full((1, 1, 8, 4), 0.1)], 3)


def test_averaged_weights_that_mislead_are_told_and_hirescam_is_named() -> None:
    explainer = gs.Explainer(opposed(), layer="1")
    cam, high = explainer(picture(), targets=0, method=["gradcam", "hirescam"])
    # The mean gradient is positive, and the map lies on the half that speaks against the class.
    assert cam.maps[0, 0, :, :4].min() > cam.maps[0, 0, :, 4:].max()
    assert high.maps[0, 0, :, 4:].min() > 0 > high.maps[0, 0, :, :4].max()
    assert "averaged_weights" in codes(cam)
    assert "averaged_weights" not in codes(high)
    note = next(note for note in cam.target_notes[0][0] if note.code == "averaged_weights")
    assert 'method="hirescam"' in note.text
    assert "--method hirescam" in note.in_shell
    alone = gs.Explainer(opposed(), layer="1")(picture(), targets=0)
    assert codes(alone) == codes(cam)
    np.testing.assert_array_equal(alone.maps, cam.maps)


class Gated(nn.Module):
    """A mean over positions, and of what is above 1 a score that reads each position by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.above = nn.Identity(), opposed()[3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        return x.mean((1, 2, 3))[:, None] + self.above((x - 1).relu().flatten(1))


def test_whether_gradients_are_even_is_looked_at_for_each_image() -> None:
    dark, bright = 0.2 * picture(), 1.5 + picture()
    explainer = gs.Explainer(Gated(), layer="layer")
    assert "averaged_weights" not in codes(explainer(dark, targets=0))
    # Behind the gate the gradients differ, whatever was explained before, and beside.
    assert "averaged_weights" in codes(explainer(bright, targets=0))
    both = explainer(torch.cat([dark, bright]), targets=0).target_notes
    assert ["averaged_weights" in {note.code for note in row[0]} for row in both] == [False, True]


def test_what_a_method_declares_tells_whether_its_weights_are_averages() -> None:
    assert [method.name for method in METHODS.values() if method.averaged] == ["gradcam"]
    assert not as_method("smooth(gradcam)").averaged
    plain = dataclasses.replace(METHODS["gradcam"], name="mine", averaged=False)
    explainer = gs.Explainer(opposed(), layer="1")
    assert "averaged_weights" not in codes(explainer(picture(), targets=0, method=plain))
    renamed = dataclasses.replace(METHODS["gradcam"], name="mine")
    assert "averaged_weights" in codes(explainer(picture(), targets=0, method=renamed))


@pytest.mark.parametrize("head", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_heads_that_read_all_positions_alike_give_no_alarm(head: nn.Module) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU())
    net = nn.Sequential(body, head, nn.Flatten(), nn.Linear(16, 4))
    found = gs.Explainer(net, layer="0")(torch.randn(20, 3, 12, 12), targets=gs.Top(2))
    assert "averaged_weights" not in codes(found)


def test_random_networks_that_read_each_position_by_itself_are_told() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 144, 4))
    found = gs.Explainer(net, layer="1")(torch.randn(20, 3, 12, 12))
    told = [any(note.code == "averaged_weights" for note in row[0]) for row in found.target_notes]
    assert sum(told) >= 15


def test_a_class_that_the_model_holds_for_impossible_is_told() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([4.0, -4.0]).reshape(2, 1, 1, 1))
        net[0].bias.zero_()  # type: ignore[union-attr]
    explainer = gs.Explainer(net, layer="0")
    assert "improbable_class" in codes(explainer(torch.ones(1, 1, 4, 4), targets=1))
    assert "improbable_class" not in codes(explainer(torch.ones(1, 1, 4, 4), targets=0))
    assert "improbable_class" not in codes(explainer(torch.ones(1, 1, 4, 4) / 4, targets=1))


class Branches(nn.Module):
    """Two ways from the picture to the scores, the second of them with a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.straight, self.branch, self.head = (weight, *self.ways(), nn.Linear(4, 6))

    @staticmethod
    def ways() -> tuple[nn.Module, nn.Module]:
        return nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.straight(x).relu() + self.weight * self.branch(x).relu()).mean((2, 3)))


def test_a_map_that_is_far_weaker_than_usual_is_told() -> None:
    batch = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    weak = gs.Explainer(Branches(0.001), layer="branch")(batch, targets=gs.Top(2))
    strong = gs.Explainer(Branches(100.0), layer="branch")(batch, targets=gs.Top(2))
    assert all("weak_map" in {note.code for note in notes} for row in weak.target_notes for notes in row)
    assert "weak_map" not in codes(strong)
    # No class stands beside it.
    assert "weak_map" not in codes(gs.Explainer(Branches(0.001), layer="branch")(batch, targets=lambda out: out[:, 0]))


def test_how_strong_a_map_is_needs_class_scores_that_differ() -> None:
    values, logits = np.full((3, 3), 0.01), np.array([0.0, 4.0, 2.0])
    (note,) = of_strength(values, logits)
    assert "6% of the spread" in note.text
    assert "--diagnose" in note.in_shell
    assert not of_strength(2 * values, logits)
    assert not of_strength(-values, logits)  # which has a note of its own
    assert not of_strength(values, np.ones(3))


def test_a_model_without_a_layer_that_all_of_the_score_passes_is_told() -> None:
    batch = torch.randn(1, 3, 12, 12)
    assert "bypassed" in codes(gs.Explainer(Branches(1.0))(batch))
    # Where a layer is named, nothing is looked at that would cost a pass.
    assert "bypassed" not in codes(gs.Explainer(Branches(1.0), layer="branch")(batch))
    straight = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert "bypassed" not in codes(gs.Explainer(straight)(batch))


def test_the_demo_model_on_a_photo_gives_no_alarm() -> None:
    photo = Path(__file__).parents[2] / "docs" / "cat_and_coffee.jpg"
    found = gs.Explainer("demo")(photo, targets=gs.Top(3))
    assert not {"averaged_weights", "improbable_class", "weak_map", "bypassed"} & codes(found)


def test_rounding_points_nowhere() -> None:
    rng = np.random.default_rng(0)
    values, other = rng.normal(size=(2, 7, 7)).astype(np.float32)
    assert of_averages(values, other)
    assert not of_averages(values, 1e-6 * other)
    assert not of_averages(values, np.zeros_like(other))
    assert not of_averages(-np.abs(values), other)
