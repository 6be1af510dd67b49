"""A segmentation network passed as it is: a class means its mean over the picture, and a note tells so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import tiny_transformers
from gradsight.errors import InvalidArgument, ModelError
from tolerances import rounding

pytestmark = pytest.mark.pytorch

NOTE = "a class was taken as its mean over the picture"
IMAGES = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(3))


class UNet(nn.Module):
    """Two resolutions, joined again; ``wrap`` makes of the map what the model gives."""

    def __init__(self, classes: int = 4, wrap: Callable[[torch.Tensor], Any] = lambda x: x, axes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(1)
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.fine = nn.Sequential(conv(3, 6, 3, 2, 1), nn.Tanh())
        self.coarse = nn.Sequential(conv(6, 6, 3, 2, 1), nn.Tanh())
        self.joined = nn.Sequential(conv(12, 6, 3, 1, 1), nn.Tanh())
        self.head, self.wrap = conv(6, classes, 1), wrap

    def forward(self, x: torch.Tensor) -> Any:
        fine = self.fine(x)
        coarse = nn.functional.interpolate(self.coarse(fine), fine.shape[2:])
        return self.wrap(self.head(self.joined(torch.cat([fine, coarse], 1))))


def judged(model: UNet, images: torch.Tensor, which: int, read: Callable[[Any], torch.Tensor]) -> tuple[Any, Any]:
    """The means of a class, and Grad-CAM's maps of them at the joined features, from PyTorch alone."""
    held: list[torch.Tensor] = []
    handle = model.joined.register_forward_hook(lambda *a: held.append(a[2]))
    scores = read(model(images))[:, which].flatten(1).mean(1)
    handle.remove()
    gradient = torch.autograd.grad(scores.sum(), held[0])[0]
    weights = gradient.flatten(2).mean(2)[(..., *[None] * (held[0].ndim - 2))]
    return scores.detach().numpy(), (weights * held[0]).sum(1).detach().numpy()


def itself(x: torch.Tensor) -> torch.Tensor:
    return x


WRAPS: dict[str, tuple[Callable[..., Any], Callable[[Any], torch.Tensor]]] = {
    "a tensor": (itself, itself),
    "out and aux": (lambda x: {"aux": x * 2, "out": x}, lambda o: o["out"]),
    "logits": (lambda x: {"logits": x[:, :, ::2, ::2], "hidden_states": (x, x)}, lambda o: o["logits"]),
    "a list": (lambda x: [x], lambda o: o[0]),
    "named, beside another": (lambda x: {"depth": x[:, :1] * 3, "logits": x}, lambda o: o["logits"]),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_class_is_its_mean_over_the_picture(wrap: str) -> None:
    make, read = WRAPS[wrap]
    model = UNet(wrap=make).eval()
    explainer = gs.Explainer(model, labels=["ground", "road", "car", "tree"])
    means = read(model(IMAGES)).mean((2, 3)).detach()
    for target, which in (("car", 2), (1, 1)):
        scores, maps = judged(model, IMAGES, which, read)
        found = explainer(IMAGES, targets=target, layer="joined")
        np.testing.assert_allclose(found.scores[:, 0], scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.maps[:, 0], maps, atol=rounding(terms=384, layers=4) * np.abs(maps).max())
        assert all(NOTE in " ".join(map(str, row[0])) for row in found.target_notes)
    best = explainer(IMAGES)
    assert [row[0].index for row in best.targets] == means.argmax(1).tolist()
    assert best.layer == "joined"
    assert best.predictions == ()  # means of logits are no logits of the picture
    np.testing.assert_allclose(
        explainer(IMAGES, targets=gs.Top(4)).scores, means.sort(descending=True).values, rtol=1e-4
    )


def test_it_is_what_pixels_of_the_whole_picture_are_which_has_no_such_note() -> None:
    explainer = gs.Explainer(UNet().eval(), layer="joined")
    found, pixels = explainer(IMAGES, targets=3), explainer(IMAGES, targets=gs.Pixels(3))
    np.testing.assert_allclose(found.maps, pixels.maps, atol=1e-5 * np.abs(found.maps).max())
    assert not any(NOTE in note.text for row in pixels.target_notes for notes in row for note in notes)
    for method in ("scorecam", "layercam", "finercam(rivals=2)", "occlusion"):
        assert explainer(IMAGES, targets=3, method=method).maps.any(), method


@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid()])
def test_a_map_of_one_channel_is_one_class_or_with_two_labels_it_and_its_negation(end: nn.Module) -> None:
    model = UNet(1, end).eval()
    mean = model(IMAGES).mean((1, 2, 3)).detach().numpy()
    alone = gs.Explainer(model, layer="joined")(IMAGES)
    np.testing.assert_allclose(alone.scores[:, 0], mean, rtol=1e-4)
    assert alone.targets[0][0].index == 0
    both = gs.Explainer(model, labels=["sound", "ill"], layer="joined")(IMAGES, targets=gs.Classes("sound", "ill"))
    against = 1 - mean if isinstance(end, nn.Sigmoid) else -mean
    np.testing.assert_allclose(both.scores, np.stack([against, mean], 1), rtol=1e-4)
    np.testing.assert_allclose(both.maps[:, 0], -both.maps[:, 1], atol=1e-6 * np.abs(both.maps).max())
    notes = " ".join(map(str, both.target_notes[0][0]))
    assert NOTE in notes
    assert ("are probabilities (sigmoid)" in notes) == isinstance(end, nn.Sigmoid)


