"""Functions that take a method and return one, and the language in which methods are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import GradsightError, InvalidArgument, InvalidType
from gradsight.ranges import options_of
from gradsight.registry import METHODS, Method
from gradsight.variants import VARIANTS, as_method, with_options
from oracles import ORACLES, first_principal, fused
from plain import Plain

CLASSES = [[0, 3], [4, 1], [2, 0]]


def images(n: int = 3, size: tuple[int, ...] = (12, 10)) -> torch.Tensor:
    return torch.randn(n, 3, *size, dtype=torch.float64)


def maps_of(method: Any, model: nn.Module, batch: Any, layer: Any = "4", targets: Any = CLASSES, **options: Any) -> Any:
    found = gs.Explainer(model, layer=layer, method=method, **options)(batch, targets=targets)
    return (found[0] if isinstance(found, tuple) else found).maps


def assert_same(maps: Any, expected: Any, tolerance: float = 1e-6) -> None:
    assert maps.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(maps, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


# --- smooth


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [("gradcam", 1), ("gradcam", 8), ("gradcam", 32), ("layercam", 8), ("eigencam", 1), ("gradient", 7), ("fem", 32)],
)
def test_smooth_is_the_mean_over_six_versions_of_the_image(name: str, batch_size: int) -> None:
    model, batch = toys.curved().double(), images()
    total = 0
    for factor in (0.9, 1.0, 1.1):
        total = total + ORACLES[name](Plain(model, "4", factor * batch, CLASSES))
        mirrored = ORACLES[name](Plain(model, "4", factor * batch.numpy()[..., ::-1].copy(), CLASSES))
        total = total + mirrored[..., ::-1]
    assert_same(maps_of(f"smooth({name})", model, batch, batch_size=batch_size), total / 6)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_smooth_mirrors_the_last_axis_of_signals_and_volumes(dimensions: int) -> None:
    model, batch = toys.curved(dimensions=dimensions).double(), images(2, (12, 10, 8)[:dimensions])
    versions = []
    for factor in (0.9, 1.0, 1.1):
        versions.append(ORACLES["gradcam"](Plain(model, "4", factor * batch, CLASSES[:2])))
        flipped = ORACLES["gradcam"](Plain(model, "4", factor * batch.flip(-1), CLASSES[:2]))
        versions.append(np.flip(flipped, axis=-1))
    assert_same(maps_of("smooth(gradcam)", model, batch, targets=CLASSES[:2]), sum(versions) / 6)


@pytest.mark.parametrize("name", ["gradcam", "gradcampp", "eigencam"])
def test_the_smooth_map_of_a_mirrored_image_is_the_mirrored_map(name: str) -> None:
    model, batch = toys.curved().double(), images()
    smoothed, mirrored = (maps_of(f"smooth({name})", model, x) for x in (batch, batch.flip(-1)))
    assert_same(mirrored, smoothed[..., ::-1])
    plain, turned = (maps_of(name, model, x) for x in (batch, batch.flip(-1)))
    assert np.abs(turned - plain[..., ::-1]).max() > 1e-3 * np.abs(plain).max()  # the network itself is not symmetric


# --- eigen_smooth


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "layercam", "gradcampp", "xgradcam"])
@pytest.mark.parametrize("layer", ["4", "3"])
def test_eigen_smooth_is_the_first_principal_part_of_the_channels(name: str, layer: str) -> None:
    model, batch = toys.curved().double(), images()
    view = Plain(model, layer, batch, CLASSES)
    n, c = view.activations.shape[:2]
    expected = np.zeros((n, 2, *view.activations.shape[2:]))
    parts = np.stack(
        [ORACLES[name](view.activations[:, [i]], view.gradients[:, :, [i]]) for i in range(c)]
        if name != "gradcampp"
        else [_part(view, i) for i in range(c)],
        axis=2,
    )
    for i, j in np.ndindex(n, 2):
        expected[i, j] = first_principal(parts[i, j])
    assert_same(maps_of(f"eigen_smooth({name})", model, batch, layer), expected)


def _part(view: Plain, channel: int) -> Any:
    """Grad-CAM++ of one channel, whose row needs the scores."""
    alone = Plain.__new__(Plain)
    alone.__dict__.update(view.__dict__)
    alone.activations = view.activations[:, [channel]]
    alone.gradients = view.gradients[:, :, [channel]]
    return ORACLES["gradcampp"](alone)


@pytest.mark.parametrize(
    "name", ["eigencam", "scorecam", "ablationcam", "shapleycam", "fem", "finercam", "cam", "random"]
)
def test_eigen_smooth_refuses_what_it_cannot_take_apart(name: str) -> None:
    model = toys.convolutional() if name == "cam" else toys.curved()
    with pytest.raises(InvalidArgument, match=r"takes a method apart into its channels.*such as gradcam.*asks for `"):
        maps_of(f"eigen_smooth({name})", model, images())


@pytest.mark.parametrize("text", ["eigen_smooth(gradient)", "eigen_smooth(refinecam)", "eigen_smooth(fuse(gradcam))"])
def test_eigen_smooth_refuses_what_looks_at_no_layer_or_at_several(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"needs a method that looks at one layer. Received: '"):
        gs.Explainer(toys.curved(), method=text)


# --- contrast


@pytest.mark.parametrize("name", ["gradcam", "layercam", "gradcampp", "gradient", "ablationcam"])
@pytest.mark.parametrize(("rivals", "strength"), [(3, 1.0), (1, 0.5), (4, 2.0)])
def test_contrast_is_the_method_of_the_score_minus_its_rivals(name: str, rivals: int, strength: float) -> None:
    model, batch = toys.curved().double(), images()
    logits = Plain(model, "4", batch, CLASSES).logits

    def difference(j: int) -> Any:
        def score(outputs: torch.Tensor, image: int) -> torch.Tensor:
            own = CLASSES[image][j]
            others = sorted(set(range(5)) - {own}, key=lambda d: abs(logits[image, d] - logits[image, own]))
            return outputs[0, own] - strength * sum(outputs[0, d] for d in others[:rivals]) / rivals

        return score

    expected = ORACLES[name](Plain(model, "4", batch, [difference(0), difference(1)]))
    assert_same(maps_of(f"contrastive({name}, rivals={rivals}, strength={strength})", model, batch), expected)


def test_contrast_of_grad_cam_is_finer_cam_at_its_strength() -> None:
    model, batch = toys.curved().double(), images()
    assert_same(maps_of("contrastive(gradcam, strength=0.6)", model, batch), maps_of("finercam", model, batch))


def test_rivals_are_the_nearest_scores_above_or_below_and_ties_go_to_the_lower_class() -> None:
    class Fixed(nn.Module):
        """Scores 0, 3, 4, 10, 3.5: nearest to class 1 is 4, then 2, then 0; class 3 lies far from all."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer(x).mean((2, 3))
            return x - x.detach() + torch.tensor([0.0, 3.0, 4.0, 10.0, 3.5], dtype=x.dtype)

    model, batch = Fixed().double(), images(1)
    found = maps_of("contrastive(gradcam, rivals=2)", model, batch, "layer", [1])
    one, rivals = (maps_of("gradcam", model, batch, "layer", gs.Classes(*c)) for c in ((1,), (4, 2)))
    assert_same(found[:, 0], one[:, 0] - rivals.mean(axis=1))
    tied = maps_of("contrastive(gradcam, rivals=1)", model, batch, "layer", [4])
    assert_same(tied[:, 0], (maps_of("gradcam", model, batch, "layer", [4]) - one)[:, 0])


