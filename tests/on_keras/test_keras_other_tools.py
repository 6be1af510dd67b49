"""Keras methods beside tf-keras-vis 0.8.7, tf-explain 0.3.1 and Xplique 2.0.2, which know TensorFlow only.

As in `test_peers_methods.py`: where a peer computes the same thing, maps agree to 1e-5 of full scale before it resizes
them (`test_agrees_...`). Where it departs from the paper, the test's name says how, puts the departure down once more,
and shows that the peer gives that, that ours is the paper's formula, and that the two are not the same.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from scipy import ndimage

import gradsight as gs

if keras.backend.backend() != "tensorflow":
    pytest.skip("these tools differentiate with TensorFlow only", allow_module_level=True)

import tensorflow as tf

# Keras's, about how the tools call a model.
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),
]

SAME = 1e-5  # of full scale
APART = 1e-3  # what is no rounding any more


def peer(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names in SciPy and TensorFlow Probability
        return pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture(scope="module")
def xplique() -> Any:
    return peer("xplique.attributions")


def pruned(function: Any) -> Any:
    """A graph of a function, without what its result does not need: the gradients by the weights."""
    return tf.function(function, autograph=False)


class Case:
    """A model with a layer, a batch, and one class for each image."""

    def __init__(self, model: Any, layer: str, batch: Any, classes: Sequence[int]) -> None:
        self.model, self.layer, self.batch, self.classes = model, layer, batch, list(classes)

    @cached_property
    def _seen(self) -> tuple[Any, Any]:
        both = keras.Model(self.model.inputs, [self.model.get_layer(self.layer).output, *self.model.outputs])

        @pruned
        def differentiated(batch: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(batch)
                activations, scores = both([batch])
                total = tf.reduce_sum(scores * self.one_hot)
            return activations, tape.gradient(total, activations)

        seen = differentiated(tf.constant(self.batch))
        return tuple(np.moveaxis(x.numpy(), -1, 1).astype(np.float64) for x in seen)

    @property
    def activations(self) -> Any:
        """(n, c, h, w), float64."""
        return self._seen[0]

    @property
    def gradients(self) -> Any:
        """(n, c, h, w), float64."""
        return self._seen[1]

    @property
    def one_hot(self) -> Any:
        """(n, classes), which is how Xplique is told."""
        return np.eye(self.model.outputs[0].shape[-1], dtype=np.float32)[self.classes]

    @property
    def size(self) -> Any:
        return self.batch.shape[1:3]

    def image_gradients(self, batch: Any) -> Any:
        """(n, H, W, colours) at other images."""

        @pruned
        def differentiated(images: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                total = tf.reduce_sum(self.model(images) * self.one_hot)
            return tape.gradient(total, images)

        return differentiated(tf.constant(batch, tf.float32)).numpy().astype(np.float64)

    def scores(self, batch: Any, image: int) -> Any:
        """What other pictures score for the class of an image: (m,)."""
        return self.model(batch.astype(np.float32)).numpy()[:, self.classes[image]].astype(np.float64)

    def ours(self, method: str) -> Any:
        """Our maps: (n, h, w)."""
        found = gs.Explainer(self.model, layer=self.layer, method=method)(self.batch, targets=self.classes)
        return found.maps[:, 0].astype(np.float64)

    def first(self) -> Case:
        return Case(self.model, self.layer, self.batch[:1], self.classes[:1])


def layers(activation: str = "relu") -> list[Any]:
    return [
        L.Conv2D(6, 5, strides=4, padding="same", activation=activation, name="one"),
        L.Conv2D(8, 3, padding="same", activation=activation, name="two"),
        L.Conv2D(7, 3, padding="same", activation=activation, name="three"),
        L.Flatten(name="flat"),
        L.Dense(5, name="scores"),
    ]


def chained(some: Sequence[Any], x: Any) -> Any:
    for layer in some:
        x = layer(x)
    return x


@cache
def toy(activation: str = "relu", end: str = "linear", steep: float = 5) -> Case:
    """At the layer 8 by 10 positions of 8 channels; its scores differ by much."""
    keras.utils.set_random_seed(3)
    entry = keras.Input((32, 40, 3))
    model = keras.Model(entry, chained([*layers(activation), L.Activation(end)], entry))
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([kernel * steep, bias])
    batch = np.random.default_rng(0).standard_normal((2, 32, 40, 3)).astype(np.float32)
    return Case(model, "two", batch, [3, 2])


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference, of each map's full scale."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    scale = np.abs(ours).max(axis=(-2, -1))
    assert (scale > 0).all()
    return float((np.abs(ours - theirs).max(axis=(-2, -1)) / scale).max())


def judge(ours: Any, paper: Any, theirs: Any, departing: Any) -> None:
    """Ours is the paper's map, theirs is the departing one, and these two are not the same, however they are scaled."""
    assert apart(paper, ours) < SAME
    assert apart(departing, theirs) < SAME
    assert apart(unit(paper), unit(departing)) > APART


