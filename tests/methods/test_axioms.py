"""What the papers prove of their methods, and what follows from their formulas, on networks that fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from gradsight.arrays import principal
from gradsight.backends.torch import TorchBackend
from gradsight.layers import Layer
from gradsight.registry import METHODS
from gradsight.targets import OutputContext, resolve
from toys import convolutional, curved, linear_tail

CLASSES = [[0, 3], [4, 1]]


def images(n: int = 2, size: tuple[int, ...] = (12, 10)) -> torch.Tensor:
    return torch.randn(n, 3, *size, dtype=torch.float64)


def probe_of(model: nn.Module, layer: str, batch: Any) -> Any:
    backend = TorchBackend(model)
    settle = lambda logits, out: resolve(CLASSES, OutputContext(len(CLASSES), logits))  # noqa: E731
    return backend.run(backend.prepare(batch), [Layer(layer)], settle).probes[0]


def maps_of(name: str, model: nn.Module, batch: Any, layer: Any = None) -> Any:
    return gs.Explainer(model, layer=layer, method=name)(batch, targets=CLASSES).maps.astype(np.float64)


def total(maps: Any) -> Any:
    return maps.reshape(*maps.shape[:2], -1).sum(axis=-1)


def scores(model: nn.Module, batch: torch.Tensor) -> Any:
    with torch.no_grad():
        return np.take_along_axis(model(batch).numpy(), np.array(CLASSES), axis=1)


def close(a: Any, b: Any, relative: float = 1e-5) -> None:
    assert np.abs(b).max() > 0
    np.testing.assert_allclose(a, b, rtol=0, atol=relative * np.abs(b).max())


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_cam_is_grad_cam_times_the_number_of_positions(dimensions: int) -> None:
    model, batch = convolutional(dimensions=dimensions).double(), images(size=(12, 10, 8)[:dimensions])
    positions = (6, 6 * 5, 6 * 5 * 4)[dimensions - 1]
    close(maps_of("cam", model, batch, "4"), positions * maps_of("gradcam", model, batch, "4"))


@pytest.mark.parametrize("name", ["hirescam", "xgradcam", "layercam", "shapleycam", "gradcam"])
def test_where_gradients_are_the_same_everywhere_methods_that_only_average_them_otherwise_agree(name: str) -> None:
    model, batch = convolutional().double(), images()
    grad_cam = maps_of("gradcam", model, batch, "4")
    if name == "layercam":
        with torch.no_grad():
            model[-1].weight.abs_()
        grad_cam = maps_of("gradcam", model, batch, "4")
    close(maps_of(name, model, batch, "4"), grad_cam)


def test_hirescam_adds_up_to_the_score_less_its_bias_where_the_tail_is_linear() -> None:
    model, batch = linear_tail().double(), images()
    bias = model[-1].bias.detach().numpy()[np.array(CLASSES)]
    close(total(maps_of("hirescam", model, batch, "1")), scores(model, batch) - bias)
    with pytest.raises(AssertionError):  # Grad-CAM spreads gradients over positions that never had them
        close(total(maps_of("gradcam", model, batch, "1")), scores(model, batch) - bias, 1e-3)


def test_integrated_gradients_add_up_to_what_the_score_gains_over_the_baseline() -> None:
    model, batch = curved().double(), images()
    for baseline in (0.0, 0.5):
        gained = scores(model, batch) - scores(model, torch.full_like(batch, baseline))
        found = total(maps_of(f"integratedgradients(steps=128, baseline={baseline})", model, batch))
        close(found, gained, 2e-2)  # the ReLU's kinks, over which no quadrature is exact


def test_integrated_gradients_of_a_smooth_network_add_up_to_rounding_with_few_steps() -> None:
    model, batch = curved().double(), images()
    model[2], model[4] = nn.Tanh(), nn.Tanh()
    gained = scores(model, batch) - scores(model, torch.zeros_like(batch))
    close(total(maps_of("integratedgradients(steps=24)", model, batch)), gained, 1e-6)


def test_integrated_gradients_of_a_linear_model_are_its_weights_times_the_input() -> None:
    model, batch = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 10 * 8, 5)).double(), images()
    probe = probe_of(model, "0", batch)
    product = (probe.image.gradients * probe.image.activations[:, None]).sum(2).numpy()
    close(maps_of("integratedgradients(steps=1)", model, batch), product)


class PerChannel(nn.Module):
    """Scores add up from the channels, each with a function of its own: f(0) = 0 and f = gradient . activation."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.weights = nn.Parameter(torch.randn(5, 6, 6, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,kchw->nk", self.features(x), self.weights)