def test_more_rivals_than_there_are_classes_are_all_of_them() -> None:
    model, batch = toys.curved().double(), images()
    for name in ("finercam(rivals={})", "contrastive(layercam, rivals={})"):
        assert_same(maps_of(name.format(9), model, batch), maps_of(name.format(4), model, batch))


# --- fuse, refine


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("fuse({})", np.mean),
        ("fuse({}, by='max')", np.max),
        ("fuse({}, by='product')", np.prod),
        ("refine({})", np.prod),
    ],
)
@pytest.mark.parametrize("name", ["gradcam", "layercam"])
def test_maps_of_several_layers_are_put_together(text: str, together: Any, name: str) -> None:
    model, batch = toys.curved().double(), images()
    parts = [ORACLES[name](Plain(model, layer, batch, CLASSES)) for layer in ("2", "4", "5")]
    expected = fused(parts, (12, 10), together)
    explanation = gs.Explainer(model, layer=["2", "4", "5"], method=text.format(name))(batch, targets=CLASSES)[0]
    assert explanation.layers == ("2", "4", "5")
    assert_same(explanation.maps, expected)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_signals_and_volumes_are_put_together_too(dimensions: int) -> None:
    size = (12, 10, 8)[:dimensions]
    model, batch = toys.curved(dimensions=dimensions).double(), images(2, size)
    parts = [ORACLES["gradcam"](Plain(model, layer, batch, CLASSES[:2])) for layer in ("2", "4")]
    found = maps_of("fuse(gradcam, by='max')", model, batch, ["2", "4"], CLASSES[:2])
    assert_same(found, fused(parts, size, np.max))


def test_refinecam_is_refined_grad_cam_plus_plus() -> None:
    model, batch = toys.curved().double(), images()
    assert_same(maps_of("refine(gradcampp)", model, batch, ["2", "4"]), maps_of("refinecam", model, batch, ["2", "4"]))