def unit(maps: Any) -> Any:
    """Scaled to [0, 1], each map by itself."""
    low, high = (f(axis=(-2, -1), keepdims=True) for f in (maps.min, maps.max))
    return (maps - low) / np.where(high > low, high - low, 1)


def cut(maps: Any) -> Any:
    assert (maps > 0).any(axis=(-2, -1)).all(), "the ReLU leaves nothing to compare"
    return np.maximum(maps, 0)


def strongest(gradients: Any) -> Any:
    """(..., colours) -> (...): our last step."""
    return np.abs(gradients).max(axis=-1)


def weighted(weights: Any, activations: Any) -> Any:
    """(n, c), (n, c, h, w) -> (n, h, w)."""
    return np.einsum("nc,nchw->nhw", weights, activations)


def gradcam(case: Case) -> Any:
    """Equations 1 and 2 of arXiv:1610.02391, before the ReLU."""
    return weighted(case.gradients.mean(axis=(-2, -1)), case.activations)


def plus_plus(case: Case, alpha: Any) -> Any:
    """Grad-CAM++ with any alpha."""
    return weighted((alpha * np.maximum(case.gradients, 0)).sum(axis=(-2, -1)), case.activations)


def alphas(case: Case, total: Any) -> Any:
    """Equation 19 of arXiv:1710.11063; there ``total`` is the sum of each channel over all positions."""
    g = case.gradients
    below = 2 * g**2 + total * g**3
    return np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)


def paper_plus_plus(case: Case) -> Any:
    return plus_plus(case, alphas(case, case.activations.sum(axis=(-2, -1), keepdims=True)))


# tf-keras-vis.


def vis(case: Case, module: str, name: str, made_with: Any = None, **options: Any) -> Any:
    """Maps of a class of tf-keras-vis, before the ReLU unless that is asked for: (n, h, w)."""
    scores = peer("tf_keras_vis.utils.scores").CategoricalScore(case.classes)
    made = getattr(peer(f"tf_keras_vis.{module}"), name)(case.model, **(made_with or {}))
    if module == "saliency":
        return np.asarray(made(scores, case.batch, normalize_map=False, **options))
    raw = {"expand_cam": False, "normalize_cam": False, "activation_modifier": None}
    where = {"penultimate_layer": case.layer, "seek_penultimate_conv_layer": False}
    return np.asarray(made(scores, case.batch, **{**raw, **where, **options}))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(
    ("method", "module", "name"),
    [("gradcam", "gradcam", "Gradcam"), ("layercam", "layercam", "Layercam"), ("gradient", "saliency", "Saliency")],
)
def test_agrees_tf_keras_vis(method: str, module: str, name: str, activation: str) -> None:
    case = toy(activation)
    assert apart(case.ours(method), vis(case, module, name)) < SAME


def test_agrees_tf_keras_vis_gradcam_of_a_softmax_that_it_is_told_to_replace() -> None:
    case = toy(end="softmax")
    made_with = {"model_modifier": peer("tf_keras_vis.utils.model_modifiers").ReplaceToLinear()}
    assert apart(case.ours("gradcam"), vis(case, "gradcam", "Gradcam", made_with)) < SAME
    assert apart(case.ours("gradcam"), vis(case, "gradcam", "Gradcam")) > APART


