"""What the probe on PyTorch gives beyond activations and gradients: other rules, curvature, biases, the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

import gradsight as gs
import toys
from gradsight.backends.torch import TorchBackend
from gradsight.errors import ModelError, UnknownName
from gradsight.layers import Layer
from gradsight.targets import OutputContext, resolve
from plain import Plain

CLASSES = [[0, 3], [4, 1]]


def images(n: int = 2, size: tuple[int, ...] = (12, 10)) -> torch.Tensor:
    return torch.randn(n, 3, *size, dtype=torch.float64)


def probe_of(model: nn.Module, layer: str, batch: Any, targets: Any = CLASSES, batch_size: int = 32) -> Any:
    return probes_of(model, [layer], batch, targets, batch_size)[0]


def probes_of(model: nn.Module, layers: list[str], batch: Any, targets: Any = CLASSES, batch_size: int = 32) -> Any:
    backend = TorchBackend(model)
    prepared = backend.prepare(batch)
    n = backend.count(prepared)

    def settle(logits: Any, outputs: Any) -> Any:
        return resolve(targets, OutputContext(n, logits))

    return backend.run(prepared, [Layer(name) for name in layers], settle, batch_size).probes


def close(found: torch.Tensor, expected: Any, relative: float = 1e-9) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=relative * np.abs(expected).max())


# --- rules


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize("inplace", [False, True])
def test_a_rule_at_every_relu_equals_the_backward_pass_by_hand(rule: str, inplace: bool) -> None:
    model, batch = toys.curved().double(), images()
    expected = Plain(model, "4", batch, CLASSES).rectified_gradients(rule)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = inplace
    close(probe_of(model, "4", batch).image.rectified(rule).gradients, expected)
    assert np.abs(expected - Plain(model, "4", batch, CLASSES).image_gradients).max() > 0


class Called(nn.Module):
    """One rectifier, called as given, between two convolutions."""

    def __init__(self, rectifier: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.rectifier = rectifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.rectifier(self.one(x))).mean((2, 3))


def written_into(x: torch.Tensor, function: Any, *arguments: Any, **keywords: Any) -> torch.Tensor:
    function(x, *arguments, **keywords)
    return x


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize(
    "rectifier",
    [
        nn.ReLU(),
        F.relu,
        torch.relu,
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: torch.relu_(x),
        lambda x: F.relu(x, inplace=True),
        lambda x: written_into(x, torch.relu_),
        lambda x: written_into(x, F.relu, inplace=True),
        lambda x: written_into(x, F.relu, True),
        lambda x: F.relu(input=x),
        lambda x: torch.relu(input=x),
    ],
    ids=[
        "module",
        "F.relu",
        "torch.relu",
        "x.relu",
        "x.relu_",
        "torch.relu_",
        "inplace=True",
        "torch.relu_, x",
        "inplace=True, x",
        "F.relu(x, True), x",
        "F.relu(input=x)",
        "torch.relu(input=x)",
    ],
)
def test_every_way_to_call_relu_is_met_by_the_rule(rectifier: Any, rule: str) -> None:
    model, batch = Called(rectifier).double(), images()
    plain = nn.Sequential(model.one, nn.ReLU(), model.two, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    expected = Plain(plain, "0", batch, CLASSES).rectified_gradients(rule)
    probe = probe_of(model, "one", batch).image.rectified(rule)
    np.testing.assert_allclose(probe.scores, probe_of(plain, "0", batch).scores)
    close(probe.gradients, expected)


def of_a_part(x: torch.Tensor) -> torch.Tensor:
    """ReLU of the first two channels."""
    return torch.cat((x[:, :2].relu(), x[:, 2:]), dim=1)


def written_into_a_part(x: torch.Tensor) -> torch.Tensor:
    x[:, :2].relu_()
    return x


def celu(x: torch.Tensor) -> torch.Tensor:
    """ReLU in two steps, under the name of an activation of PyTorch's, which is where rules look."""
    if has_torch_function((x,)):
        return handle_torch_function(celu, (x,), x)  # type: ignore[no-any-return]
    return x.clamp(min=0) * 1