def test_xgradcam_weighs_a_channel_by_the_score_that_is_lost_without_it() -> None:
    model, batch = PerChannel().double(), images()
    probe = probe_of(model, "features", batch)
    activations, by_hand = probe.activations.numpy(), 0.0
    for c in range(6):
        without = probe.activations.clone()
        without[:, c] = 0
        lost = (probe.scores - probe.tail(without)).numpy()
        share = activations[:, c] / activations[:, c].sum(axis=(1, 2), keepdims=True)
        by_hand = by_hand + lost[:, :, None, None] * share[:, None]  # sensitivity, eq. 3 with eq. 7
    close(maps_of("xgradcam", model, batch, "features"), by_hand)


def test_xgradcam_conserves_the_sum_of_gradient_times_activation() -> None:
    model, batch = curved().double(), images()
    probe = probe_of(model, "4", batch)
    product = (probe.gradients * probe.activations[:, None]).sum((2, 3, 4)).numpy()
    close(total(maps_of("xgradcam", model, batch, "4")), product)


@pytest.mark.parametrize(
    "change",
    [
        "as it is",
        "biases alone",
        "no bias anywhere",
        "a normalisation without weights",
        "a layer norm",
        "a softplus",
        "a maximum pooling",
        "a functional ReLU in place",
    ],
)
def test_fullgrad_terms_add_up_to_the_score(change: str) -> None:
    model, batch = curved().double(), images()
    if change == "biases alone":
        batch = torch.zeros_like(batch)
    if change == "no bias anywhere":
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 10 * 8, 5, bias=False)
        ).double()
        assert list(probe_of(model, "0", batch).image.bias_terms(0)) == []
    if change == "a normalisation without weights":
        model[1] = nn.BatchNorm2d(4, affine=False).double().eval()
        model[1].running_mean.fill_(0.4)
        model[1].running_var.fill_(2.0)
    if change == "a layer norm":
        model[1] = nn.GroupNorm(2, 4).double()
        model[1].bias.data.normal_()
    if change == "a softplus":
        model[4] = nn.Softplus()
    if change == "a maximum pooling":
        model[7] = nn.AdaptiveMaxPool2d(2)
    if change == "a functional ReLU in place":
        model[2], model[4] = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    image = probe_of(model, "0", batch).image
    for j in range(2):
        terms = [image.gradients[:, j] * image.activations, *image.bias_terms(j)]
        found = sum(term.flatten(1).sum(dim=1) for term in terms)
        close(found.numpy(), image.scores[:, j].numpy())


def test_fullgrad_has_a_term_for_each_module_that_adds_something_and_no_other() -> None:
    image = probe_of(curved().double(), "3", images()).image
    shapes = [tuple(term.shape) for term in image.bias_terms(0)]
    expected = [(2, 4, 12, 10), (2, 4, 12, 10), (2, 6, 6, 5), (2, 4, 6, 5), (2, 4, 6, 5), (2, 5)]
    assert shapes == expected  # two convolutions' biases with the normalisation between, a third, tanh, linear


def test_fullgrad_does_not_change_with_a_normalisation_that_adds_nothing() -> None:
    model, batch = curved(bias=False), images().float()
    plain = nn.Sequential(*model[:1], nn.Identity(), *model[2:])
    model[1] = nn.BatchNorm2d(4, eps=0.0).eval()
    model[1].running_var.uniform_(0.3, 3.0)
    model[1].weight.data.copy_(model[1].running_var.sqrt())
    close(maps_of("fullgrad", model, batch), maps_of("fullgrad", plain, batch), 1e-4)