def test_agrees_tf_keras_vis_guided_backpropagation() -> None:
    case = toy()
    made_with = {"model_modifier": peer("tf_keras_vis.utils.model_modifiers").GuidedBackpropagation()}
    theirs = vis(case, "saliency", "Saliency", made_with)
    assert apart(case.ours("guidedbackprop"), theirs) < SAME
    assert apart(case.ours("gradient"), theirs) > APART


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_tf_keras_vis_plus_plus_scales_the_alphas_of_each_channel_to_sum_to_1(activation: str) -> None:
    """As early code of the authors did; and it keeps the factor exp(S), which equation 19 has divided out."""
    case = toy(activation, steep=1)
    alpha = alphas(case, case.activations.sum(axis=(-2, -1), keepdims=True))
    total = alpha.sum(axis=(-2, -1), keepdims=True)
    departing = plus_plus(case, alpha / np.where(total == 0, 1, total))
    factor = np.exp([case.scores(case.batch[i : i + 1], i)[0] for i in range(2)])[:, None, None]
    # Its only way to keep the ReLU inside is to have the one outside too.
    theirs = vis(case, "gradcam_plus_plus", "GradcamPlusPlus", activation_modifier=lambda x: tf.nn.relu(x))
    judge(cut(case.ours("gradcampp")), cut(paper_plus_plus(case)), theirs / factor, cut(departing))


def test_tf_keras_vis_plus_plus_is_nan_where_the_exponential_of_a_score_is_too_large() -> None:
    case = toy(steep=2000)
    best = Case(case.model, case.layer, case.batch, case.model(case.batch).numpy().argmax(axis=1).tolist())
    assert min(best.scores(best.batch[i : i + 1], i)[0] for i in range(2)) > 89
    assert np.isnan(vis(best, "gradcam_plus_plus", "GradcamPlusPlus")).any()
    assert apart(paper_plus_plus(best), best.ours("gradcampp")) < SAME


def scorecam(case: Case, masks: Any, weigh: Any) -> Any:
    """Channels weighed by what the images score through their masks (n, c, H, W)."""
    seen = masks[..., None] * case.batch[:, None]
    return weighted(np.stack([weigh(rows, i) for i, rows in enumerate(seen)]), case.activations)


def test_tf_keras_vis_scorecam_weighs_by_probabilities_of_masks_with_aligned_corners() -> None:
    """Where the paper (equation 7) has the softmax over channels of the increase of the score."""
    case = toy()

    def among_channels(rows: Any, image: int) -> Any:
        scores = np.exp(case.scores(rows, image))
        return scores / scores.sum()

    def probability(rows: Any, image: int) -> Any:
        scores = np.exp(case.model(rows.astype(np.float32)).numpy().astype(np.float64))
        return scores[:, case.classes[image]] / scores.sum(axis=1)

    factor = np.divide(case.size, case.activations.shape[-2:])
    by_corners = ndimage.zoom(case.activations, (1, 1, *factor), order=1, mode="nearest")
    by_centres = tf.image.resize(np.moveaxis(case.activations, 1, -1), case.size).numpy()
    paper = scorecam(case, unit(np.moveaxis(by_centres, -1, 1).astype(np.float64)), among_channels)
    departing = scorecam(case, unit(by_corners), probability)
    judge(case.ours("scorecam"), paper, vis(case, "scorecam", "Scorecam"), departing)


