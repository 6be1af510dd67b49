"""Each method against its oracle."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import frameworks
import gradsight as gs
from asking import ANYWHERE, FEW, asked
from frameworks import TOLERANCE, explain
from gradsight.backends.passes import ModelPass
from gradsight.errors import GradsightError, InvalidArgument, ModelError, UnknownName
from gradsight.registry import METHODS
from oracles import ORACLES
from plain import Plain
from toys import Tokens, convolutional, curved, linear_tail

CLASSES = [[0, 3], [4, 1], [2, 0]]
SIZE = (12, 10, 8)

AGNOSTIC = {"centre", "edge", "eigencam", "fem", "kpcacam"}


def images(dimensions: int = 2, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, *SIZE[:dimensions], dtype=torch.float64)


def network(name: str, dimensions: int = 2, **options: Any) -> nn.Module:
    """A network that the method fits: CAM's head is behind an average alone, a bent tail elsewhere."""
    build = convolutional if name == "cam" else curved
    return build(dimensions=dimensions, **options).double()


def layers_of(name: str) -> Any:
    return ["2", "4"] if METHODS[name].at == "layers" else "4"


def explained(name: str, model: nn.Module, batch: torch.Tensor, *, batch_size: int = 32, options: str = "") -> Any:
    targets, method = CLASSES[: len(batch)], asked(name, options)
    return explain(model, batch, layer=layers_of(name), method=method, targets=targets, batch_size=batch_size)


def expected(name: str, model: nn.Module, batch: torch.Tensor, *, options: str = "") -> Any:
    view = Plain(model, layers_of(name), batch, CLASSES[: len(batch)])
    call = ast.parse(f"f({options or FEW.get(name, '')})", mode="eval").body
    return ORACLES[name](view, **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})


def assert_same(maps: Any, other: Any, tolerance: float = TOLERANCE) -> None:
    assert maps.shape == other.shape
    assert np.abs(other).max() > 0
    np.testing.assert_allclose(maps, other, atol=tolerance * np.abs(other).max(), rtol=0)


@pytest.mark.pytorch
def test_every_method_has_an_oracle_and_every_oracle_a_method() -> None:
    assert set(METHODS) == set(ORACLES)


@pytest.mark.parametrize(
    "dimensions", [pytest.param(1, marks=pytest.mark.not_on_jax), 2, pytest.param(3, marks=pytest.mark.not_on_jax)]
)
@pytest.mark.parametrize("name", ANYWHERE)
def test_method_equals_its_oracle(name: str, dimensions: int) -> None:
    model, batch = network(name, dimensions), images(dimensions, n=3 if dimensions == 2 else 2)
    explanation = explained(name, model, batch)
    assert explanation.maps.dtype == np.float32
    assert_same(explanation.maps, expected(name, model, batch))


NEGATED = {
    *("cam", "gradcam", "hirescam", "xgradcam", "shapleycam", "finercam"),
    *("integratedgradients", "occlusion", "rise"),
}
"""Methods that are linear in the score."""


@pytest.mark.parametrize("name", ANYWHERE)
def test_one_score_of_two_labels_is_explained_as_the_scores_of_both(name: str) -> None:
    one, both = (network(name, classes=count) for count in (1, 2))
    both.load_state_dict({k: v.expand_as(both.state_dict()[k]) for k, v in one.state_dict().items()})
    for weight in (both[-1].weight, both[-1].bias):
        weight.data[0].neg_()
    batch, classes = images(n=2), [["yes", "no"], ["no", "yes"]]
    found, expected = (
        explain(model, batch, layer=layers_of(name), method=asked(name), targets=classes, labels=("no", "yes"))
        for model in (one, both)
    )
    assert_same(found.maps, expected.maps)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    assert found.labels == (("yes", "no"), ("no", "yes"))
    if name in NEGATED:
        assert_same(found.maps[:, 0], -found.maps[:, 1])