def test_one_layer_is_not_enough_to_fuse_so_each_resolution_gives_one() -> None:
    model, batch = toys.curved().double(), images()
    explanation = gs.Explainer(model, method="fuse(gradcam)")(batch, targets=CLASSES)
    assert explanation.layers == ("2", "6", "7")  # of each resolution the last one
    parts = [ORACLES["gradcam"](Plain(model, layer, batch, CLASSES)) for layer in ("2", "6", "7")]
    assert_same(explanation.maps, fused(parts, (12, 10), np.mean))


@pytest.mark.parametrize("text", ["fuse(gradient)", "refine(refinecam)", "fuse(fuse(gradcam))"])
def test_only_methods_of_one_layer_can_be_fused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="a method that looks at one layer can be fused over several"):
        gs.Explainer(toys.curved(), method=text)


def test_maps_are_scaled_before_they_are_put_together() -> None:
    model, batch = toys.curved().double(), images(1)
    loud = toys.curved().double()
    loud.load_state_dict(model.state_dict())
    with torch.no_grad():
        loud[9].weight *= 1000
        loud[9].bias *= 1000
    quiet, noisy = (maps_of("fuse(gradcam)", m, batch, ["2", "4"], CLASSES[:1]) for m in (model, loud))
    assert_same(quiet, noisy)
    assert quiet.min() == 0
    assert quiet.max() == 1


# --- nesting, names, the Python form


def test_variants_of_variants() -> None:
    model, batch = toys.curved().double(), images()
    nested = maps_of("smooth(contrastive(gradcam, rivals=2))", model, batch)
    total: Any = 0
    for factor in (0.9, 1.0, 1.1):
        total = total + maps_of("contrastive(gradcam, rivals=2)", model, factor * batch).astype(float)
        total = (
            total + maps_of("contrastive(gradcam, rivals=2)", model, factor * batch.flip(-1)).astype(float)[..., ::-1]
        )
    assert_same(nested, total / 6)
    every_rival = maps_of("smooth(contrastive(gradcam, rivals=4))", model, batch)
    assert_same(maps_of("contrastive(smooth(gradcam), rivals=4)", model, batch), every_rival)


def test_smooth_of_several_layers_and_several_layers_of_smooth() -> None:
    model, batch = toys.curved().double(), images()
    smooth_inside = maps_of("fuse(smooth(gradcam))", model, batch, ["2", "4"])
    parts = [maps_of("smooth(gradcam)", model, batch, layer).astype(float) for layer in ("2", "4")]
    assert_same(smooth_inside, fused(parts, (12, 10), np.mean))
    smooth_outside = maps_of("smooth(refinecam)", model, batch, ["2", "4"])
    versions = [factor * x for factor in (0.9, 1.0, 1.1) for x in (batch, batch.flip(-1))]
    found = [maps_of("refinecam", model, x, ["2", "4"]).astype(float) for x in versions]
    assert_same(smooth_outside, sum(m[..., ::-1] if i % 2 else m for i, m in enumerate(found)) / 6)


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("smooth(gradcam)", "smooth(gradcam)", "Smoothed Grad-CAM"),
        (" smooth( gradcam ) ", "smooth(gradcam)", "Smoothed Grad-CAM"),
        ("eigen_smooth(layercam)", "eigen_smooth(layercam)", "Eigen-smoothed LayerCAM"),
        ("refine(gradcam)", "refine(gradcam)", "Refined Grad-CAM"),
        ("fuse(layercam)", "fuse(layercam)", "Fused LayerCAM"),
        ("fuse(layercam, by='mean')", "fuse(layercam)", "Fused LayerCAM"),
        ("fuse(layercam, by='max')", "fuse(layercam, by='max')", "Fused LayerCAM"),
        ("contrastive(gradcam)", "contrastive(gradcam)", "Contrastive Grad-CAM"),
        ("contrastive(gradcam, rivals=3)", "contrastive(gradcam)", "Contrastive Grad-CAM"),
        ("contrastive(gradcam, strength=2)", "contrastive(gradcam, strength=2)", "Contrastive Grad-CAM"),
        (
            "smooth(contrastive(gradcam, rivals=2))",
            "smooth(contrastive(gradcam, rivals=2))",
            "Smoothed Contrastive Grad-CAM",
        ),
        ("scorecam(top=64)", "scorecam(top=64)", "Score-CAM"),
        ("smooth(scorecam(top=4, groups=2))", "smooth(scorecam(top=4, groups=2))", "Smoothed Score-CAM"),
        ("gradcam()", "gradcam", "Grad-CAM"),
        ("kpcacam(kernel='rbf')", "kpcacam(kernel='rbf')", "KPCA-CAM"),
    ],
)
def test_names_and_titles(text: str, name: str, title: str) -> None:
    method = as_method(text)
    assert (method.name, method.title) == (name, title)
    assert as_method(method.name).name == name