def test_tf_keras_vis_smoothgrad_averages_magnitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of gradients that point either way; the paper averages these."""
    case = toy().first()
    drawn = np.stack([drawn_by_us(case.batch.shape[1:], i) for i in range(4)])[:, None]
    monkeypatch.setattr(np.random, "normal", lambda mean, deviation, shape: deviation * drawn)
    theirs = vis(case, "saliency", "Saliency", smooth_samples=4, smooth_noise=0.15)
    spread = 0.15 * (case.batch.max() - case.batch.min())
    gradients = [case.image_gradients(case.batch + spread * noise) for noise in drawn]
    departing = np.mean([np.abs(g) for g in gradients], axis=0).max(axis=-1)
    judge(case.ours("smoothgrad(samples=4)"), strongest(np.mean(gradients, axis=0)), theirs, departing)


def drawn_by_us(shape: Sequence[int], seed: int) -> Any:
    """The noise of our methods that use some: colours first, as they see every image."""
    rows, columns, colours = shape
    noise = np.random.default_rng(seed).standard_normal((colours, rows, columns), dtype=np.float32)
    return np.moveaxis(noise, 0, -1)


# tf-explain.


def explained(case: Case, **options: Any) -> Any:
    """Its Grad-CAM of one class before it is drawn: (n, h, w)."""
    tool = peer("tf_explain.core.grad_cam").GradCAM
    seen = tool.get_gradients_and_filters(case.model, case.batch, case.layer, case.classes[0], **options)
    return np.stack(tool.generate_ponderated_output(*seen))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_tf_explain_gradcam_guides_the_gradients_unless_told_not_to(activation: str) -> None:
    case = toy(activation).first()
    assert apart(case.ours("gradcam"), explained(case, use_guided_grads=False)) < SAME
    guided = case.gradients * (case.gradients > 0) * (case.activations > 0)
    departing = weighted(guided.mean(axis=(-2, -1)), case.activations)
    judge(case.ours("gradcam"), gradcam(case), explained(case, use_guided_grads=True), departing)


def test_tf_explain_finds_no_layer_by_itself() -> None:
    case = toy()
    with pytest.raises(AttributeError, match="output_shape"):
        peer("tf_explain.core.grad_cam").GradCAM().explain((case.batch, None), case.model, 3)
    assert gs.Explainer(case.model)(case.batch, targets=3).layer == "three"


def test_tf_explain_integrated_gradients_are_not_multiplied_with_the_image() -> None:
    case = toy("gelu").first()
    tool = peer("tf_explain.core.integrated_gradients").IntegratedGradients
    points = tool.generate_interpolations(case.batch, 10)
    theirs = tool.get_integrated_gradients(points, case.model, case.classes[0], 10).numpy().sum(axis=-1)
    gradients = [case.image_gradients(case.batch * t) for t in np.linspace(0, 1, 10)]
    judge(
        case.ours("integratedgradients"), integral(case), theirs, np.mean(gradients, axis=0).sum(axis=-1)
    )  # both ends have the weight of the points between them


def integral(case: Case, steps: int = 64) -> Any:
    """Equation 3 of arXiv:1703.01365 by Simpson's rule: (n, H, W)."""
    weights = np.array([1, *[4, 2] * (steps // 2 - 1), 4, 1]) / (3 * steps)
    total = sum(w * case.image_gradients(case.batch * (i / steps)) for i, w in enumerate(weights))
    return (total * case.batch).sum(axis=-1)


# Xplique.


def xplique_cam(case: Case, kind: Any, **options: Any) -> Any:
    """Its maps after the ReLU, before it enlarges them: (n, h, w)."""
    tool = kind(case.model, conv_layer=case.layer, **options)
    activations, gradients = tool._gradient(tf.constant(case.batch), tf.constant(case.one_hot))
    return tool._apply_weights(tool._compute_weights(gradients, activations), activations).numpy()


def on_the_image(case: Case, kind: Any, **options: Any) -> Any:
    """What Xplique gives: (n, H, W, colours or 1)."""
    return np.asarray(kind(case.model, **options)(case.batch, case.one_hot))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_agrees_xplique_gradcam(activation: str, xplique: Any) -> None:
    case = toy(activation)
    assert apart(cut(case.ours("gradcam")), xplique_cam(case, xplique.GradCAM)) < SAME


@pytest.mark.parametrize(
    ("method", "kind"), [("gradient", "Saliency"), ("guidedbackprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")]
)
def test_agrees_xplique_on_the_image(method: str, kind: str, xplique: Any) -> None:
    case = toy()
    theirs = strongest(on_the_image(case, getattr(xplique, kind), reducer=None))
    assert apart(case.ours(method), theirs) < SAME


def test_agrees_xplique_fem(xplique: Any) -> None:
    case = toy()
    tool = xplique.FEM(case.model, conv_layer=case.layer, k=1.0)
    theirs = tool._apply_weights(*tool._compute_weights(tool.model(case.batch), tool.k)).numpy()
    assert apart(case.ours("fem(deviations=1.0)"), theirs) < SAME


def test_agrees_xplique_smoothgrad_with_the_same_noise(xplique: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = toy().first()
    spread = 0.15 * float(case.batch.max() - case.batch.min())
    drawn = np.stack([drawn_by_us(case.batch.shape[1:], i) for i in range(4)])
    monkeypatch.setattr(tf.random, "normal", lambda shape, mean, deviation, dtype: deviation * drawn)
    theirs = on_the_image(case, xplique.SmoothGrad, nb_samples=4, noise=spread, reducer=None)
    assert apart(case.ours("smoothgrad(samples=4)"), strongest(theirs)) < SAME


def test_agrees_xplique_occlusion_where_windows_do_not_overlap(xplique: Any) -> None:
    case = toy()
    theirs = on_the_image(case, xplique.Occlusion, patch_size=(8, 10), patch_stride=(8, 10), occlusion_value=0.5)
    assert apart(case.ours("occlusion(window=0.25, stride=0.25, fill=0.5)"), theirs[..., 0]) < SAME


def test_xplique_occlusion_adds_up_the_windows_that_cover_a_position(xplique: Any) -> None:
    """So the border, which fewer of them cover, is weaker; we take the mean."""
    case = toy()
    theirs = on_the_image(case, xplique.Occlusion, patch_size=(8, 10), patch_stride=(4, 5))
    total, covered = np.zeros((2, *case.size)), np.zeros(case.size)
    for top, left in np.ndindex(7, 7):
        at = slice(4 * top, 4 * top + 8), slice(5 * left, 5 * left + 10)
        hidden = case.batch.copy()
        hidden[(slice(None), *at)] = 0
        covered[at] += 1
        for i in range(2):
            before, after = (case.scores(x[i : i + 1], i)[0] for x in (case.batch, hidden))
            total[(i, *at)] += before - after
    judge(case.ours("occlusion(window=0.25, stride=0.125)"), total / covered, theirs[..., 0], total)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_xplique_plus_plus_has_means_where_the_paper_has_sums(activation: str, xplique: Any) -> None:
    """Of a channel's activations, which changes the map, and of alpha, which only scales it."""
    case = toy(activation)
    mean = case.activations.mean(axis=(-2, -1), keepdims=True)
    departing = plus_plus(case, alphas(case, mean) / math.prod(case.activations.shape[-2:]))
    theirs = xplique_cam(case, xplique.GradCAMPP)
    judge(cut(case.ours("gradcampp")), cut(paper_plus_plus(case)), theirs, cut(departing))


def test_xplique_integrated_gradients_are_a_trapezoidal_sum(xplique: Any) -> None:
    """On a smooth model far from the integral, which the rule of Gauss and Legendre meets with as many points."""
    case = toy("gelu")
    theirs = on_the_image(case, xplique.IntegratedGradients, reducer="sum", steps=8)[..., 0]
    gradients = [case.image_gradients(case.batch * t) for t in np.linspace(0, 1, 8)]
    departing = np.mean([(a + b) / 2 for a, b in itertools.pairwise(gradients)], axis=0) * case.batch
    judge(case.ours("integratedgradients(steps=8)"), integral(case), theirs, departing.sum(axis=-1))


def test_xplique_rise_divides_by_what_was_drawn(xplique: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps the mean score, which is ours everywhere less; the paper divides by what is expected (equation 6)."""
    case, number = toy().first(), 40
    masks = our_masks(case.size, number)[..., None]
    batches = iter(np.split(masks, [32]))

    def apply_ours(image: Any, binary: Any, value: float) -> Any:
        these = tf.constant(next(batches), tf.float32)
        return these * image[None], these

    monkeypatch.setattr(xplique.Rise, "_apply_masks", staticmethod(apply_ours))
    theirs = on_the_image(case, xplique.Rise, nb_samples=number)[..., 0]
    scores = case.scores(masks * case.batch, 0)
    total, opened = np.tensordot(scores, masks[..., 0], 1)[None], masks[..., 0].sum(axis=0)
    paper = (total - scores.mean() * opened) / (number * 0.5)
    judge(case.ours(f"rise(masks={number})"), paper, theirs, total / (opened + 1e-4))


def our_masks(size: tuple[int, int], number: int, cells: int = 7) -> Any:
    """The masks of our RISE: (number, H, W)."""
    random, masks = np.random.default_rng(0), []
    for _ in range(number):
        coarse = (random.random((cells, cells)) < 0.5).astype(np.float32)
        steps = [-(-side // cells) for side in size]
        large = tf.image.resize(coarse[..., None], [(cells + 1) * step for step in steps]).numpy()[..., 0]
        top, left = (int(random.integers(step)) for step in steps)
        masks.append(large[top : top + size[0], left : left + size[1]])
    return np.stack(masks).astype(np.float64)


def test_xplique_rise_shifts_all_masks_of_a_batch_alike(xplique: Any) -> None:
    """Section 3.2 of arXiv:1806.07421 shifts each by itself."""
    case = toy()
    checkers = np.repeat(np.indices((1, 7, 7, 1)).sum(axis=0) % 2, 32, axis=0)
    _, masks = xplique.Rise._apply_masks(tf.constant(case.batch[0]), tf.constant(checkers > 0), 0.0)
    masks = masks.numpy()
    assert (masks == masks[:1]).all()
    assert np.ptp(masks) > 0.5


def test_xplique_enlarges_maps_beyond_their_own_values(xplique: Any) -> None:
    """Bicubically, after the ReLU: below 0 again."""
    case = toy()
    small = xplique_cam(case, xplique.GradCAM)
    large = np.asarray(xplique.GradCAM(case.model, conv_layer=case.layer)(case.batch, case.one_hot))
    assert small.min() == 0
    assert large.min() < -0.01 * small.max()
    found = gs.Explainer(case.model, layer=case.layer)(case.batch, targets=case.classes)
    assert found.heatmaps().min() == 0


def test_xplique_takes_no_notice_of_the_output_layer_that_is_named(xplique: Any) -> None:
    """So with a softmax at the end its maps are those of probabilities, whatever it is asked for."""
    case = toy(end="softmax")
    named = strongest(on_the_image(case, xplique.Saliency, output_layer="scores", reducer=None))
    assert apart(strongest(case.image_gradients(case.batch)), named) < SAME  # of probabilities
    logits = Case(
        keras.Model(case.model.inputs, case.model.get_layer("scores").output), "two", case.batch, case.classes
    )
    paper = strongest(logits.image_gradients(case.batch))
    assert apart(paper, named) > APART
    assert apart(paper, case.ours("gradient")) < SAME


def test_xplique_leaves_a_mark_on_the_model(xplique: Any) -> None:
    entry = keras.Input((32, 40, 3))
    case = toy()
    model = keras.Model(entry, chained(layers(), entry))
    fresh = Case(model, "two", case.batch, case.classes)
    before = set(vars(model.get_layer("two")))
    fresh.ours("gradcam")
    assert set(vars(model.get_layer("two"))) == before
    xplique_cam(fresh, xplique.GradCAM)
    assert set(vars(model.get_layer("two"))) == before | {"call"}


# Nested models.


@pytest.mark.parametrize("tool", ["tf-keras-vis", "tf-explain", "xplique"])
def test_the_tools_know_no_layer_of_a_nested_model(tool: str, request: pytest.FixtureRequest) -> None:
    entry, outer = keras.Input((32, 40, 3)), keras.Input((32, 40, 3))
    *body, flat, head = layers()
    plain = toy()
    model = keras.Model(outer, head(flat(keras.Model(entry, chained(body, entry), name="body")(outer))))
    model.set_weights(plain.model.get_weights())
    case = Case(model, "two", plain.batch, plain.classes)
    ask: dict[str, Callable[[], Any]] = {
        "tf-keras-vis": lambda: vis(case, "gradcam", "Gradcam"),
        "tf-explain": lambda: explained(case, use_guided_grads=False),
        "xplique": lambda: xplique_cam(case, request.getfixturevalue("xplique").GradCAM),
    }
    with pytest.raises(ValueError, match=r"No such layer: two|is not connected to `inputs`"):
        ask[tool]()
    assert apart(gradcam(plain), case.ours("gradcam")) < SAME
