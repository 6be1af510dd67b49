"""The probe on PyTorch against the plain way, on everything that a model may do."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.backends.torch import TorchBackend
from gradsight.errors import InvalidArgument, ModelError, UnknownName
from gradsight.layers import Layer
from gradsight.layouts import forced_layout
from gradsight.targets import OutputContext, resolve
from oracles import ORACLES
from plain import activations_and_gradients

CLASSES = [[0, 3], [4, 1]]


def batch(n: int = 2, size: tuple[int, ...] = (16, 12)) -> torch.Tensor:
    return torch.randn(n, 3, *size)


def expected_maps(model: nn.Module, layer: str, inputs: Any, classes: Any = CLASSES, **plain: Any) -> np.ndarray:
    activations, gradients = activations_and_gradients(model, layer, inputs, classes, **plain)
    return ORACLES["gradcam"](activations.numpy(), gradients.numpy())


def assert_same(maps: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert maps.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(maps, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


def run(model: nn.Module, inputs: Any, layer: str, classes: Any = CLASSES) -> Any:
    backend = TorchBackend(model)
    prepared = backend.prepare(inputs)
    return backend.run(
        prepared, [Layer(layer)], lambda logits, out: resolve(classes, OutputContext(len(classes), logits))
    )


def test_gradients_and_activations_equal_the_plain_way() -> None:
    model, inputs = toys.convolutional(), batch()
    probe = run(model, inputs, "4").probes[0]
    activations, gradients = activations_and_gradients(model, "4", inputs, CLASSES)
    assert probe.activations.shape == (2, 6, 8, 6)
    assert probe.gradients.shape == (2, 2, 6, 8, 6)
    torch.testing.assert_close(probe.activations.double(), activations, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probe.gradients.double(), gradients, atol=1e-7, rtol=1e-5)
    assert probe.spatial == (-2, -1)


def test_in_place_operations_after_the_layer_leave_its_map_alone() -> None:
    model, inputs = toys.convolutional(inplace=True), batch()
    for layer in ("0", "1", "3", "4"):
        maps = gs.Explainer(model, layer=layer)(inputs, targets=CLASSES).maps
        assert_same(maps, expected_maps(model, layer, inputs))


def test_a_reused_module_is_seen_at_its_last_call_or_at_the_one_asked_for() -> None:
    model, inputs = toys.Reused(), batch()
    for name, call in (("relu#1", 1), ("relu#0", 0)):
        maps = gs.Explainer(model, layer=name)(inputs, targets=CLASSES).maps
        assert_same(maps, expected_maps(model, "relu", inputs, call=call))
    assert gs.Explainer(model).layers(inputs)[0].name == "relu#1"
    with pytest.raises(ModelError, match=r"ran 3 time"):
        gs.Explainer(model, layer="relu#3")(inputs)


def test_the_plain_name_of_a_reused_module_means_its_last_call_before_and_after_the_calls_are_known() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), relu := nn.ReLU(), nn.Conv2d(4, 6, 3), relu, toys.convolutional()[5:])
    explainer, inputs = gs.Explainer(model, layer="1"), batch()
    expected = expected_maps(model, "1", inputs, call=1)
    assert_same(explainer(inputs, targets=CLASSES).maps, expected)
    assert_same(explainer(inputs, targets=CLASSES).maps, expected)


def test_frozen_parameters_and_training_mode() -> None:
    inputs = batch()
    model = toys.convolutional()
    expected = expected_maps(model, "4", inputs)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert_same(gs.Explainer(model, layer="4")(inputs, targets=CLASSES).maps, expected)
    explanation = gs.Explainer(model.train(), layer="4")(inputs, targets=CLASSES)
    assert_same(explanation.maps, expected)
    assert any("training mode" in note for note in explanation.notes)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients(context: Any) -> None:
    model, inputs = toys.convolutional(), batch()
    expected = expected_maps(model, "4", inputs)
    with context():
        made_inside = inputs * 1
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert_same(gs.Explainer(model, layer="4")(made_inside, targets=CLASSES).maps, expected)
        assert mode == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    with torch.inference_mode():
        born_inside = copy.deepcopy(model)
    assert_same(gs.Explainer(born_inside, layer="4")(inputs, targets=CLASSES).maps, expected)


def test_a_forward_that_leaves_the_graph_before_the_head() -> None:
    model, inputs = toys.NoGradStem(), batch()
    maps = gs.Explainer(model, layer="body.4")(inputs, targets=CLASSES).maps
    assert_same(maps, expected_maps(model.body, "4", inputs))


def test_a_forward_without_any_graph_is_an_error_in_words() -> None:
    class Shut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).detach()

    with pytest.raises(ModelError, match=r"no gradient back to layer 'body\.4'"):
        gs.Explainer(Shut(), layer="body.4")(batch())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
def test_half_precision_models(dtype: torch.dtype, tolerance: float) -> None:
    model, inputs = toys.convolutional(), batch()
    expected = expected_maps(model, "4", inputs)
    half = copy.deepcopy(model).to(dtype)
    for given in (inputs, inputs.to(dtype), inputs.numpy()):
        explanation = gs.Explainer(half, layer="4")(given, targets=CLASSES)
        assert explanation.maps.dtype == np.float32
        assert_same(explanation.maps, expected, tolerance)


def test_autocast_and_channels_last_memory() -> None:
    model, inputs = toys.convolutional(), batch()
    expected = expected_maps(model, "4", inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(gs.Explainer(model, layer="4")(inputs, targets=CLASSES).maps, expected, 3e-2)
    model = model.to(memory_format=torch.channels_last)
    inputs = inputs.to(memory_format=torch.channels_last)
    assert_same(gs.Explainer(model, layer="4")(inputs, targets=CLASSES).maps, expected)


def test_compiled_and_data_parallel_models() -> None:
    model, inputs = toys.convolutional(), batch()
    expected = expected_maps(model, "4", inputs)
    compiled = torch.compile(copy.deepcopy(model), backend="eager")
    compiled(inputs)
    nested = nn.Sequential(torch.compile(copy.deepcopy(model), backend="eager"))
    nested(inputs)
    for wrapped, layer in (
        (compiled, "4"),
        (nn.DataParallel(model), "4"),
        (nested, "0.4"),
        (nn.Sequential(nn.DataParallel(model)), "0.4"),
    ):
        assert_same(gs.Explainer(wrapped, layer=layer)(inputs, targets=CLASSES).maps, expected)
    assert gs.Explainer(compiled).layers(inputs)[0].name == "4"


def test_explaining_a_compiled_model_compiles_nothing_and_leaves_it_compiled() -> None:
    compiled = []

    def backend(graph: Any, _inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    model, inputs = toys.Reused().eval(), batch()
    expected = expected_maps(model, "two", inputs)
    model.compile(backend=backend)
    model(inputs)
    assert compiled
    compiled.clear()
    assert_same(gs.Explainer(model, layer="two")(inputs, targets=CLASSES).maps, expected)
    model(inputs)
    assert not compiled
    assert model._compiled_call_impl is not None


def test_another_number_of_rows_than_images_is_an_error_in_words() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).repeat(2, 1)

    with pytest.raises(ModelError, match=r"4 rows of scores for 2 input\(s\)"):
        gs.Explainer(Twice(), layer="body.4")(batch())


@pytest.mark.parametrize("how", ["dict", "tuple", "object", "deep"])
def test_outputs_that_are_no_plain_tensor(how: str) -> None:
    body, inputs = toys.convolutional(), batch()
    maps = gs.Explainer(toys.Answering(body, how), layer="body.4")(inputs, targets=CLASSES).maps
    assert_same(maps, expected_maps(body, "4", inputs))


def test_a_single_score_for_each_image() -> None:
    body, inputs = toys.convolutional(), batch()
    explanation = gs.Explainer(toys.Answering(body, "single"), layer="body.4")(inputs)
    assert_same(explanation.maps, expected_maps(body, "4", inputs, [[0], [0]]))
    assert explanation.predictions == ()


def test_several_inputs_by_position_and_by_name() -> None:
    model, inputs, rows = toys.TwoInputs(), batch(), torch.randn(2, 2)
    expected = expected_maps(model, "features", (inputs, rows))
    explainer = gs.Explainer(model)
    assert explainer.layers((inputs, rows))[0].name == "features"
    assert_same(explainer((inputs, rows), targets=CLASSES).maps, expected)
    assert_same(explainer({"image": inputs, "row": rows}, targets=CLASSES).maps, expected)


@pytest.mark.parametrize(("extra", "sequence_first"), [(0, False), (1, False), (2, False), (5, False), (1, True)])
def test_tokens_fold_to_their_grid(extra: int, sequence_first: bool) -> None:
    model = toys.Tokens(extra=extra, sequence_first=sequence_first)
    inputs = batch(size=(24, 16))
    activations, gradients = activations_and_gradients(model, "blocks.0", inputs, CLASSES)
    if sequence_first:  # (tokens, n, c) and (tokens, k, n, c)
        activations, gradients = activations.transpose(0, 1), gradients.permute(2, 1, 0, 3)
    activations = activations[:, extra:].transpose(1, 2).reshape(2, 12, 6, 4)
    gradients = gradients[:, :, extra:].transpose(2, 3).reshape(2, 2, 12, 6, 4)
    maps = gs.Explainer(model, layer="blocks.0")(inputs, targets=CLASSES).maps
    assert_same(maps, ORACLES["gradcam"](activations.numpy(), gradients.numpy()))


def test_channels_last_features_are_folded() -> None:
    model, inputs = toys.ChannelsLast(), batch(size=(24, 16))
    activations, gradients = activations_and_gradients(model, "mix", inputs, CLASSES)
    expected = ORACLES["gradcam"](activations.permute(0, 3, 1, 2).numpy(), gradients.permute(0, 1, 4, 2, 3).numpy())
    assert_same(gs.Explainer(model, layer="mix")(inputs, targets=CLASSES).maps, expected)


def test_layout_and_grid_settle_what_the_shape_leaves_open() -> None:
    model = toys.Tokens(extra=0)
    inputs = batch(size=(16, 16))
    explainer = gs.Explainer(model, layer="blocks.0", layout="tokens", grid=(2, 8))
    assert explainer(inputs).maps.shape == (2, 1, 2, 8)
    with pytest.raises(InvalidArgument, match="at most the layer's 16 tokens"):
        gs.Explainer(model, layer="blocks.0", grid=(5, 5))(inputs)
    with pytest.raises(InvalidArgument, match=r"layout.*channels_first"):
        forced_layout((2, 3, 4, 4), "sideways", None)


def test_several_layers_and_methods_share_one_pass() -> None:
    model, inputs = toys.convolutional(inplace=True), batch()
    count = 0

    def counting(_module: Any, _inputs: Any, _output: Any) -> None:
        nonlocal count
        count += 1

    model[0].register_forward_hook(counting)
    explainer = gs.Explainer(model)
    explainer(inputs)
    count = 0
    found = explainer(inputs, targets=CLASSES, layer=["0", "3", "4"], method=["gradcam"])
    assert count == 1
    assert [x.layer for x in found] == ["0", "3", "4"]
    for explanation in found:
        assert_same(explanation.maps, expected_maps(model, explanation.layer, inputs))


def test_an_operation_without_batched_gradient_is_differentiated_one_target_at_a_time() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(grad.detach().numpy() * 2)  # NumPy knows nothing of batched tensors

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body[5:](Double.apply(self.body[:5](x)))

    model, inputs = Own(), batch()
    maps = gs.Explainer(model, layer="body.4")(inputs, targets=CLASSES).maps
    assert_same(maps, 2 * expected_maps(model.body, "4", inputs))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
def test_errors_name_what_is_wrong() -> None:
    model, inputs = toys.convolutional(), batch()
    with pytest.raises(UnknownName, match="layer 'layer4'"):
        gs.Explainer(model, layer="layer4")(inputs)
    with pytest.raises(ModelError, match=r"'8' gives an output of shape \(2, 5\).*no positions"):
        gs.Explainer(model, layer="8")(inputs)
    with pytest.raises(ModelError, match="failed on inputs of shape"):
        gs.Explainer(model)(torch.randn(2, 7, 8, 8))
    with pytest.raises(ModelError, match=r"inputs\[None\]"):
        gs.Explainer(model, layer="4")(torch.randn(3, 8, 8))
    with pytest.raises(ModelError, match="must hold an image"):
        gs.Explainer(nn.Linear(3, 2))(torch.randn(2, 3))
    with pytest.raises(ModelError, match="no layer with positions"):
        gs.Explainer(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)))(torch.randn(2, 3, 4, 4))
    with pytest.raises(ModelError, match="TorchScript"):
        gs.Explainer(torch.jit.trace(model, inputs))(inputs)


def test_zero_gradients_everywhere_are_an_error_in_words() -> None:
    model = toys.convolutional()
    nn.init.zeros_(model[8].weight)
    with pytest.raises(ModelError, match="zero gradient at every position"):
        gs.Explainer(model)(batch())


def test_a_score_that_does_not_depend_on_the_layer() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aside = toys.convolutional(), nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.aside(x)
            return self.body(x)

    with pytest.raises(ModelError, match="'aside'"):
        gs.Explainer(Aside(), layer="aside")(batch())
    with pytest.raises(ModelError, match="do not depend on layer 'aside'"):
        gs.Explainer(Aside(), layer=["body.4", "aside"])(batch())