def test_eigencam_does_not_depend_on_signs_or_rotations_of_the_channels() -> None:
    samples = torch.rand(2, 30, 6, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    ops = TorchBackend.ops
    plain = principal(samples, ops)
    rotated = principal(samples @ rotation, ops)
    for i in range(2):
        sign = torch.sign(rotated[i] @ plain[i])
        torch.testing.assert_close(rotated[i] * sign, plain[i])
        assert plain[i] @ samples[i].sum(dim=1) > 0
        assert rotated[i] @ (samples @ rotation)[i].sum(dim=1) > 0
    torch.testing.assert_close(principal(samples.flip(-1), ops), plain)
    torch.testing.assert_close(principal(-samples, ops), -plain)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30), (5, 5)])
@pytest.mark.parametrize("centred", [False, True])
def test_the_projection_is_that_of_the_singular_value_decomposition(shape: tuple[int, int], centred: bool) -> None:
    samples = torch.randn(3, *shape, dtype=torch.float64)
    o = (samples - samples.mean(dim=1, keepdim=True) * centred).numpy()
    found = principal(samples, TorchBackend.ops, centred=centred).numpy()
    for i in range(3):
        u, s, _ = np.linalg.svd(o[i], full_matrices=False)
        wanted = u[:, 0] * s[0]
        wanted = wanted * np.sign(wanted @ o[i].sum(axis=1))
        np.testing.assert_allclose(found[i], wanted, atol=1e-9)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_the_smaller_gram_matrix_is_taken_apart(shape: tuple[int, int]) -> None:
    sizes, ops = [], TorchBackend.ops

    def eigh(matrix: torch.Tensor) -> Any:
        sizes.append(tuple(matrix.shape))
        return torch.linalg.eigh(matrix)

    counting = SimpleNamespace(**{**vars(ops), "linalg": SimpleNamespace(eigh=eigh)})
    principal(torch.randn(2, *shape), counting)
    assert sizes == [(2, 6, 6)]


def test_eigencam_and_eigengradcam_agree_with_the_sum_of_their_channels() -> None:
    for _ in range(4):
        model, batch = curved().double(), images()
        probe = probe_of(model, "4", batch)
        plain = probe.activations.sum(1)[:, None].numpy()
        assert (total(maps_of("eigencam", model, batch, "4") * plain) > 0).all()
        parts = (probe.gradients * probe.activations[:, None]).sum(2)
        centred = (parts - parts.mean((-2, -1), keepdim=True)).numpy()
        assert (total(maps_of("eigengradcam", model, batch, "4") * centred) > 0).all()