def celu_(x: torch.Tensor) -> torch.Tensor:
    if has_torch_function((x,)):
        return handle_torch_function(celu_, (x,), x)  # type: ignore[no-any-return]
    return x.mul_(1).clamp_(min=0)


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize(
    ("rectifier", "plain"),
    [
        (written_into_a_part, of_a_part),
        (lambda x: celu(x) + 0.3 * x, lambda x: x.relu() + 0.3 * x),  # another way past it, which keeps its gradient
        (celu_, torch.relu),
    ],
    ids=["in a view", "in two steps", "in place in two steps"],
)
def test_rectifiers_that_are_no_single_step_of_the_graph(rectifier: Any, plain: Any, rule: str) -> None:
    model, batch = Called(rectifier).double(), images()
    found = probe_of(model, "one", batch).image.rectified(rule)
    model.rectifier = plain
    expected = probe_of(model, "one", batch).image.rectified(rule)
    assert torch.equal(found.scores, expected.scores)
    close(found.gradients, expected.gradients.numpy(), 1e-15)
    assert not torch.equal(found.gradients, probe_of(model, "one", batch).image.gradients)


SMOOTH = {
    "ReLU6": (nn.ReLU6(), F.relu6),
    "leaky": (nn.LeakyReLU(0.2, inplace=True), lambda x: F.leaky_relu(x, 0.2)),
    "ELU": (nn.ELU(), F.elu),
    "CELU": (nn.CELU(), F.celu),
    "SELU": (nn.SELU(), F.selu),
    "SiLU": (nn.SiLU(inplace=True), F.silu),
    "GELU": (nn.GELU(), F.gelu),
    "GELU, tanh": (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "Mish": (nn.Mish(), F.mish),
    "softplus": (nn.Softplus(), F.softplus),
    "hard-swish": (nn.Hardswish(), F.hardswish),
    "PReLU": (nn.PReLU(), lambda x: F.leaky_relu(x, 0.25)),
    "torch.prelu": (lambda x: torch.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)), lambda x: F.leaky_relu(x, 0.25)),
}


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_rectifiers_pass_the_positive_part_times_the_true_derivative(name: str, rule: str) -> None:
    rectifier, plain = SMOOTH[name]
    model, batch = Called(rectifier).double(), 3 * images()
    found = probe_of(model, "one", batch).image.rectified(rule).gradients
    for i, j in np.ndindex(2, 2):
        x = batch[i : i + 1].clone().requires_grad_()
        before = model.one(x).detach().requires_grad_()
        after = plain(before).detach().requires_grad_()
        (g,) = torch.autograd.grad(model.two(after).mean((2, 3))[0, CLASSES[i][j]], after)
        g = g.clamp(min=0)
        if rule == "guided":
            (g,) = torch.autograd.grad(plain(before), before, g)
        (expected,) = torch.autograd.grad(model.one(x), x, g)
        close(found[i, j], expected[0].detach())


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_a_rule_holds_for_the_gradients_of_a_layer_and_for_several_targets_as_for_one(rule: str) -> None:
    model, batch = toys.curved().double(), images()
    both = probe_of(model, "0", batch).rectified(rule).gradients
    for j in range(2):
        alone = probe_of(model, "0", batch, [[row[j]] for row in CLASSES]).rectified(rule).gradients
        close(both[:, j], alone[:, 0].numpy())
    on_image = probe_of(model, "0", batch).image.rectified(rule).gradients
    by_hand = torch.stack(
        [nn.grad.conv2d_input(batch.shape, model[0].weight, both[:, j], padding=1) for j in range(2)], 1
    )
    close(on_image, by_hand.detach().numpy())


def test_a_rule_stays_with_the_probe_for_other_images_and_targets_and_leaves_with_it() -> None:
    model, batch = toys.curved().double(), images()
    probe, other = probe_of(model, "4", batch), images()
    guided = probe.image.rectified("guided")
    expected = Plain(model, "4", other, CLASSES).rectified_gradients("guided")
    close(guided.with_images(other).gradients, expected)
    close(probe.rectified("guided").with_images(other).image.gradients, expected)
    swapped = [[b, a] for a, b in CLASSES]
    turned = guided.with_targets(resolve(swapped, OutputContext(2, probe.logits)))
    close(turned.gradients, Plain(model, "4", batch, swapped).rectified_gradients("guided"))
    close(probe.image.gradients, Plain(model, "4", batch, CLASSES).image_gradients)