@pytest.mark.pytorch
@pytest.mark.parametrize(
    "text",
    [
        "scorecam(top=3)",
        "scorecam(groups=4)",
        "scorecam(top=5, groups=2)",
        "kpcacam(kernel='rbf')",
        "kpcacam(gamma=0.7)",
        "fem(deviations=2.0)",
        "occlusion(window=0.5, stride=0.5, fill=0.7)",
        "occlusion(window=0.01, stride=0.01)",
        "integratedgradients(steps=3, baseline=0.4)",
        "smoothgrad(samples=2, noise=0.4, seed=5)",
        "smoothgradcampp(samples=2, noise=0.4, seed=5)",
        "finercam(rivals=1, strength=1.3)",
        "finercam(rivals=4)",
        "rise(masks=7, cells=3, share=0.3, seed=4)",
        "random(seed=3)",
        "iscam(samples=2)",
        "sscam(samples=2, std=0.5, seed=3)",
    ],
)
def test_options_do_what_they_do_in_the_oracle(text: str) -> None:
    name, _, options = text[:-1].partition("(")
    model, batch = network(name), images()
    plainly = explained(name, model, batch)
    changed = explained(name, model, batch, options=options)
    assert changed.method == text
    assert_same(changed.maps, expected(name, model, batch, options=options))
    assert changed.maps.shape != plainly.maps.shape or np.abs(changed.maps - plainly.maps).max() > 0


MANY_PASSES = [*FEW, "scorecam", "ablationcam"]


@pytest.mark.eager
@pytest.mark.parametrize(("name", "batch_size"), [*((name, 1) for name in ANYWHERE), *((n, 7) for n in MANY_PASSES)])
def test_the_batch_size_does_not_change_the_maps(name: str, batch_size: int) -> None:
    model, batch = network(name), images()
    usual = explained(name, model, batch, batch_size=32).maps
    assert_same(explained(name, model, batch, batch_size=batch_size).maps, usual)


@pytest.mark.pytorch
@pytest.mark.parametrize(
    "text", [*(asked(name) for name in MANY_PASSES if name not in ("fem", "ablationcam")), "smooth(gradcam)"]
)
def test_the_batch_size_bounds_the_rows_that_go_through_the_model_at_once(text: str) -> None:
    rows: list[int] = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = curved()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows.append(len(x))
            return self.body(x)

    gs.Explainer(Counted(), layer="body.4", method=text, batch_size=7)(images().float(), targets=CLASSES)
    assert max(rows) == 6  # two copies of the three images
    rows.clear()
    gs.Explainer(Counted(), layer="body.4", method=text, batch_size=1)(images().float(), targets=CLASSES)
    assert max(rows) == 3


def test_the_batch_size_bounds_the_ablated_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, score = [], ModelPass.score
    monkeypatch.setattr(
        ModelPass, "score", lambda of, outputs: rows.append(len(scores := score(of, outputs))) or scores
    )
    explained("ablationcam", curved(), images().float(), batch_size=13)
    assert rows == [12, 6]  # four channels of three images, then the other two


@pytest.mark.not_on_jax
@pytest.mark.parametrize("name", ANYWHERE)
def test_an_image_is_explained_alike_alone_and_beside_others(name: str) -> None:
    model, batch = network(name), images() * torch.tensor([1, 10, 3])[:, None, None, None]
    together = explained(name, model, batch)
    for i in range(3):
        alone = explain(model, batch[i : i + 1], layer=layers_of(name), method=asked(name), targets=[CLASSES[i]])
        assert_same(alone.maps, together.maps[i : i + 1])
        assert alone.target_notes[0] == together.target_notes[i]


