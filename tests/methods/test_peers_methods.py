"""Every method beside grad-cam 1.5.7, torchcam 0.5.0 and captum 0.9.0: same weights, same layer, same classes.

Where a peer computes the same thing, maps agree to float32's rounding after the same last step (`test_agrees_...`).
Where it departs from the paper, the test's name says how. Such a test shows three things: the peer's map is what the
departure gives, put down here once more; ours is the paper's formula in float64; and the two are not the same.

Grad-CAM itself, on more networks and on photos, is in `test_peers.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradsight as gs
from networks import NETWORKS, build
from plain import activations_and_gradients
from tolerances import rounding
from toys import convolutional

attr = pytest.importorskip("captum.attr")
tc = pytest.importorskip("torchcam.methods")
gc = pytest.importorskip("pytorch_grad_cam")

SAME = rounding(terms=9 * 512, layers=18)  # of full scale
EXACT = 1e-6  # our maps are float32, whatever the model's precision
APART = 1e-3  # what is no rounding any more

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")]


class Case:
    """A model with a layer, a batch, and one class for each image."""

    def __init__(self, model: nn.Module, layer: str, batch: torch.Tensor, classes: Sequence[int]) -> None:
        self.model, self.layer, self.batch, self.classes = model.eval(), layer, batch, list(classes)

    @property
    def double(self) -> Case:
        return Case(copy.deepcopy(self.model).double(), self.layer, self.batch.double(), self.classes)

    def at(self, layer: str) -> Case:
        return Case(self.model, layer, self.batch, self.classes)

    def first(self, n: int = 1) -> Case:
        return Case(self.model, self.layer, self.batch[:n], self.classes[:n])

    @cached_property
    def _seen(self) -> tuple[Any, Any]:
        found = activations_and_gradients(self.model, self.layer, self.batch, [[c] for c in self.classes])
        return found[0].numpy(), found[1][:, 0].numpy()

    @property
    def activations(self) -> Any:
        """(n, c, h, w), float64."""
        return self._seen[0]

    @property
    def gradients(self) -> Any:
        """(n, c, h, w), float64."""
        return self._seen[1]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.batch.shape[2:])

    def scores(self, batch: torch.Tensor, image: int = 0) -> Any:
        """What other pictures score for the class of an image: (m,)."""
        with torch.no_grad():
            return self.model(batch)[:, self.classes[image]].numpy()

    def ours(self, method: Any, layer: Any = None) -> Any:
        """Our maps: (n, h, w)."""
        found = gs.Explainer(self.model, layer=layer or self.layer, method=method)(self.batch, targets=self.classes)
        (explanation,) = found if isinstance(found, tuple) else (found,)
        return explanation.maps[:, 0].astype(np.float64)


def images(height: int, width: int, n: int = 2) -> torch.Tensor:
    return NETWORKS["resnet18"]._replace(size=(height, width)).images(n)


@cache
def built(name: str) -> nn.Module:
    """A network that no test changes."""
    return build(name)


def resnet(layer: str = "layer2") -> Case:
    """At layer2 8 by 8 positions of 128 channels behind a ReLU; two stages of convolutions follow."""
    return Case(built("resnet18"), layer, images(64, 64), [7, 281])


def mobilenet() -> Case:
    """6 by 6 positions of 48 channels of either sign."""
    return Case(built("mobilenet_v3_small"), "features.8", images(96, 96), [7, 281])


def steep(stride: int = 4, activation: type[nn.Module] = nn.ReLU) -> Case:
    """A toy whose scores differ by much; 1 as its stride gives a layer with the image's own positions."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=stride, padding=2),
        activation(),
        nn.Conv2d(6, 8, 3, padding=1),
        activation(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    with torch.no_grad():
        model[-1].weight *= 20
    return Case(model, "1", images(10 * stride, 12 * stride), [3, 1])


def smooth() -> Case:
    """A toy with second derivatives."""
    return steep(activation=nn.GELU)


CASES = {function.__name__: function for function in (resnet, mobilenet, smooth)}


# How peers are asked.


def cut(maps: Any) -> Any:
    return np.maximum(maps, 0)


def unit(maps: Any) -> Any:
    """Scaled to [0, 1], each map by itself; a constant one is 0."""
    maps = maps - maps.min(axis=(-2, -1), keepdims=True)
    high = maps.max(axis=(-2, -1), keepdims=True)
    return maps / np.where(high > 0, high, 1)


def resized(maps: Any, size: Sequence[int], **how: Any) -> Any:
    """(n, h, w) -> (n, *size)."""
    options = {"mode": "bilinear", "align_corners": False, **how}
    return F.interpolate(torch.as_tensor(maps)[:, None], tuple(size), **options)[:, 0].numpy()


def grad_cam(case: Case, kind: Any, *, targets: Any = None, **options: Any) -> Any:
    """The maps of a grad-cam class before its ReLU, scaling and resizing, signed: (n, h, w)."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = copy.deepcopy(case.model)
    cam = kind(model, [model.get_submodule(case.layer)], **options.pop("made_with", {}))
    base, kept = getattr(cam, "base_cam", cam), []
    last_step = base.get_cam_image
    base.get_cam_image = lambda *arguments: kept.append(last_step(*arguments)) or kept[-1]
    wanted = [ClassifierOutputTarget(c) for c in case.classes]
    cam(case.batch, None if targets == "top" else wanted, **options)
    return np.asarray(kept[0], dtype=np.float64)


def shown_by_grad_cam(case: Case, kind: Any, layers: Sequence[str], **options: Any) -> Any:
    """What grad-cam gives to its user: (n, H, W) in [0, 1]."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = copy.deepcopy(case.model)
    made_with = options.pop("made_with", {})
    cam = kind(model, [model.get_submodule(layer) for layer in layers], **made_with)
    return cam(case.batch, [ClassifierOutputTarget(c) for c in case.classes], **options).astype(np.float64)


def torch_cam(case: Case, kind: Any, *, noise: Any = None, layers: Any = None, **options: Any) -> Any:
    """The maps of a torchcam class, after the ReLU of most: (n, h, w); ``noise`` is what it is to draw, in turn."""
    model, asked = copy.deepcopy(case.model), options.pop("asked", {"normalized": False})
    with kind(model, layers or case.layer, **options) as extractor:
        if noise is not None:
            drawn = iter(noise)
            extractor._distrib.sample = lambda size: next(drawn).reshape(size)
        found = extractor(case.classes, model(case.batch), **asked)
    return found[0].detach().numpy().astype(np.float64)


def captum(case: Case, kind: Any, *layer: str, **options: Any) -> torch.Tensor:
    """Attributions of the image's numbers: (n, 3, H, W), or what the class gives."""
    model = copy.deepcopy(case.model)
    method = kind(model, *(model.get_submodule(name) for name in layer))
    images = case.batch.clone().requires_grad_()  # captum warns where it has to do that itself
    return method.attribute(images, target=torch.tensor(case.classes), **options).detach().double()


def strongest(attributions: torch.Tensor) -> Any:
    """The largest magnitude over the colours, which is our last step."""
    return attributions.abs().amax(1).numpy()


def apart(ours: Any, theirs: Any, *, relu: bool = False) -> float:
    """The largest difference of full scale, after a ReLU of both if need be; the scale is that before it."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    scale = np.abs(ours).max(axis=(-2, -1))
    assert (scale > 0).all()
    if relu:
        ours, theirs = cut(ours), cut(theirs)
        assert (ours > 0).any(), "the ReLU leaves nothing to compare"
    return float((np.abs(ours - theirs).max(axis=(-2, -1)) / scale).max())


def apart_but_for_sign(ours: Any, theirs: Any) -> float:
    return max(min(apart(a[None], b[None]), apart(a[None], -b[None])) for a, b in zip(ours, theirs, strict=True))


def judge(ours: Any, paper: Any, theirs: Any, departing: Any, *, relu: bool = False) -> None:
    """Ours is the paper's map, theirs is the departing one, and these two are not the same."""
    assert apart(paper, ours) < EXACT
    assert apart(departing, theirs, relu=relu) < SAME
    assert apart(paper, departing, relu=relu) > APART


def weighted(weights: Any, activations: Any) -> Any:
    """(n, c), (n, c, h, w) -> (n, h, w)."""
    return np.einsum("nc,nchw->nhw", weights, activations)


# Where the peers compute the same thing.

# (our method, network, how the peer is asked, its class, its options)
SIGNED = [
    ("gradcam", "resnet", grad_cam, gc.GradCAM, {}),
    ("gradcam", "mobilenet", grad_cam, gc.GradCAM, {}),
    ("hirescam", "resnet", grad_cam, gc.HiResCAM, {}),
    ("hirescam", "mobilenet", grad_cam, gc.HiResCAM, {}),
    ("xgradcam", "resnet", grad_cam, gc.XGradCAM, {}),
    ("xgradcam", "mobilenet", grad_cam, gc.XGradCAM, {}),
    ("layercam", "resnet", grad_cam, gc.LayerCAM, {}),
    ("layercam", "mobilenet", grad_cam, gc.LayerCAM, {}),
    ("shapleycam", "resnet", grad_cam, gc.ShapleyCAM, {}),
    ("shapleycam", "smooth", grad_cam, gc.ShapleyCAM, {}),
]
AFTER_RELU = [
    ("gradcam", "resnet", torch_cam, tc.GradCAM, {}),
    ("xgradcam", "resnet", torch_cam, tc.XGradCAM, {}),
    ("xgradcam", "mobilenet", torch_cam, tc.XGradCAM, {}),
    ("layercam", "resnet", torch_cam, tc.LayerCAM, {}),
    ("layercam", "mobilenet", torch_cam, tc.LayerCAM, {}),
    ("finercam", "resnet", torch_cam, tc.FinerCAM, {}),
    ("finercam", "mobilenet", torch_cam, tc.FinerCAM, {}),
    ("finercam(rivals=1, strength=1.0)", "resnet", torch_cam, tc.FinerCAM, {"num_references": 1, "gamma": 1.0}),
    ("contrastive(layercam, strength=0.6)", "resnet", torch_cam, tc.FinerCAM, {"base_method": tc.LayerCAM}),
]


@pytest.mark.parametrize(("method", "network", "ask", "kind", "options"), SIGNED)
def test_agrees_with_sign(method: str, network: str, ask: Any, kind: Any, options: Any) -> None:
    case = CASES[network]()
    assert apart(case.ours(method), ask(case, kind, **options)) < SAME


@pytest.mark.parametrize(("method", "network", "ask", "kind", "options"), AFTER_RELU)
def test_agrees_after_the_relu(method: str, network: str, ask: Any, kind: Any, options: Any) -> None:
    case = CASES[network]()
    assert apart(case.ours(method), ask(case, kind, **options), relu=True) < SAME


def test_agrees_captum_gradcam() -> None:
    case = resnet()
    assert apart(case.ours("gradcam"), captum(case, attr.LayerGradCam, case.layer)[:, 0]) < SAME


def test_agrees_torchcam_cam() -> None:
    case = resnet("layer4")
    assert apart(case.ours("cam"), torch_cam(case, tc.CAM, fc_layer="fc")) < SAME


def test_shapleycam_has_a_curvature_to_agree_on() -> None:
    case = smooth()
    assert apart(case.ours("shapleycam"), case.ours("gradcam")) > 0.01


KPCA = [
    ("kpcacam", {}),
    ("kpcacam(kernel='rbf')", {"kernel": "rbf"}),
    ("kpcacam(gamma=0.05)", {"gamma": 0.05}),
    ("kpcacam(kernel='rbf', gamma=0.05)", {"kernel": "rbf", "gamma": 0.05}),
]


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
@pytest.mark.parametrize(("method", "options"), KPCA)
def test_agrees_grad_cam_kpcacam_but_for_the_sign(method: str, options: Any, network: str) -> None:
    """In float64: the kernel's values differ little, and float32 costs either of the two up to 2 % of full scale."""
    case = CASES[network]().double
    ours = case.ours(method)
    assert apart_but_for_sign(ours, grad_cam(case, gc.KPCA_CAM, made_with=options)) < SAME
    centred = case.activations - case.activations.mean(axis=(-2, -1), keepdims=True)
    assert ((ours * centred.sum(axis=1)).sum(axis=(-2, -1)) > 0).all()


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_agrees_grad_cam_eigengradcam_but_for_the_sign(network: str) -> None:
    case = CASES[network]()
    ours = case.ours("eigengradcam")
    assert apart_but_for_sign(ours, grad_cam(case, gc.EigenGradCAM)) < SAME
    hirescam = (case.gradients * case.activations).sum(axis=1)
    centred = hirescam - hirescam.mean(axis=(-2, -1), keepdims=True)
    assert ((ours * centred).sum(axis=(-2, -1)) > 0).all()


def test_agrees_grad_cam_ablationcam_of_positive_scores() -> None:
    case = resnet("layer4")
    best = Case(case.model, case.layer, case.batch, case.model(case.batch).argmax(1).tolist()).first()
    assert apart(best.ours("ablationcam"), grad_cam(best, gc.AblationCAM)) < SAME


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_agrees_grad_cam_finercam_with_one_rival(network: str) -> None:
    case = CASES[network]().double
    top = Case(case.model, case.layer, case.batch, case.model(case.batch).argmax(1).tolist())
    for strength in (1.0, 0.6):
        theirs = grad_cam(top, gc.FinerCAM, targets="top", comparison_categories=[1], alpha=strength)
        assert apart(top.ours(f"finercam(rivals=1, strength={strength})"), theirs) < SAME


# Maps of the image. Ours have one number a position: the strongest colour, or the sum where colours are summed.

CAPTUM = [
    ("gradient", attr.Saliency, {}),
    ("guidedbackprop", attr.GuidedBackprop, {}),
    ("deconvnet", attr.Deconvolution, {}),
]


@pytest.mark.parametrize(("method", "kind", "options"), CAPTUM)
def test_agrees_captum_on_the_image(method: str, kind: Any, options: Any) -> None:
    case = resnet()
    assert apart(case.ours(method), strongest(captum(case, kind, **options))) < SAME


def test_agrees_captum_guided_gradcam_enlarged_bilinearly() -> None:
    case = resnet()
    theirs = strongest(captum(case, attr.GuidedGradCam, case.layer, interpolate_mode="bilinear"))
    assert apart(case.ours("guidedgradcam"), theirs) < SAME


@pytest.mark.parametrize("steps", [32, 7])
def test_agrees_captum_integrated_gradients(steps: int) -> None:
    case = resnet()
    theirs = captum(case, attr.IntegratedGradients, n_steps=steps, method="gausslegendre", baselines=0.5).sum(1)
    assert apart(case.ours(f"integratedgradients(steps={steps}, baseline=0.5)"), theirs) < SAME


def test_agrees_captum_noise_tunnel_with_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    case = resnet().first()
    deviation = 0.15 * float(case.batch.max() - case.batch.min())
    drawn = torch.cat([drawn_by_us(tuple(case.batch.shape), i) for i in range(8)])
    monkeypatch.setattr(torch, "normal", lambda mean, std: std * drawn)
    tunnel = attr.NoiseTunnel(attr.Saliency(copy.deepcopy(case.model)))
    theirs = tunnel.attribute(
        case.batch, target=case.classes[0], nt_samples=8, stdevs=deviation, abs=False, nt_type="smoothgrad"
    )
    assert apart(case.ours("smoothgrad(samples=8)"), strongest(theirs)) < SAME


def test_agrees_captum_occlusion_where_windows_fit() -> None:
    case = resnet().double.first()
    window = {"sliding_window_shapes": (3, 16, 16), "strides": (3, 8, 8), "baselines": 0.5}
    theirs = captum(case, attr.Occlusion, **window)[:, 0]
    assert apart(case.ours("occlusion(window=0.25, stride=0.125, fill=0.5)"), theirs) < SAME


def test_agrees_grad_cam_guided_backprop() -> None:
    case = resnet().first()
    model = gc.GuidedBackpropReLUModel(copy.deepcopy(case.model))
    theirs = model(case.batch.clone(), target_category=case.classes[0])
    assert apart(case.ours("guidedbackprop"), np.abs(theirs).max(axis=2)[None]) < SAME


def drawn_by_us(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The noise of our methods that use some."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def sscam_noise(channels: int, size: tuple[int, ...], sample: int) -> torch.Tensor:
    """What SS-CAM adds to the masks of all channels, (channels, *size), in one of its samples."""
    return torch.stack([drawn_by_us(size, 7919 * sample + channel) for channel in range(channels)])


# Departures: gradients and activations of one layer.


def plus_plus(case: Case, alpha: Any) -> Any:
    """Grad-CAM++ with any alpha."""
    return weighted((alpha * cut(case.gradients)).sum(axis=(-2, -1)), case.activations)


def paper_plus_plus(case: Case) -> Any:
    """Equation 19 of arXiv:1710.11063, with the sum over all positions of A alone."""
    g, total = case.gradients, case.activations.sum(axis=(-2, -1), keepdims=True)
    below = 2 * g**2 + total * g**3
    return plus_plus(case, np.divide(g**2, below, out=np.zeros_like(g), where=below != 0))


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_grad_cam_plus_plus_has_an_epsilon_as_large_as_squared_gradients(network: str) -> None:
    case = CASES[network]().double
    g, total = case.gradients, case.activations.sum(axis=(-2, -1), keepdims=True)
    departing = plus_plus(case, g**2 / (2 * g**2 + total * g**3 + 1e-6))
    judge(case.ours("gradcampp"), paper_plus_plus(case), grad_cam(case, gc.GradCAMPlusPlus), departing)
    assert np.median(g**2) < 1e-5


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_torchcam_plus_plus_lost_its_division_to_a_masked_copy(network: str) -> None:
    """What is left is ``sum(g^2 relu(g))``; ours is compared at its own scale, so both are scaled to [0, 1] first."""
    case = CASES[network]().double
    departing = plus_plus(case, case.gradients**2)
    theirs = torch_cam(case, tc.GradCAMpp)
    assert apart(departing, theirs, relu=True) < SAME
    assert apart(paper_plus_plus(case), case.ours("gradcampp")) < EXACT
    assert apart(unit(paper_plus_plus(case)), unit(departing)) > APART


class Antisymmetric(nn.Module):
    """Whole numbers whose first channel sums to exactly 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (4 * x).round()
        return torch.cat((x[:, :1] - x[:, :1].flip(-1), x[:, 1:].relu()), dim=1)


def test_grad_cam_and_torchcam_xgradcam_of_a_channel_that_sums_to_0_is_that_channel_alone() -> None:
    case = steep().double
    case.model[1] = Antisymmetric()
    a, g = case.activations, case.gradients
    products, total = (g * a).sum(axis=(-2, -1)), a.sum(axis=(-2, -1))
    assert (total[:, 0] == 0).all()
    paper = weighted(np.divide(products, total, out=np.zeros_like(total), where=total != 0), a)
    for theirs, epsilon, relu in (
        (grad_cam(case, gc.XGradCAM), 1e-7, False),
        (torch_cam(case, tc.XGradCAM), 1e-8, True),
    ):
        judge(case.ours("xgradcam"), paper, theirs, weighted(products / (total + epsilon), a), relu=relu)
        assert np.abs(theirs).max() > 1e4 * np.abs(paper).max()


def test_grad_cam_fem_weighs_activations_by_the_share_of_positions_that_stand_out() -> None:
    """The paper weighs the positions that stand out, and by the channel's mean."""
    case = resnet().double
    a, axes = case.activations, (-2, -1)
    out = a > a.mean(axis=axes, keepdims=True) + 2 * a.std(axis=axes, keepdims=True)
    paper = weighted(a.mean(axis=axes), out.astype(float))
    judge(case.ours("fem"), paper, grad_cam(case, gc.FEM), weighted(out.mean(axis=axes), a))


def difference(case: Case, score: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Grad-CAM of any score (n, classes) -> (n,), in float64."""
    model, kept = copy.deepcopy(case.model), []

    def keep(module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    model.get_submodule(case.layer).register_forward_hook(keep)
    (gradients,) = torch.autograd.grad(score(model(case.batch)).sum(), kept[0])
    return weighted(gradients.mean(dim=(-2, -1)).numpy(), kept[0].detach().numpy())


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_grad_cam_finercam_weighs_rivals_by_probabilities_and_differentiates_these(network: str) -> None:
    case = CASES[network]().double
    logits = case.model(case.batch).detach()
    top = Case(case.model, case.layer, case.batch, logits.argmax(1).tolist())
    order = (logits.max(1, keepdim=True)[0] - logits).abs().argsort(1)
    best, rivals = order[:, :1], order[:, 1:4]

    def mean(y: torch.Tensor, strength: float) -> torch.Tensor:
        return y.gather(1, best)[:, 0] - strength * y.gather(1, rivals).mean(1)

    def by_probability(y: torch.Tensor) -> torch.Tensor:
        p = y.softmax(1).gather(1, rivals)
        return (p * (y.gather(1, best) - y.gather(1, rivals))).sum(1) / (p.sum(1) + 1e-9)

    theirs = grad_cam(top, gc.FinerCAM, targets="top")
    ours, paper = top.ours("finercam(strength=1.0)"), difference(top, lambda y: mean(y, 1.0))
    judge(ours, paper, theirs, difference(top, by_probability))
    assert apart(difference(top, lambda y: mean(y, 0.6)), top.ours("finercam")) < EXACT


# Departures: principal directions.


def principal(samples: Any, *, centred: bool) -> Any:
    """(n, c, h, w) -> (n, h, w) by a singular value decomposition; the sign that of the sum over channels."""
    maps = []
    for channels in samples:
        rows = channels.reshape(len(channels), -1).T
        rows = rows - rows.mean(axis=0) if centred else rows
        along = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
        maps.append((along * np.sign((along * rows.sum(axis=1)).sum())).reshape(channels.shape[1:]))
    return np.stack(maps)


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_grad_cam_eigencam_is_centred(network: str) -> None:
    case = CASES[network]().double
    paper, departing = (principal(case.activations, centred=centred) for centred in (False, True))
    assert apart(paper, case.ours("eigencam")) < EXACT
    assert apart_but_for_sign(departing, grad_cam(case, gc.EigenCAM)) < SAME
    assert apart_but_for_sign(paper, departing) > APART


def reordered(case: Case, order: Any) -> Case:
    """The same function with the channels of the layer in another order."""
    model = copy.deepcopy(case.model)
    with torch.no_grad():
        model[0].weight[:], model[0].bias[:] = model[0].weight[order].clone(), model[0].bias[order].clone()
        model[2].weight[:] = model[2].weight[:, order].clone()
    return Case(model, case.layer, case.batch, case.classes)


@pytest.mark.parametrize(("method", "kind"), [("eigencam", gc.EigenCAM), ("eigengradcam", gc.EigenGradCAM)])
def test_grad_cam_principal_maps_change_sign_with_the_order_of_channels(method: str, kind: Any) -> None:
    case = steep().double.first()
    ours, theirs, signs = case.ours(method), grad_cam(case, kind), set()
    for _ in range(12):
        other = reordered(case, np.random.permutation(6))
        assert apart(ours, other.ours(method)) < EXACT
        found = grad_cam(other, kind)
        assert apart_but_for_sign(theirs, found) < SAME
        signs.add(np.sign((found * theirs).sum()))
    assert signs == {-1, 1}


def test_grad_cam_eigen_smooth_is_centred() -> None:
    case = resnet().double
    parts = case.gradients.mean(axis=(-2, -1), keepdims=True) * case.activations
    paper, departing = (principal(parts, centred=centred) for centred in (False, True))
    assert apart(paper, case.ours("eigen_smooth(gradcam)")) < EXACT
    assert apart_but_for_sign(departing, grad_cam(case, gc.GradCAM, eigen_smooth=True)) < SAME
    assert apart_but_for_sign(paper, departing) > APART


# Departures: channels left out, and images seen through channels.


def test_grad_cam_ablationcam_turns_the_map_of_a_negative_score_upside_down() -> None:
    case = steep().double
    scores = case.model(case.batch).detach()
    assert (scores.amin(1) < 0).all()
    worst = Case(case.model, case.layer, case.batch, scores.argmin(1).tolist())
    ours, theirs = worst.ours("ablationcam"), grad_cam(worst, gc.AblationCAM)
    assert apart(ours, -theirs) < SAME
    assert apart(without_channels(worst, lambda a, c: 0), ours) < EXACT


def without_channels(case: Case, value: Callable[[torch.Tensor, int], Any]) -> Any:
    """The share of the score's magnitude that is lost where a channel has another value, times the channel."""
    a, weights = torch.as_tensor(case.activations), np.zeros(case.activations.shape[:2])
    for i, c in np.ndindex(weights.shape):
        changed = a[i : i + 1].clone()
        changed[:, c] = value(a[i], c)
        model, score = copy.deepcopy(case.model), case.scores(case.batch[i : i + 1], i)
        model.get_submodule(case.layer).register_forward_hook(lambda m, x, y, changed=changed: changed)
        with torch.no_grad():
            weights[i, c] = (score - model(case.batch[i : i + 1])[:, case.classes[i]].numpy())[0] / abs(score[0])
    return weighted(weights, case.activations)


def test_grad_cam_ablationcam_of_a_signed_layer_sets_channels_to_minus_ten_million_and_more() -> None:
    """And each channel ten million lower than the one before: the minimum is taken of what was changed already."""
    case = steep(activation=nn.LeakyReLU).double
    best = Case(case.model, case.layer, case.batch, case.model(case.batch).argmax(1).tolist())
    paper = without_channels(best, lambda a, c: 0)
    departing = without_channels(best, lambda a, c: a.min() - 1e7 * (c + 1))
    judge(best.ours("ablationcam"), paper, grad_cam(best, gc.AblationCAM), departing)


def seen(case: Case, *, corners: bool = False, unit_first: bool = False) -> Any:
    """Masks (n, c, H, W) in [0, 1]."""
    a = case.activations
    flat = a.reshape(-1, *a.shape[2:])
    masks = resized(unit(flat), case.size) if unit_first else unit(resized(flat, case.size, align_corners=corners))
    return masks.reshape(*a.shape[:2], *case.size)


def by_score(case: Case, masks: Sequence[Any]) -> Any:
    """Channels by the softmax of the mean score of images seen through several masks (n, c, H, W)."""
    weights = []
    for i, image in enumerate(case.batch):
        means = np.mean([case.scores(image * torch.as_tensor(m[i])[:, None], i) for m in masks], axis=0)
        weights.append(np.exp(means - means.max()) / np.exp(means - means.max()).sum())
    return weighted(np.stack(weights), case.activations)


def test_agrees_scorecam_where_nothing_is_enlarged() -> None:
    case = steep(stride=1)
    ours = case.ours("scorecam")
    assert apart(ours, grad_cam(case, gc.ScoreCAM)) < SAME
    assert apart(ours, torch_cam(case, tc.ScoreCAM), relu=True) < SAME
    assert apart(by_score(case.double, [seen(case.double)]), ours) < SAME


@pytest.mark.parametrize("network", ["steep", "resnet"])
def test_grad_cam_scorecam_enlarges_with_aligned_corners(network: str) -> None:
    case = sharp(network)
    departing = by_score(case, [seen(case, corners=True)])
    judge(case.ours("scorecam"), by_score(case, [seen(case)]), grad_cam(case, gc.ScoreCAM), departing)


@pytest.mark.parametrize("network", ["steep", "resnet"])
def test_torchcam_scorecam_scales_to_0_and_1_before_it_enlarges(network: str) -> None:
    case = sharp(network)
    departing = by_score(case, [seen(case, unit_first=True)])
    judge(case.ours("scorecam"), by_score(case, [seen(case)]), torch_cam(case, tc.ScoreCAM), departing, relu=True)


def sharp(network: str) -> Case:
    """A case in which the softmax over channels is not flat."""
    if network == "steep":
        return steep().double
    case = Case(built("resnet18"), "layer1", images(32, 32, 1), [7]).double
    case.model.fc.weight.data *= 20
    return case


def test_torchcam_sscam_with_the_same_noise_departs_as_scorecam_does() -> None:
    case = steep().double
    n, c = case.activations.shape[:2]
    noise = [2 * sscam_noise(c, case.size, sample).expand(n, -1, -1, -1) for sample in range(5)]
    theirs = torch_cam(case, tc.SSCAM, num_samples=5, noise=noise)
    paper, departing = (
        by_score(case, [seen(case, unit_first=first) + x.numpy() for x in noise]) for first in (False, True)
    )
    judge(case.ours("sscam(samples=5)"), paper, theirs, departing, relu=True)


def test_agrees_torchcam_sscam_where_nothing_is_enlarged() -> None:
    case = steep(stride=1)
    n, c = case.activations.shape[:2]
    noise = [2 * sscam_noise(c, case.size, sample).expand(n, -1, -1, -1) for sample in range(5)]
    theirs = torch_cam(case, tc.SSCAM, num_samples=5, noise=noise)
    assert apart(case.ours("sscam(samples=5)"), theirs, relu=True) < SAME


def test_torchcam_iscam_adds_strengths_up_until_images_are_five_times_too_strong() -> None:
    """The paper's own sum does so too, one step later; ours goes from a tenth of the image to the image."""
    case = steep(stride=1).double
    masks, steps = seen(case), np.arange(1, 11) / 10
    paper = by_score(case, [step * masks for step in steps])
    departing = by_score(case, [strength * masks for strength in np.cumsum(steps)])
    assert np.cumsum(steps)[-1] == pytest.approx(5.5)
    judge(case.ours("iscam"), paper, torch_cam(case, tc.ISCAM), departing, relu=True)


def test_torchcam_smooth_plus_plus_shows_the_last_noisy_image() -> None:
    """Its activations and relu(g) where the paper has the image's own and the mean; and sum(A g^3) for sum(A) g^3.

    Both have mean(g^2) above the line, as Grad-CAM++ does; torchcam quotes mean(g) from the paper and corrects it.
    """
    case = steep().double
    spread = case.batch.amax((1, 2, 3), keepdim=True) - case.batch.amin((1, 2, 3), keepdim=True)
    noise = [0.15 * spread * drawn_by_us((1, *case.batch.shape[1:]), i).double() for i in range(4)]
    noisy = [Case(case.model, case.layer, case.batch + x, case.classes) for x in noise]
    g = np.stack([other.gradients for other in noisy])
    a, second, third = case.activations, (g**2).mean(axis=0), (g**3).mean(axis=0)

    def alpha(products: Any, epsilon: float) -> Any:
        below = 2 * second + products + epsilon
        return np.divide(second, below, out=np.zeros_like(second), where=below != 0)

    right = alpha(a.sum(axis=(-2, -1), keepdims=True) * third, 0)
    wrong = alpha((a * third).sum(axis=(-2, -1), keepdims=True), 1e-8)
    paper = weighted((right * cut(g.mean(axis=0))).sum(axis=(-2, -1)), a)
    departing = weighted((wrong * cut(g[-1])).sum(axis=(-2, -1)), noisy[-1].activations)
    theirs = torch_cam(case, tc.SmoothGradCAMpp, num_samples=4, noise=noise)
    judge(case.ours("smoothgradcampp(samples=4)"), paper, theirs, departing, relu=True)


# Departures: maps of the image.


def test_captum_guided_gradcam_enlarges_to_blocks() -> None:
    case = resnet().double
    guided = strongest(captum(case, attr.GuidedBackprop))
    gradcam = cut(weighted(case.gradients.mean(axis=(-2, -1)), case.activations))
    paper = guided * resized(gradcam, case.size)
    departing = guided * resized(gradcam, case.size, mode="nearest", align_corners=None)
    theirs = strongest(captum(case, attr.GuidedGradCam, case.layer))
    judge(case.ours("guidedgradcam"), paper, theirs, departing)


class Functional(nn.Module):
    """The toy with its ReLUs as functions instead of modules."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.one, _, self.two, _, *rest = body
        self.rest = nn.Sequential(*rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(F.relu(self.two(F.relu(self.one(x)))))


@pytest.mark.parametrize(
    ("method", "kind"), [("guidedbackprop", attr.GuidedBackprop), ("deconvnet", attr.Deconvolution)]
)
def test_captum_and_grad_cam_give_the_plain_gradient_where_relu_is_a_function(method: str, kind: Any) -> None:
    modules = steep()
    functions = Case(Functional(modules.model), "one", modules.batch, modules.classes)
    paper, plain = strongest(captum(modules, kind)), strongest(captum(functions, attr.Saliency))
    judge(functions.ours(method), paper, strongest(captum(functions, kind)), plain)
    theirs = gc.GuidedBackpropReLUModel(copy.deepcopy(functions.model))(
        functions.batch[:1].clone(), target_category=functions.classes[0]
    )
    assert apart(plain[:1], np.abs(theirs).max(axis=2)[None]) < SAME


def occluded(case: Case, starts: Sequence[int], length: int) -> Any:
    """The mean loss of score of the windows that cover a position."""
    total, count = np.zeros((len(case.batch), *case.size)), np.zeros(case.size)
    scores = [case.scores(case.batch[i : i + 1], i) for i in range(len(case.batch))]
    for top in starts:
        for left in starts:
            place = (..., slice(top, top + length), slice(left, left + length))
            changed = case.batch.clone()
            changed[place] = 0
            lost = [score - case.scores(changed[i : i + 1], i) for i, score in enumerate(scores)]
            total[place] += np.reshape(lost, (-1, 1, 1))
            count[place] += 1
    return total / count


def test_captum_occlusion_cuts_its_last_windows_short() -> None:
    """Windows of 13 in steps of 6 over 64: ours end with one at 51; captum's with one at 54, of 10 positions."""
    case = Case(convolutional(), "2", images(64, 64), [3, 1]).double
    paper = occluded(case, [*range(0, 51, 6), 51], 13)
    departing = occluded(case, range(0, 60, 6), 13)
    window = {"sliding_window_shapes": (3, 13, 13), "strides": (3, 6, 6)}
    theirs = captum(case, attr.Occlusion, **window)[:, 0]
    judge(case.ours("occlusion"), paper, theirs, departing)


def biases(case: Case) -> list[Any]:
    """Gradient times input, then gradient times bias of each convolution and normalisation: (n, c, h, w) each."""
    model, kept = copy.deepcopy(case.model), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None:
            module.register_forward_hook(lambda m, x, y: kept.append((m, y.clone())) or kept[-1][1].clone())
    batch = case.batch.clone().requires_grad_()
    scores = model(batch).gather(1, torch.tensor(case.classes)[:, None]).sum()
    first, *gradients = torch.autograd.grad(scores, [batch, *(y for _, y in kept)])
    terms = [first * batch.detach()]
    for (module, _), gradient in zip(kept, gradients, strict=True):
        bias = module.bias.detach()
        if isinstance(module, nn.BatchNorm2d):
            bias = bias - module.running_mean * module.weight.detach() / (module.running_var + module.eps).sqrt()
        terms.append(gradient * bias[:, None, None])
    return [np.abs(term.numpy()) for term in terms]


@pytest.mark.parametrize("network", ["convolutional", "resnet"])
def test_grad_cam_fullgrad_scales_every_channel_of_a_bias_by_itself(network: str) -> None:
    """So a channel that adds nothing counts as much as the one that adds most; the paper scales a layer as a whole."""
    case = (resnet() if network == "resnet" else Case(convolutional(), "2", images(24, 30), [3, 1])).double
    paper = departing = 0
    for term in biases(case):
        paper = paper + resized(unit(term.reshape(len(term), 1, -1)).reshape(term.shape).sum(axis=1), case.size)
        own = term - term.min(axis=(-2, -1), keepdims=True)
        own = own / (1e-7 + own.max(axis=(-2, -1), keepdims=True))
        departing = departing + resized(own.sum(axis=1), case.size)
    theirs = shown_by_grad_cam(case, gc.FullGrad, [])
    assert apart(paper, case.ours("fullgrad")) < EXACT
    assert apart(unit(departing), theirs) < SAME
    assert apart(unit(paper), unit(departing)) > 0.01


def test_grad_cam_sobel_halves_the_sum_of_slopes_where_the_gradient_has_a_length() -> None:
    """And drops what is beyond 255; borders are mirrored there and repeated here."""
    from pytorch_grad_cam.sobel_cam import sobel_cam

    gray = np.random.randint(0, 25, (20, 26)).astype(np.uint8)
    batch = torch.from_numpy(np.stack([gray.astype(np.float32)] * 3))[None]
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    across, down = (F.conv2d(batch[:, :1], k[None, None])[:, 0].numpy() for k in (kernel, kernel.T.contiguous()))
    inside = (..., slice(1, -1), slice(1, -1))
    ours = Case(convolutional(), "2", batch, [3]).ours("edge")[inside]
    theirs = sobel_cam(np.stack([gray] * 3, axis=-1))[None][inside]
    judge(ours, np.hypot(across, down), theirs, np.round((np.abs(across) + np.abs(down)) / 2))


# Departures: several layers, and several versions of the image.

LAYERS = ["layer2", "layer3", "layer4"]
PLUS_PLUS = {gc: lambda case: grad_cam(case, gc.GradCAMPlusPlus), tc: lambda case: torch_cam(case, tc.GradCAMpp)}


def gradcam(case: Case) -> Any:
    return weighted(case.gradients.mean(axis=(-2, -1)), case.activations)


def layercam(case: Case) -> Any:
    return (cut(case.gradients) * case.activations).sum(axis=1)


def of_layers(case: Case, method: Callable[[Case], Any], layers: Sequence[str] = LAYERS) -> list[Any]:
    """Maps after the ReLU, which has to leave something."""
    maps = [cut(method(case.at(layer))) for layer in layers]
    assert all((m.max(axis=(-2, -1)) > 0).all() for m in maps)
    return maps


def enlarged(maps: Sequence[Any], size: Any, *, again: bool) -> list[Any]:
    """Scaled to [0, 1] and enlarged; and scaled again, as in the authors' code, or not."""
    large = [resized(unit(m), size) for m in maps]
    return [unit(m) for m in large] if again else large


def test_agrees_grad_cam_refinecam_of_gradcam() -> None:
    case = resnet().double
    ours = case.ours("refine(gradcam)", LAYERS)
    paper = unit(np.prod(enlarged(of_layers(case, gradcam), case.size, again=True), axis=0))
    assert apart(paper, ours) < EXACT
    theirs = shown_by_grad_cam(case, gc.RefineCAM, LAYERS, made_with={"base_method": gc.GradCAM})
    assert apart(ours, theirs) < SAME


@pytest.mark.parametrize("peer", [gc, tc], ids=["grad-cam", "torchcam"])
def test_refinecam_of_peers_multiplies_their_plus_plus_maps(peer: Any) -> None:
    case = resnet().double
    if peer is gc:
        theirs = shown_by_grad_cam(case, gc.RefineCAM, LAYERS)
    else:
        theirs = torch_cam(case, tc.RefineCAM, layers=LAYERS, asked={"target_shape": case.size})
    paper, departing = (
        unit(np.prod(enlarged(of_layers(case, method), case.size, again=again), axis=0))
        for method, again in ((paper_plus_plus, True), (PLUS_PLUS[peer], peer is gc))
    )
    judge(case.ours("refinecam", LAYERS), paper, theirs, departing)


def test_torchcam_refinecam_does_not_scale_again_what_it_enlarged() -> None:
    case = resnet().double
    paper, departing = (
        unit(np.prod(enlarged(of_layers(case, layercam), case.size, again=again), axis=0)) for again in (True, False)
    )
    asked = {"target_shape": case.size}
    theirs = torch_cam(case, tc.RefineCAM, layers=LAYERS, base_method=tc.LayerCAM, asked=asked)
    judge(case.ours("refine(layercam)", LAYERS), paper, theirs, departing)


def test_torchcam_layercam_fuses_the_hyperbolic_tangents_of_all_layers() -> None:
    """Equation 9, meant for shallow layers; the largest of the maps is not scaled to [0, 1] after it."""
    case = resnet().double
    maps = of_layers(case, layercam)
    paper = unit(np.max(enlarged(maps, case.size, again=True), axis=0))
    departing = np.max([resized(np.tanh(2 * unit(m)), case.size) for m in maps], axis=0)
    with tc.LayerCAM(copy.deepcopy(case.model), list(LAYERS)) as extractor:
        found = extractor(case.classes, extractor.model(case.batch))
        theirs = extractor.fuse_cams(found, case.size).numpy()
    judge(case.ours("fuse(layercam, by='max')", LAYERS), paper, theirs, departing)


def test_grad_cam_of_several_layers_averages_maps_that_enlarging_made_unequal() -> None:
    case = resnet().double
    paper, departing = (
        unit(np.mean(enlarged(of_layers(case, layercam), case.size, again=again), axis=0)) for again in (True, False)
    )
    theirs = shown_by_grad_cam(case, gc.LayerCAM, LAYERS)
    judge(case.ours("fuse(layercam)", LAYERS), paper, theirs, departing)


def test_grad_cam_aug_smooth_averages_maps_that_were_each_scaled_to_0_and_1() -> None:
    """So a version of the image on which the method finds little counts as much as one on which it finds much."""
    case = steep().double
    raw, shown = [], []
    for mirrored in (False, True):
        for factor in (0.9, 1, 1.1):
            batch = factor * (case.batch.flip(-1) if mirrored else case.batch)
            maps = gradcam(Case(case.model, case.layer, batch, case.classes))
            large = unit(resized(unit(cut(maps)), case.size))
            raw.append(maps[..., ::-1] if mirrored else maps)
            shown.append(large[..., ::-1] if mirrored else large)
    theirs = shown_by_grad_cam(case, gc.GradCAM, [case.layer], aug_smooth=True)
    assert apart(np.mean(raw, axis=0), case.ours("smooth(gradcam)")) < EXACT
    assert apart(np.mean(shown, axis=0), theirs) < SAME
    assert apart(unit(resized(cut(np.mean(raw, axis=0)), case.size)), unit(np.mean(shown, axis=0))) > APART


def test_every_method_is_compared_or_is_only_ours() -> None:
    from gradsight.registry import METHODS

    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    # No peer has RISE or a centre; grad-cam's noise is another.
    only_ours = {"rise", "random", "centre", *(name for name in METHODS if METHODS[name].attends)}
    missing = [name for name in METHODS if name not in only_ours and f'"{name}' not in text]
    assert not missing