def test_a_rule_leaves_the_scores_alone() -> None:
    probe = probe_of(toys.curved().double(), "4", images())
    for rule in ("guided", "deconvnet"):
        torch.testing.assert_close(probe.image.rectified(rule).scores, probe.scores)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_pass_that_notes_rectifiers_is_the_plain_one_and_serves_the_layer_the_image_and_every_rule(
    inplace: bool,
) -> None:
    model, batch = toys.convolutional(inplace=inplace), images().float()
    names = ["gradcam", "guidedgradcam", "gradient", "guidedbackprop", "deconvnet"]
    explainer = gs.Explainer(model, layer="4", targets=gs.Top(2))
    together = explainer(batch, method=names)
    for name, beside in zip(names, together, strict=True):
        alone = explainer(batch, method=name)
        np.testing.assert_array_equal(alone.maps, beside.maps)
        np.testing.assert_array_equal(alone.scores, beside.scores)
    with torch.no_grad():
        best = model(batch).topk(2).values.numpy()
    for one in together:
        np.testing.assert_array_equal(one.scores, best)


def test_an_unknown_rule_and_a_model_without_rectifiers_are_errors() -> None:
    with pytest.raises(UnknownName, match=r"no rule 'guidde'\. Did you mean 'guided'"):
        probe_of(toys.curved(), "4", images()).rectified("guidde")
    with pytest.raises(ModelError, match="ran no rectifier"):
        probe_of(Called(torch.tanh), "one", images()).image.rectified("guided")


# --- curvature


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_curvature_equals_differences_of_gradients(dimensions: int) -> None:
    model, batch = toys.curved(dimensions=dimensions).double(), images(size=(12, 10, 8)[:dimensions])
    probe, view = probe_of(model, "4", batch), Plain(model, "4", batch, CLASSES)
    direction = torch.randn_like(probe.activations)
    close(probe.curvature(direction), view.hessian(direction.numpy()), 1e-7)


def test_curvature_of_the_image_and_of_differences_of_scores() -> None:
    model, batch = toys.curved().double(), images()
    model[2], model[4] = nn.Tanh(), nn.Softplus()
    probe = probe_of(model, "4", batch, gs.Contrast(gs.Classes(0, 2), 1))
    direction = torch.randn_like(probe.activations)
    parts = [probe_of(model, "4", batch, gs.Classes(c)).curvature(direction)[:, 0] for c in (0, 1, 2)]
    close(probe.curvature(direction), torch.stack([parts[0] - parts[1], parts[2] - parts[1]], 1).numpy())
    image = probe_of(model, "4", batch).image
    direction = torch.randn_like(image.activations)

    def slopes(step: float) -> torch.Tensor:
        return image.with_images(batch + step * direction).gradients

    differences = (8 * (slopes(1e-3) - slopes(-1e-3)) - (slopes(2e-3) - slopes(-2e-3))) / 12e-3
    close(image.curvature(direction), differences.numpy(), 1e-6)


def test_curvature_of_a_piecewise_linear_tail_is_zero() -> None:
    probe = probe_of(toys.convolutional().double(), "4", images())
    assert not probe.curvature(probe.activations).any()