VARIANTS = ["smooth(eigencam)", "eigen_smooth(gradcam)", "refine(eigencam)", "contrastive(eigengradcam)"]
VARIANTS += ["kpcacam(kernel='rbf')", "scorecam(top=2)"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "text",
    [
        text if "eig" in text or "kpca" in text else pytest.param(text, marks=pytest.mark.not_on_jax)
        for text in [*map(asked, ANYWHERE), *VARIANTS]
    ],
)
def test_an_image_that_is_not_finite_leaves_those_beside_it_alone(text: str, value: float) -> None:
    name = text.partition("(")[0]
    model, batch = network(name), images()
    layer: Any = ["2", "4"] if name in ("refine", "refinecam") else "4"
    right = explain(model, batch[::2], layer=layer, method=text, targets=CLASSES[::2])
    batch[1] = value
    found = explain(model, batch, layer=layer, method=text, targets=CLASSES)
    assert_same(found.maps[::2], right.maps)
    for i in range(3):
        (told,) = {any(note.code == "not_finite" for note in notes) for notes in found.target_notes[i]}
        assert told == (not np.isfinite(found.maps[i]).all())
    # Of TensorFlow's ReLU NaN is 0.
    by_eigenvectors = name in ("eigencam", "eigengradcam", "kpcacam", "eigen_smooth")
    if by_eigenvectors and not frameworks.ON_KERAS:
        assert np.isnan(found.maps[1]).all()


@pytest.mark.parametrize("scale", [1e15, 1e25])
@pytest.mark.parametrize("text", ["eigencam", "eigengradcam", "eigen_smooth(gradcam)"])
def test_activations_whose_squares_overflow_do_not_end_the_batch(text: str, scale: float) -> None:
    model, batch = network(text).float(), images(n=2).float()
    right = explain(model, batch, layer="4", method=text, targets=1)
    batch[1] *= scale
    found = explain(model, batch, layer="4", method=text, targets=1)
    assert_same(found.maps[:1], right.maps[:1])
    assert np.isfinite(found.maps[1]).all() != any(note.code == "not_finite" for note in found.target_notes[1][0])


def test_an_image_that_is_not_finite_hides_no_other_head_from_cam() -> None:
    batch = images()
    batch[1] = float("nan")
    with pytest.raises(ModelError, match="CAM needs a global average"):
        explain(curved().double(), batch, layer="4", method="cam", targets=CLASSES)


@pytest.mark.pytorch
@pytest.mark.parametrize("name", [name for name in ANYWHERE if name != "random"])
def test_two_targets_are_explained_alike_together_and_one_by_one(name: str) -> None:
    model, batch = network(name), images()
    both = explained(name, model, batch).maps
    for j in range(2):
        targets = [row[j] for row in CLASSES]
        one = explain(model, batch, layer=layers_of(name), method=asked(name), targets=targets).maps
        assert_same(one[:, 0], both[:, j])
    assert (np.abs(both[:, 0] - both[:, 1]).max() > 0) == (name not in AGNOSTIC)


@pytest.mark.not_on_jax
@pytest.mark.parametrize("name", [name for name in ANYWHERE if name != "cam"])
def test_a_layer_with_negative_activations_equals_the_oracle_too(name: str) -> None:
    model, batch = network(name), images()
    layer: Any = ["3", "5"] if METHODS[name].at == "layers" else "3"
    maps = explain(model, batch, layer=layer, method=asked(name), targets=CLASSES).maps
    call = ast.parse(f"f({FEW.get(name, '')})", mode="eval").body
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    view = Plain(model, layer, batch, CLASSES)
    assert view.layers[0].activations.min() < 0
    assert np.isfinite(maps).all()
    assert_same(maps, ORACLES[name](view, **options), tolerance=max(TOLERANCE, 1e-5))