def test_grad_cam_plus_plus_of_one_channel_by_hand() -> None:
    class OneChannel(nn.Module):
        """The score is 2 a + 3 b - 4 c + 0 d of the positions a, b, c, d."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 1, 1, bias=False)
            self.layer.weight.data.fill_(1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.layer(x)[:, 0] * torch.tensor([2.0, 3.0, -4.0, 0.0])).sum(-1, keepdim=True)

    signal = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    maps = gs.Explainer(OneChannel(), layer="layer", method="gradcampp")(signal, targets=0).maps
    # alpha = g^2 / (2 g^2 + 10 g^3): 4 / (8 + 80) and 9 / (18 + 270); times ReLU(g): 2 and 3; 0 for the other two.
    weight = 4 / 88 * 2 + 9 / 288 * 3
    np.testing.assert_allclose(maps[0, 0], weight * np.array([1.0, 2.0, 3.0, 4.0]), rtol=1e-6)


def test_grad_cam_plus_plus_stays_finite_where_exp_of_the_score_does_not() -> None:
    model, batch = curved(), images().float()
    with torch.no_grad():
        model[-1].bias.fill_(500.0)
    maps = maps_of("gradcampp", model, batch, "4")
    with torch.no_grad():
        model[-1].bias.fill_(0.0)
    close(maps, maps_of("gradcampp", model, batch, "4"), 1e-6)


@pytest.mark.parametrize("name", ["eigencam", "kpcacam", "fem(deviations=1.0)", "edge", "centre"])
def test_class_agnostic_maps_are_equal_for_all_targets(name: str) -> None:
    maps = maps_of(name, curved().double(), images(), "4")
    assert np.abs(maps).max() > 0
    np.testing.assert_array_equal(maps[:, 0], maps[:, 1])


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "xgradcam", "finercam", "integratedgradients(steps=4)", "cam"])
def test_maps_of_methods_that_are_linear_in_the_score_add_up(name: str) -> None:
    model = convolutional(classes=5).double() if name == "cam" else curved().double()
    doubled = convolutional().double() if name == "cam" else curved().double()
    doubled.load_state_dict(model.state_dict())
    with torch.no_grad():
        doubled[-1].weight *= 2
        doubled[-1].bias *= 2
    batch = images()
    close(maps_of(name, doubled, batch, "4"), 2 * maps_of(name, model, batch, "4"))


@pytest.mark.parametrize("name", ["scorecam", "sscam(samples=2)", "iscam(samples=2)"])
def test_score_cam_does_not_depend_on_a_constant_in_the_score(name: str) -> None:
    model, batch = curved().double(), images()
    before = maps_of(name, model, batch, "4")
    with torch.no_grad():
        model[-1].bias += 50.0
    close(maps_of(name, model, batch, "4"), before)


def test_ablation_cam_keeps_its_sign_where_the_score_is_negative() -> None:
    model, batch = linear_tail().double(), images()
    with torch.no_grad():
        model[-1].bias -= 100.0
    assert (scores(model, batch) < 0).all()
    found = maps_of("ablationcam", model, batch, "1") * np.abs(scores(model, batch))[:, :, None, None]
    probe = probe_of(model, "1", batch)
    parts = (probe.gradients * probe.activations[:, None]).sum((-2, -1), keepdim=True)
    close(found, (parts * probe.activations[:, None]).sum(2).numpy())


def test_shapleycam_halves_the_weights_of_a_quadratic_score() -> None:
    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3, padding=1)
            self.weights = nn.Parameter(torch.randn(5, 4, 12, 10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("nchw,kchw->nk", self.layer(x) ** 2, self.weights)

    model, batch = Quadratic().double(), images()
    # g = 2 w A and H A = 2 w A: g - H A / 2 is g / 2.
    close(maps_of("shapleycam", model, batch, "layer"), maps_of("gradcam", model, batch, "layer") / 2)


def test_fem_counts_channels_that_stand_out() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x * 1).mean((2, 3))

    batch = torch.zeros(1, 2, 3, 4)
    batch[0, 0, 1, 2], batch[0, 1, 1, 2], batch[0, 1, 0, 0] = 6.0, 12.0, 3.0
    maps = gs.Explainer(Two(), layer="layer", method="fem")(batch, targets=0).maps[0, 0]
    # Means 6 / 12 and 15 / 12; deviations 1.66 and 3.35: only the peaks are over the mean by more than twice that.
    expected = np.zeros((3, 4))
    expected[1, 2] = 0.5 + 1.25
    np.testing.assert_allclose(maps, expected, rtol=1e-6)


def test_rise_of_a_score_that_is_the_sum_of_the_image_is_brightest_where_the_image_is() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x * 1).sum((2, 3))

    batch = torch.zeros(1, 1, 14, 14)
    batch[0, 0, 9:12, 3:6] = 1.0
    maps = gs.Explainer(Sum(), layer="layer", method="rise(masks=400)")(batch, targets=0).maps[0, 0]
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    assert abs(row - 10) <= 1
    assert abs(column - 4) <= 1


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].at == "input"])
def test_maps_of_the_input_have_its_positions(name: str) -> None:
    few = {"rise": "rise(masks=3)", "smoothgrad": "smoothgrad(samples=1)"}.get(name, name)
    few = "integratedgradients(steps=2)" if name == "integratedgradients" else few
    explanation = gs.Explainer(curved(), layer="4", method=few)(images(), targets=CLASSES)
    assert (explanation.layers, explanation.at) == ((), "input")
    assert explanation.maps.shape == (2, 2, 12, 10)