def test_curvature_of_tokens_leaves_the_extra_ones_out() -> None:
    model, batch = toys.Tokens().double().eval(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    probe = probe_of(model, "blocks.0", batch)
    direction = torch.randn_like(probe.activations)

    def slopes(step: float) -> np.ndarray:
        rows = np.zeros((2, 2, *direction.shape[1:]))
        for i, j in np.ndindex(2, 2):
            x = model.patches(batch[i : i + 1]).flatten(2).transpose(1, 2)
            x = model.blocks[0](torch.cat((model.extra, x), dim=1)).detach()
            x[:, 1:] += step * direction[i].flatten(1).T
            x.requires_grad_()
            (g,) = torch.autograd.grad(model.head(model.blocks[1](x)[:, 0])[0, CLASSES[i][j]], x)
            rows[i, j] = g[0, 1:].T.reshape(direction.shape[1:]).numpy()
        return rows

    close(probe.gradients, slopes(0.0), 1e-7)
    differences = (8 * (slopes(1e-3) - slopes(-1e-3)) - (slopes(2e-3) - slopes(-2e-3))) / 12e-3
    close(probe.curvature(direction), differences, 1e-5)


# --- biases


def test_bias_terms_equal_those_by_hand_module_by_module() -> None:
    model, batch = toys.curved().double(), images()
    probe, view = probe_of(model, "4", batch), Plain(model, "4", batch, CLASSES)
    for j in range(2):
        found, expected = list(probe.image.bias_terms(j)), view.bias_terms(j)
        assert len(found) == len(expected) == 6
        for term, other in zip(found, reversed(expected), strict=True):
            close(term, other)


def test_bias_terms_are_those_of_the_targets_that_are_explained() -> None:
    model, batch = toys.curved().double(), images()
    probe = probe_of(model, "4", batch)
    turned = probe.with_targets(resolve([[b, a] for a, b in CLASSES], OutputContext(2, probe.logits)))
    for one, other in zip(probe.image.bias_terms(0), turned.image.bias_terms(1), strict=True):
        close(one, other.numpy())
    against = probe.with_targets(probe.targets.scaled(-2))
    for one, other in zip(probe.bias_terms(0), against.bias_terms(0), strict=True):
        close(other, -2 * one.numpy())


class Keyword(nn.Module):
    def forward(self, x: torch.Tensor, *, factor: float) -> torch.Tensor:
        return x * factor + 1


class Tuple(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x + 1, None


class Blocks(nn.Module):
    """A module without modules inside, called with a keyword, and one that gives a tuple."""

    def __init__(self, *, keyword: bool) -> None:
        super().__init__()
        self.conv, self.leaf = nn.Conv2d(3, 5, 3, bias=False), Keyword() if keyword else Tuple()
        self.keyword = keyword

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = self.leaf(x, factor=2.0) if self.keyword else self.leaf(x)[0]
        return x.mean((2, 3))


@pytest.mark.parametrize("keyword", [True, False], ids=["called with a keyword", "gives a tuple"])
def test_biases_of_modules_of_ones_own(keyword: bool) -> None:
    model, batch = Blocks(keyword=keyword).double(), images()
    (term,) = probe_of(model, "conv", batch).image.bias_terms(0)
    close(term.flatten(1).sum(1), np.ones(2))


def test_biases_where_the_model_writes_into_what_a_module_gave() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.one(x)
            x.mul_(3).relu_()
            return self.two(x).mean((2, 3))

    model, batch = Writing().double(), images()
    image = probe_of(model, "one", batch).image
    found = (image.gradients[:, 0] * image.activations).flatten(1).sum(1)
    for term in image.bias_terms(0):
        found = found + term.flatten(1).sum(1)
    close(found, image.scores[:, 0].numpy())


def test_bias_terms_of_a_transformer_add_up_to_the_score() -> None:
    model, batch = nn.Sequential(nn.Conv2d(3, 12, 4, stride=4), Folded()).double().eval(), images(size=(16, 16))
    image = probe_of(model, "0", batch).image
    found = (image.gradients[:, 0] * image.activations).flatten(1).sum(1)
    for term in image.bias_terms(0):
        assert len(term) == 2
        found = found + term.flatten(1).sum(1)
    close(found, image.scores[:, 0].numpy())


class Folded(nn.Module):
    """Layer norm, GELU and linear layers over tokens; every operation that adds something is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.one, self.act, self.two = nn.LayerNorm(12), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        return self.two(self.act(x + self.one(self.norm(x))).mean(1))


def test_looking_at_biases_leaves_the_model_as_it_was() -> None:
    model, batch = toys.convolutional(inplace=True), images().float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explainer = gs.Explainer(model, layer="4", method="fullgrad")
    first, again = explainer(batch, targets=1).maps, explainer(batch, targets=1).maps
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[2].inplace
    assert not any(module._forward_hooks for module in model.modules())


# --- the image, other images, other targets


@pytest.mark.parametrize("layer", ["4", "0"])
def test_the_image_is_a_layer(layer: str) -> None:
    model, batch = toys.curved().double(), images()
    image, view = probe_of(model, layer, batch).image, Plain(model, layer, batch, CLASSES)
    assert image.name == "input"
    assert image.spatial == (-2, -1)
    close(image.activations, batch.numpy())
    close(image.gradients, view.image_gradients)
    close(image.scores, view.scores)
    many = images(6)
    close(image.tail(many), view.score(many.numpy()))
    assert image.image.name == "input"


def test_other_images_have_the_targets_of_the_image_in_their_place() -> None:
    model, batch, many = toys.curved().double(), images(), images(6)
    for probe in (
        probe_of(model, "4", batch),
        probe_of(model, "4", batch).with_images(batch.flip(0)).with_images(batch),
    ):
        other, view = probe.with_images(many), Plain(model, "4", batch, CLASSES)
        close(other.activations, view.activations_at(many.numpy()))
        close(other.gradients, view.gradients_at(many.numpy()))
        close(other.scores, view.score(many.numpy()))
        close(other.image.gradients, view.image_gradients_at(many.numpy()))
        close(other.image.activations, many.numpy())
        assert [row[0].index for row in other.targets.names] == [0, 4] * 3
    with pytest.raises(ValueError, match="multiple of the batch's 2 rows"):
        probe.with_images(images(3))


def test_the_tail_keeps_the_targets_of_the_image_in_its_place() -> None:
    model, batch = toys.curved().double(), images()
    probe, view = probe_of(model, "4", batch), Plain(model, "4", batch, CLASSES)
    rows = torch.randn(6, *probe.activations.shape[1:], dtype=torch.float64)
    close(probe.tail(rows), view.tail(rows.numpy()))


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_the_tail_of_one_image_takes_any_number_of_rows(rows: int) -> None:
    model, batch = toys.Tokens().double().eval(), torch.randn(1, 3, 16, 16, dtype=torch.float64)
    probe = probe_of(model, "blocks.0", batch, [[0, 3]])
    many = torch.randn(rows, *probe.activations.shape[1:], dtype=torch.float64)
    found = probe.tail(many)
    x = model.patches(batch).flatten(2).transpose(1, 2)
    first = model.blocks[0](torch.cat((model.extra, x), dim=1))[:, :1]
    expected = [model.head(model.blocks[1](torch.cat((first, one.flatten(1).T[None]), 1))[:, 0])[0] for one in many]
    close(found, torch.stack(expected)[:, [0, 3]].detach().numpy())


def test_other_inputs_go_with_other_images() -> None:
    model, batch = toys.TwoInputs().double().eval(), images()
    row = torch.randn(2, 2, dtype=torch.float64)
    probe, many = probe_of(model, "features", (batch, row)), images(4)
    with torch.no_grad():
        expected = model(many, torch.cat((row, row)))
    wanted = np.take_along_axis(expected.numpy(), np.array(CLASSES * 2), axis=1)
    close(probe.with_images(many).scores, wanted)
    close(probe.image.tail(many), wanted)


def test_other_targets_of_the_same_pass() -> None:
    model, batch = toys.curved().double(), images()
    probes = probes_of(model, ["2", "4"], batch)
    swapped = [[1, 1, 2], [0, 3, 4]]
    for name, probe in zip(("2", "4"), probes, strict=True):
        before = probe.gradients.clone()
        turned = probe.with_targets(resolve(swapped, OutputContext(2, probe.logits)))
        view = Plain(model, name, batch, swapped)
        close(turned.gradients, view.gradients)
        close(turned.scores, view.scores)
        close(turned.image.gradients, view.image_gradients)
        assert turned.name == name
        assert len(turned.layers) == 2
        assert torch.equal(probe.gradients, before)


def test_all_layers_of_a_pass_are_seen_from_each_and_move_together() -> None:
    model, batch, other = toys.curved().double(), images(), images()
    probes = probes_of(model, ["2", "4"], batch)
    moved = probes[0].with_images(other)
    assert [probe.name for probe in probes[1].layers] == ["2", "4"]
    assert moved.name == "2"
    for probe, name in zip(moved.layers, ("2", "4"), strict=True):
        close(probe.gradients, Plain(model, name, other, CLASSES).gradients)


def test_a_difference_of_scores_has_the_difference_of_gradients() -> None:
    model, batch = toys.curved().double(), images()
    probe = probe_of(model, "4", batch, gs.Contrast(gs.Classes(0, 1), gs.Classes(3, 4)))
    one, other = (probe_of(model, "4", batch, gs.Classes(*c)) for c in ((0, 1), (3, 4)))
    close(probe.gradients, (one.gradients - other.gradients).numpy())
    close(probe.scores, (one.scores - other.scores).numpy())
    close(probe.tail(probe.activations * 2), (one.tail(one.activations * 2) - other.tail(one.activations * 2)).numpy())


def test_a_function_is_explained_on_other_images_too() -> None:
    model, batch, many = toys.curved().double(), images(), images(4)

    def square(outputs: torch.Tensor) -> torch.Tensor:
        return outputs[:, 0] ** 2 - outputs[:, 1]

    def one_by_one(outputs: torch.Tensor, _image: int) -> torch.Tensor:
        return outputs[0, 0] ** 2 - outputs[0, 1]

    probe, view = probe_of(model, "4", batch, square), Plain(model, "4", batch, [one_by_one])
    close(probe.gradients, view.gradients)
    close(probe.with_images(many).gradients, view.gradients_at(many.numpy()))
    close(probe.curvature(probe.activations), view.hessian(view.activations), 1e-7)