@pytest.mark.pytorch
@pytest.mark.parametrize("name", [name for name in ANYWHERE if name not in ("cam", "random", "sscam")])
def test_a_transformer_is_explained_one_image_at_a_time_as_in_a_batch(name: str) -> None:
    model, batch = Tokens().double().eval(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    layer: Any = ["blocks.0", "blocks.1.norm"] if METHODS[name].at == "layers" else "blocks.0"
    found = [
        gs.Explainer(model, layer=layer, method=asked(name))(x, targets=targets)
        for x, targets in ((batch, CLASSES[:2]), (batch[:1], CLASSES[:1]))
    ]
    both, alone = ((one[0] if isinstance(one, tuple) else one).maps for one in found)
    assert both.shape[2:] == ((4, 4) if METHODS[name].at == "layer" and name != "guidedgradcam" else (16, 16))
    assert np.isfinite(both).all()
    assert_same(alone, both[:1])


@pytest.mark.pytorch
@pytest.mark.parametrize("name", [name for name in ANYWHERE if name != "fem"])  # which counts, and so jumps
def test_half_precision_gives_finite_maps_near_those_of_double_precision(name: str) -> None:
    model, batch = network(name), images(n=2)
    double = explained(name, model, batch).maps
    assert_same(explained(name, model.bfloat16(), batch).maps, double, tolerance=0.3)


@pytest.mark.pytorch
@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("what", ["dead layer", "constant layer", "scores that do not change"])
def test_maps_are_finite_where_nothing_varies(name: str, what: str) -> None:
    model, batch = network(name), images()
    with torch.no_grad():
        if what == "scores that do not change":
            model[-1].weight.zero_()
        else:
            model[3].weight.zero_()
            model[3].bias.fill_(-1.0 if what == "dead layer" else 1.0)
    maps = explained(name, model, batch).maps
    assert np.isfinite(maps).all()
    blank = what == "dead layer" and METHODS[name].at != "input" and name != "random"
    assert not (blank and maps.any())


@pytest.mark.pytorch
@pytest.mark.parametrize("name", ANYWHERE)
def test_single_precision_gives_the_map_of_double_precision(name: str) -> None:
    model, batch = network(name), images(n=2)
    double = explained(name, model, batch).maps
    assert_same(explained(name, model.float(), batch).maps, double, tolerance=2e-4)


def pooled() -> nn.Sequential:
    return convolutional()[:7]


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (curved, "4"),
        (convolutional, "3"),
        (lambda: nn.Sequential(pooled(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)), "0.4"),
        (lambda: nn.Sequential(pooled(), nn.LayerNorm(6), nn.Linear(6, 5)), "0.4"),
        # of a Keras model this end is left out
        pytest.param(lambda: nn.Sequential(*convolutional(), nn.Softmax(dim=1)), "4", marks=pytest.mark.pytorch),
        (lambda: nn.Sequential(*convolutional(), nn.ReLU()), "4"),
        (lambda: nn.Sequential(*pooled()[:5], nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 5)), "4"),
        (linear_tail, "1"),
    ],
    ids=["convolution", "ReLU", "two linear", "layer norm", "softmax", "ReLU behind", "maximum", "by position"],
)
def test_cam_needs_its_own_head_and_says_so(build: Any, layer: str) -> None:
    model = build().eval()
    with pytest.raises(ModelError, match=r"CAM needs a global average.*Use 'gradcam'"):
        explain(model, images().float(), layer=layer, method="cam", targets=CLASSES)


@pytest.mark.parametrize("name", ["finercam", "contrastive(gradcam)"])
def test_a_function_of_the_output_has_no_rivals(name: str) -> None:
    for targets in (lambda outputs: outputs[:, 0], gs.Against(1)):
        with pytest.raises(ModelError, match=r"these targets are not classes. Use the plain method"):
            explain(curved(), images(), layer="4", method=name, targets=targets)