def test_volumes_have_classes_too() -> None:
    model, volumes = UNet(axes=3).eval(), torch.rand(2, 3, 8, 16, 12)
    scores, maps = judged(model, volumes, 2, itself)
    found = gs.Explainer(model, layer="joined")(volumes, targets=2)
    np.testing.assert_allclose(found.scores[:, 0], scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.maps[:, 0], maps, atol=rounding(terms=384, layers=4) * np.abs(maps).max())


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_torchvision_as_it_is(name: str) -> None:
    from torchvision.models import segmentation

    model = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5).eval()
    images = torch.rand(1, 3, 64, 64)
    found = gs.Explainer(model)(images, targets=3)
    expected = float(model(images)["out"][:, 3].mean().detach())
    assert found.scores[0, 0] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert NOTE in " ".join(map(str, found.target_notes[0][0]))


def test_segformer_as_it_is_gives_the_map_of_its_source(tmp_path: Any) -> None:
    model = tiny_transformers.save("segformer", tmp_path)
    images = torch.rand(1, 3, 64, 64)
    bare = gs.Explainer(model)(images, targets=2)
    loaded = gs.Explainer(gs.load_model(tmp_path))(images, targets=2)
    assert bare.layer == loaded.layer
    np.testing.assert_allclose(bare.scores, loaded.scores, rtol=1e-4)
    np.testing.assert_allclose(bare.maps, loaded.maps, atol=1e-4 * np.abs(loaded.maps).max())


@pytest.mark.parametrize(
    ("wrap", "labels", "error", "message"),
    [
        (lambda x: [x, x * 2], None, InvalidArgument, r"several outputs.*outputs\[0\] \(2, 4, 16, 24\).*averaged over"),
        (itself, ["a", "b", "c"], InvalidArgument, "3 labels for 4 scores.*that of the background too"),
        (lambda x: (x, x.flatten(2).mT), None, ModelError, "one row of class scores"),
        (lambda x: (x, x[:, 0]), None, ModelError, "one row of class scores"),
    ],
)
def test_what_stays_open_is_said_in_words(wrap: Any, labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gs.Explainer(UNet(wrap=wrap), labels=labels, layer="joined")(IMAGES, targets=1)


def test_of_several_maps_the_one_is_meant_that_the_labels_fit() -> None:
    model = UNet(wrap=lambda x: {"depth": x[:, :1], "parts": x[:, :3]}).eval()
    found = gs.Explainer(model, labels=["a", "b", "c"], layer="joined")(IMAGES, targets="c")
    expected = model(IMAGES)["parts"][:, 2].mean((1, 2)).detach()
    np.testing.assert_allclose(found.scores[:, 0], expected, rtol=1e-4, atol=1e-6)