def test_a_variant_keeps_what_its_method_is_and_says_what_it_changes() -> None:
    smoothed, fused_, set_against = as_method("smooth(gradient)"), as_method("fuse(scorecam)"), gs.contrastive("cam")
    assert (smoothed.at, smoothed.gradient, smoothed.source) == ("input", True, METHODS["gradient"].source)
    assert (fused_.at, fused_.gradient) == ("layers", False)
    assert set_against.needs == "class scores"
    assert smoothed.passes == "6 k + 7"


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (lambda: gs.smooth("gradcam"), "smooth(gradcam)"),
        (lambda: gs.smooth(METHODS["gradcam"]), "smooth(gradcam)"),
        (lambda: gs.smooth(METHODS["gradcam"].function), "smooth(gradcam)"),
        (lambda: gs.contrastive("layercam", rivals=2), "contrastive(layercam, rivals=2)"),
        (lambda: gs.smooth(gs.contrastive("gradcam", rivals=2)), "smooth(contrastive(gradcam, rivals=2))"),
        (lambda: gs.eigen_smooth("hirescam"), "eigen_smooth(hirescam)"),
        (lambda: gs.fuse("gradcam", by="max"), "fuse(gradcam, by='max')"),
        (lambda: gs.refine("gradcam"), "refine(gradcam)"),
        (lambda: with_options(METHODS["scorecam"], top=2), "scorecam(top=2)"),
    ],
)
def test_the_python_form_equals_the_string(built: Any, text: str) -> None:
    model, batch = toys.curved().double(), images()
    assert built().name == text
    assert_same(maps_of(built(), model, batch, ["2", "4"]), maps_of(text, model, batch, ["2", "4"]), 0)


def test_a_function_of_ones_own_is_a_method_and_has_variants() -> None:
    def energy(probe: Any, ops: Any) -> Any:
        """Where the layer is loud."""
        return ops.broadcast_to(ops.sum(probe.activations**2, axis=1, keepdims=True), (3, 2, 6, 5))

    model, batch = toys.curved().double(), images()
    explanation = gs.Explainer(model, layer="4", method=energy)(batch, targets=CLASSES)
    assert explanation.method == "energy"
    loud = (Plain(model, "4", batch, CLASSES).activations ** 2).sum(1)
    assert_same(explanation.maps, np.stack([loud, loud], axis=1))
    assert as_method(energy) == Method("energy", energy, "energy", "a function of yours")
    assert gs.fuse(energy).name == "fuse(energy)"
    assert_same(maps_of(gs.fuse(energy), model, batch, ["4", "4"]), fused([explanation.maps] * 2, (12, 10), np.mean))


@pytest.mark.parametrize("method", [3, None, 1.5, b"gradcam", ["gradcam"]])
def test_what_is_neither_a_name_nor_a_function_is_no_method(method: Any) -> None:
    with pytest.raises(InvalidType, match=r"`method` must be a method's name, such as 'gradcam', or a function"):
        as_method(method)


def test_every_option_of_a_method_or_variant_has_a_default_and_is_told() -> None:
    assert options_of(METHODS["scorecam"].function) == {"top": None, "groups": None}
    assert options_of(METHODS["gradcam"].function) == {}
    assert {name: options_of(function) for name, function in VARIANTS.items()} == {
        "smooth": {},
        "refine": {},
        "contrastive": {"rivals": 3, "strength": 1.0},
        "fuse": {"by": "mean"},
        "eigen_smooth": {},
    }
    with pytest.raises(GradsightError, match="no option of scorecam 'best'"):
        with_options(METHODS["scorecam"], best=3)


@pytest.mark.parametrize(
    "function", [lambda probe, ops: probe.activations, lambda probe, ops: probe.scores, lambda probe, ops: None]
)
def test_a_function_that_gives_no_maps_is_told_what_maps_are(function: Any) -> None:
    with pytest.raises(InvalidType, match=r"must return maps of shape \(n=3, k=1, \*s\)\. Received"):
        gs.Explainer(toys.convolutional(), method=function)(torch.randn(3, 3, 12, 10), targets=0)


def test_a_function_may_return_a_numpy_array() -> None:
    def mean(probe: Any, ops: Any) -> Any:
        return probe.activations.detach().numpy().mean(1, keepdims=True)

    model, batch = toys.convolutional().eval(), torch.randn(2, 3, 16, 16)
    made = gs.Explainer(model, layer="2")(batch, method=mean)
    expected = gs.Explainer(model, layer="2")(
        batch, method=lambda probe, ops: ops.mean(probe.activations, axis=1)[:, None]
    )
    np.testing.assert_allclose(made.maps, expected.maps, rtol=1e-5, atol=1e-7)