@pytest.mark.parametrize("name", ["guidedbackprop", "deconvnet", "guidedgradcam"])
def test_methods_of_rectifiers_need_one(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(ModelError, match=r"no rectifier .*Use the method 'gradient'"):
        explain(model, images().float(), layer="2", method=name)


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gradcma", UnknownName, "no method 'gradcma'. Did you mean 'gradcam'"),
        ("gradcma(top=1)", UnknownName, "no method 'gradcma'. Did you mean 'gradcam'"),
        ("smoth(gradcam)", UnknownName, "no method 'smoth'. Did you mean 'smooth'"),
        ("smooth(gradcma)", UnknownName, "no method 'gradcma'"),
        ("smooth", UnknownName, "no method 'smooth'"),
        ("scorecam(tops=1)", UnknownName, "no option of scorecam 'tops'. Did you mean 'top'"),
        ("gradcam(top=1)", UnknownName, "no option of gradcam 'top'"),
        ("smooth(gradcam, top=1)", UnknownName, "no option of smooth 'top'"),
        ("fuse(gradcam, by='sum')", UnknownName, "no fusion 'sum'"),
        ("smooth()", InvalidArgument, r"say of which, such as smooth\(gradcam\)"),
        ("smooth(gradcam", InvalidArgument, r"`method` must be a name, or a name with options"),
        ("smooth(gradcam, layercam)", InvalidArgument, "`method` must be a name"),
        ("gradcam(layercam)", InvalidArgument, "`method` must be a name"),
        ("smooth('gradcam')", InvalidArgument, "`method` must be a name"),
        ("smooth(gradcam + layercam)", InvalidArgument, "`method` must be a name"),
        ("scorecam(top=1, top=2)", InvalidArgument, "`method` must be a name"),
        ("scorecam(top=open('x'))", InvalidArgument, "`method` must be a name"),
        ("scorecam(top={[]: 1})", InvalidArgument, "`method` must be a name"),
        ("scorecam(**{'top': 2})", InvalidArgument, "`method` must be a name"),
        ("gradcam.function", InvalidArgument, "`method` must be a name"),
        ("gradcam()()", InvalidArgument, "`method` must be a name"),
        ("lambda: 0", InvalidArgument, "`method` must be a name"),
        ("__import__('os')", UnknownName, "no method '__import__'"),
        ("__import__('os').system('true')", InvalidArgument, "`method` must be a name"),
        ("", InvalidArgument, "`method` must be a name"),
        ("grad cam", InvalidArgument, "`method` must be a name"),
        ("gradcam\0", InvalidArgument, "`method` must be a name"),
        ("smooth(" * 5000, InvalidArgument, "`method` must be a name"),
        ("gradcam(x=" + "-" * 50_000 + "1)", InvalidArgument, "`method` must be a name"),
    ],
)
def test_a_method_that_cannot_be_read_is_one_clear_error(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        gs.Explainer(curved(), method=text)
    assert isinstance(caught.value, GradsightError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scorecam(top=0)", "`top` must be a whole number of at least 1. Received: 0"),
        ("scorecam(top=7)", "`top` must be between 1 and"),
        ("scorecam(groups=-1)", "`groups` must be"),
        ("scorecam(groups=7)", "`groups` must be between 1 and the layer's 6 channels. Received: 7"),
        ("scorecam(top=2.5)", "`top` must be"),
        ("scorecam(top='two')", "`top` must be"),
        ("finercam(rivals=0)", "`rivals` must be"),
        ("contrastive(gradcam, rivals=0)", "`rivals` must be"),
        ("contrastive(gradcam, rivals=1.5)", "`rivals` must be"),
        ("occlusion(window=0.1, stride=0.2)", "`stride` must be at most `window`"),
        ("occlusion(window=1.5)", "`window` must be a number above 0 and at most 1"),
        ("occlusion(stride=0)", "`stride` must be a number above 0 and at most 1"),
        ("kpcacam(kernel='cubic')", "no kernel 'cubic'. Choose from: sigmoid, rbf"),
        ("smoothgrad(samples=0)", "`samples` must be"),
        ("smoothgradcampp(samples=0)", "`samples` must be"),
        ("sscam(samples=0)", "`samples` must be"),
        ("iscam(samples=0)", "`samples` must be"),
        ("integratedgradients(steps=0)", "`steps` must be"),
        ("rise(masks=0)", "`masks` must be"),
        ("rise(cells=0)", "`cells` must be"),
        ("rise(share=0)", "`share` must be"),
        ("occlusion(window='half')", "`window` must be a number"),
        ("random(seed=-1)", "`seed` must be"),
    ],
)
def test_an_option_out_of_range_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(GradsightError, match=message) as caught:
        explain(curved(), images(n=2), layer="4", method=text, targets=1)
    assert "\n" not in str(caught.value)


@pytest.mark.pytorch
def test_method_rejects_a_second_one_of_the_same_name() -> None:
    with pytest.raises(InvalidArgument, match=r"`name` must be one that no other method has. Received: 'gradcam'"):
        gs.method("gradcam", title="Again", source="nowhere")(lambda probe, ops: None)


@pytest.mark.pytorch
@pytest.mark.parametrize("name", ANYWHERE)
def test_a_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.title
    assert method.source
    assert method.summary.endswith(".")
