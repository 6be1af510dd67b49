"""ONNX files: the same scores as on onnxruntime, the same maps as of the model that was exported."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

import gradsight as gs
from gradsight.cli.app import app
from gradsight.errors import InvalidArgument, MissingDependency, ModelError
from gradsight.imaging import Preprocess
from gradsight.models.load import load_model
from refusals import line

DATA = Path(gs.__file__).parent / "data"
ROOT = Path(__file__).parents[2]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.conv2(self.relu(self.norm(self.conv1(x)))))


class Net(nn.Module):
    """A small network of residual blocks that ends as ``finish`` says."""

    def __init__(self, channels: int = 3, finish: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.MaxPool2d(2))
        self.layer1, self.layer2 = Block(), Block()
        self.head, self.finish = nn.Linear(8, 5), finish

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.adaptive_avg_pool2d(self.layer2(self.layer1(self.stem(x))), 1)
        x = self.head(x.view(x.shape[0], -1))
        return x if self.finish is None else self.finish(x)


class Transformer(nn.Module):
    """Patches, a class token, and attention whose reshapes have the batch in them, also after the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 2)
        self.norm1, self.norm2, self.head = nn.LayerNorm(16), nn.LayerNorm(16), nn.Linear(16, 5)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        y = self.norm1(x).transpose(0, 1)
        x = x + self.attention(y, y, y)[0].transpose(0, 1)
        return self.head(self.norm2(x + self.mlp(x)).mean(1))


class Before(nn.Module):
    """A network behind something else."""

    def __init__(self, inner: nn.Module, first: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.first = inner, first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.first(x))


def calm(model: nn.Module) -> nn.Module:
    """Evaluation mode, with statistics and biases that are not those of a new network."""
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "running_var", "bias")):
            value.copy_(torch.rand_like(value) + 0.1)
    return model.eval()


def export(model: nn.Module, path: Path, *example: torch.Tensor, new: bool = False, dynamic: bool = False) -> Path:
    """Export with one of PyTorch's two exporters, for a batch of the example's size or of any."""
    options: dict[str, Any] = {"dynamo": new}
    if dynamic and new:
        # from 2 on: PyTorch 2.9 refuses a range with 1 where attention asks whether there is one row
        options["dynamic_shapes"] = ({0: torch.export.Dim("n", min=2, max=64)},)
    elif dynamic:
        options |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    if new:
        pytest.importorskip("onnxscript")
        options |= {"verbose": False, "external_data": False}
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporters' own
        torch.onnx.export(model.eval(), example, path, **options)
    logging.disable(logging.NOTSET)
    return path


def edit(path: Path, change: Callable[[Any], Any]) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def graph(
    nodes: list[Any],
    path: Path,
    shape: Any,
    weights: dict[str, Any] | None = None,
    kind: int = TensorProto.FLOAT,
    **more: Any,
) -> Path:
    """Write a graph from ``x`` to ``y``."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, more.pop("out", [None, None]))
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape)], [output], tensors)
    opsets = [helper.make_opsetid("", more.pop("opset", 17)), *more.pop("opsets", [])]
    path.write_bytes(helper.make_model(made, opset_imports=opsets, ir_version=8, **more).SerializeToString())
    return path


def reference(path: Path, batch: torch.Tensor) -> torch.Tensor:
    """What onnxruntime gives, image by image."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    outputs = [session.run(None, {given.name: image[None].numpy()})[0] for image in batch]
    return torch.from_numpy(np.concatenate(outputs).astype(np.float32))


def assert_close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, dtype=np.float64) for x in (a, b))
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


# Scores and maps


@pytest.mark.parametrize(("new", "dynamic"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("kind", [Net, Transformer])
def test_scores_and_maps_are_the_exported_models(
    kind: type[nn.Module], new: bool, dynamic: bool, tmp_path: Path, capfd: Any
) -> None:
    model = calm(kind())
    path = export(model, tmp_path / "m.onnx", torch.randn(2 if dynamic else 1, 3, 32, 32), new=new, dynamic=dynamic)
    capfd.readouterr()
    loaded = load_model(path)
    assert capfd.readouterr() == ("", "")
    batch = torch.randn(3, 3, 32, 32)
    assert not any(module.training for module in loaded.model.modules())
    assert_close(loaded.model(batch), reference(path, batch))
    ours, theirs = gs.Explainer(loaded.model), gs.Explainer(model)
    mine = ours(batch, targets=gs.Classes(0, 2))
    own = theirs(batch, targets=gs.Classes(0, 2), layer=None if kind is Net else "patch")
    if kind is Net:
        assert mine.layer.startswith("layer2.relu")
        assert_close(mine.maps, own.maps)
        for method in ("ablationcam", "guidedbackprop", "smoothgrad(samples=3)", "scorecam"):
            assert_close(ours(batch, targets=1, method=method).maps, theirs(batch, targets=1, method=method).maps, 1e-4)
    else:
        assert_close(ours(batch, targets=gs.Classes(0, 2), layer="patch").maps, own.maps)
    assert all(tail is not None for tails in ours._model.backend().view.tails.values() for tail in tails.values())


def test_the_names_are_the_modules(tmp_path: Path) -> None:
    for new in (False, True):
        loaded = load_model(export(calm(Net()), tmp_path / "m.onnx", torch.randn(1, 3, 32, 32), new=new))
        names = {name for name, module in loaded.model.named_modules() if not list(module.children())}
        assert {"stem.0", "stem.1", "stem.2", "layer1.conv2", "layer2.Add", "head"} <= names
        assert isinstance(loaded.model.get_submodule("stem.1"), nn.ReLU6)


def test_two_threads_give_the_maps_of_one(tmp_path: Path) -> None:
    loaded = load_model(export(calm(Net()), tmp_path / "m.onnx", torch.randn(1, 3, 32, 32)))
    explainer, batches = gs.Explainer(loaded.model), torch.randn(8, 2, 3, 32, 32)
    alone, found = [explainer(batch, targets=1).maps for batch in batches], {}

    def work(start: int) -> None:
        for i in range(start, 8, 2):
            found[i] = explainer(batches[i], targets=1).maps

    threads = [threading.Thread(target=work, args=(start,)) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, maps in enumerate(alone):
        assert_close(found[i], maps)


def test_constants_whose_names_look_alike_stay_apart(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "a.b"], ["z"]), helper.make_node("Add", ["z", "a_b"], ["y"])]
    path = graph(
        nodes, tmp_path / "m.onnx", [1, 3, 4, 4], {"a.b": np.float32(2), "a_b": np.float32(5)}, out=[1, 3, 4, 4]
    )
    x = torch.randn(2, 3, 4, 4)
    assert_close(load_model(path).model(x), 2 * x + 5)


@pytest.mark.parametrize("side", [0, 1])
def test_products_with_constants_on_either_side(side: int, tmp_path: Path) -> None:
    weight = np.random.rand(4, 4).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"] if side else ["w", "x"], ["z"]),
        helper.make_node("Add", ["z", "b"], ["y"]),
    ]
    bias = np.random.rand(3, 4, 1).astype(np.float32)
    path = graph(nodes, tmp_path / "m.onnx", [1, 3, 4, 4], {"w": weight, "b": bias}, out=[1, 3, 4, 4])
    x = torch.randn(2, 3, 4, 4)
    assert_close(load_model(path).model(x), reference(path, x))


# The layout and the values of the input


def assert_explains(path: Path, core: nn.Module, made: Callable[[torch.Tensor], torch.Tensor], scale: float = 1) -> Any:
    """See that images that are channels first give the maps of ``core`` on what ``made`` makes of them."""
    loaded = load_model(path)
    batch = (torch.rand(3, 3, 32, 32) * scale).round(decimals=0 if scale > 1 else 6)
    assert_close(loaded.model(batch), core(made(batch)), 1e-4)
    mine, own = gs.Explainer(loaded.model)(batch, targets=2), gs.Explainer(core)(made(batch), targets=2)
    assert_close(mine.maps, own.maps, 1e-4)
    return loaded


def test_channels_last_with_a_transpose_first(tmp_path: Path) -> None:
    core = calm(Net())
    path = export(Before(core, lambda x: x.permute(0, 3, 1, 2)), tmp_path / "m.onnx", torch.randn(1, 32, 40, 3))
    assert load_model(path).preprocess == Preprocess((32, 40))
    path = export(Before(core, lambda x: x.permute(0, 3, 1, 2)), tmp_path / "m.onnx", torch.randn(1, 32, 32, 3))
    loaded = assert_explains(path, core, lambda x: x)
    images = loaded.preprocess(np.zeros((50, 60, 3), np.uint8))
    assert np.asarray(getattr(images, "array", images[0] if isinstance(images, tuple) else images)).shape[-3:] == (
        3,
        32,
        32,
    )


def test_channels_last_with_a_transpose_later(tmp_path: Path) -> None:
    core = calm(Net())
    path = export(
        Before(core, lambda x: (x * 2 - 1).permute(0, 3, 1, 2)), tmp_path / "m.onnx", torch.rand(1, 32, 32, 3)
    )
    loaded = assert_explains(path, core, lambda x: x * 2 - 1)
    assert loaded.preprocess == Preprocess((32, 32), mean=(0,) * 3, std=(1,) * 3)


class Sandwich(nn.Module):
    """Convolutions between transposes, as converters from TensorFlow leave them: features are channels last."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.net[:-1]:
            x = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if isinstance(layer, nn.Conv2d) else layer(x)
        return self.net[-1](x.mean((1, 2)))


class Pooled(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[-1](nn.Sequential(*self[:-1])(x).mean((2, 3)))


@pytest.mark.parametrize("new", [False, True])
def test_channels_last_between_transposes(new: bool, tmp_path: Path) -> None:
    layers = (nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 9, 3, stride=2), nn.ReLU(), nn.Linear(9, 4))
    path = export(Sandwich(nn.Sequential(*layers)), tmp_path / "m.onnx", torch.randn(1, 32, 32, 3), new=new)
    assert_explains(path, Pooled(*layers).eval(), lambda x: x)


def test_integers_are_taken_as_floats(tmp_path: Path) -> None:
    core = calm(Net())
    model = Before(core, lambda x: x.permute(0, 3, 1, 2).float() / 127.5 - 1)
    path = export(model, tmp_path / "m.onnx", torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    loaded = assert_explains(path, core, lambda x: x / 127.5 - 1, 255)
    assert loaded.preprocess == Preprocess((32, 32), mean=(0,) * 3, std=(1 / 255,) * 3)
    assert gs.Explainer(loaded.model)(torch.rand(1, 3, 32, 32) * 255, targets=1, method="gradient").maps.any()


def test_half_precision(tmp_path: Path) -> None:
    core = calm(Net())
    half = calm(Net()).half()
    half.load_state_dict(core.state_dict())
    path = export(half, tmp_path / "m.onnx", torch.zeros(1, 3, 32, 32).half())
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    batch = torch.randn(2, 3, 32, 32)
    loaded = load_model(path)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert_close(loaded.model(batch), half.float()(batch), 1e-3)


def test_half_precision_inside_of_the_graph(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {"w": np.random.rand(4, 3, 3, 3).astype(np.float16)}
    path = graph(nodes, tmp_path / "m.onnx", [1, 3, 8, 8], weights, out=[1, 4, 6, 6])
    image = torch.randn(1, 3, 8, 8)
    assert_close(load_model(path).model(image), reference(path, image), 1e-2)


@pytest.mark.parametrize(
    ("first", "mean", "std"),
    [
        (lambda x: x / 255, 0.0, 1 / 255),
        (lambda x: (x - 127) * 0.0078, 0.0, 1 / 255),
        (lambda x: (x - torch.full((1, 3, 1, 1), 0.45)) / torch.full((1, 3, 1, 1), 0.22), 0.0, 1.0),
    ],
)
def test_graphs_that_scale_pixels_themselves(first: Any, mean: float, std: float, tmp_path: Path) -> None:
    path = export(Before(Net(), first), tmp_path / "m.onnx", torch.rand(1, 3, 32, 32))
    assert load_model(path).preprocess == Preprocess((32, 32), mean=(mean,) * 3, std=(std,) * 3)


def test_preprocessing_and_labels(tmp_path: Path) -> None:
    path = export(Net(1), tmp_path / "m.onnx", torch.randn(1, 1, 32, 40))
    assert load_model(path).preprocess == Preprocess((32, 40), mean=(0.449,), std=(0.226,))
    assert load_model(path).labels is None
    export(Net(), path, torch.randn(1, 3, 32, 40))
    assert load_model(path).preprocess == Preprocess((32, 40))
    changed = load_model(path, size=(32, 40), mean=0.5, std=0.25, labels=["a"] * 5)
    assert changed.preprocess == Preprocess((32, 40), mean=(0.5,) * 3, std=(0.25,) * 3) or changed.preprocess.mean == (
        0.5,
    )
    assert changed.labels == ("a",) * 5


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}", ("a", "b", "c", "d", "e")),
        ("['a', 'b', 'c', 'd', 'e']", ("a", "b", "c", "d", "e")),
        ("{0: 'a', 1: 'b'}", None),
        ("{0: 'a', 1: 'b', 2: 'c', 3: 'd', 5: 'e'}", None),
        ("{0: 1, 1: 2, 2: 3, 3: 4, 4: 5}", None),
        ("__import__('os').system('true')", None),
        ("[" * 9999, None),
    ],
)
def test_labels_in_the_metadata(names: str, labels: Any, tmp_path: Path) -> None:
    path = export(Net(), tmp_path / "m.onnx", torch.randn(1, 3, 32, 32))
    edit(path, lambda m: helper.set_model_props(m, {"names": names, "author": "Ultralytics"}))
    loaded = load_model(path)
    assert loaded.labels == labels
    assert loaded.preprocess == Preprocess((32, 32), mean=(0,) * 3, std=(1,) * 3)


@pytest.mark.parametrize("last", [False, True])
def test_sizes_that_vary(last: bool, tmp_path: Path) -> None:
    core = calm(Net())
    model = Before(core, lambda x: x.permute(0, 3, 1, 2)) if last else core
    example = torch.randn(1, 32, 32, 3) if last else torch.randn(1, 3, 32, 32)
    path = export(model, tmp_path / "m.onnx", example, dynamic=True)

    def free(model: Any) -> None:
        for i, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
            dim.dim_param = f"d{i}"

    edit(path, free)
    loaded = load_model(path)
    assert loaded.preprocess == Preprocess((224, 224))
    batch = torch.randn(2, 3, 48, 40)
    assert_close(loaded.model(batch), core(batch))


# The end of the graph


@pytest.mark.parametrize("finish", ["softmax", "log_softmax"])
def test_softmax_at_the_end_is_left_out(finish: str, tmp_path: Path) -> None:
    core = calm(Net())
    full = calm(Net(finish=lambda x: getattr(x, finish)(-1)))
    full.load_state_dict(core.state_dict())
    path = export(full, tmp_path / "m.onnx", torch.randn(1, 3, 32, 32))
    batch = torch.randn(2, 3, 32, 32)
    loaded = load_model(path)
    assert_close(loaded.model(batch), core(batch))
    found = gs.Explainer(loaded)(batch)
    assert_close(found.predictions[0][0].probability, core(batch)[0].softmax(-1).max())
    assert "the model ends in a softmax; the scores are the logits before it" in found.notes


def test_sigmoid_at_the_end_is_left_out_and_put_on_for_probabilities(tmp_path: Path) -> None:
    core = calm(Net())
    full = calm(Net(finish=torch.sigmoid))
    full.load_state_dict(core.state_dict())
    loaded = load_model(export(full, tmp_path / "m.onnx", torch.randn(1, 3, 32, 32)))
    batch = torch.randn(2, 3, 32, 32)
    assert_close(loaded.model(batch), core(batch))
    found = gs.Explainer(loaded)(batch)
    assert_close(found.predictions[0][0].probability, full(batch)[0].max())
    assert "the model ends in a sigmoid; the scores are the logits before it" in found.notes
    plain = gs.Explainer(load_model(export(core, tmp_path / "plain.onnx", torch.randn(1, 3, 32, 32))))(batch)
    assert not any("ends in" in note for note in plain.notes)


def test_one_logit_before_a_sigmoid_is_of_two_labels(tmp_path: Path) -> None:
    full = calm(Net(finish=lambda x: torch.sigmoid(x[:, :1])))
    loaded = load_model(export(full, tmp_path / "m.onnx", torch.randn(1, 3, 32, 32)), labels=["cat", "dog"])
    batch = torch.randn(2, 3, 32, 32)
    found = gs.Explainer(loaded)(batch, targets=gs.Classes("cat", "dog"))
    assert_close(found.scores[:, 1], torch.logit(full(batch)[:, 0]))
    assert_close(found.scores[:, 0], -torch.logit(full(batch)[:, 0]))
    assert_close({p.label: p.probability for p in found.predictions[0]}["dog"], full(batch)[0, 0])


@pytest.mark.parametrize("finish", [lambda x: x.softmax(0), lambda x: x.softmax(-1) * 2])
def test_other_ends_stay(finish: Any, tmp_path: Path) -> None:
    full = calm(Net(finish=finish))
    path = export(full, tmp_path / "m.onnx", torch.randn(1, 3, 32, 32))
    image = torch.randn(1, 3, 32, 32)
    assert_close(load_model(path).model(image), full(image))


# Batches


@pytest.mark.parametrize("shape", [[1, -1], [1, 8], [-1, 8], [0, 8]])
def test_reshapes_to_one_image_take_more(shape: list[int], tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Reshape", ["p", "s"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    weights = {"w": np.random.rand(8, 3, 3, 3), "v": np.random.rand(8, 5)}
    constants = {**{k: v.astype(np.float32) for k, v in weights.items()}, "s": np.array(shape)}
    path = graph(nodes, tmp_path / "m.onnx", [1, 3, 8, 8], constants)
    batch = torch.randn(3, 3, 8, 8)
    assert_close(load_model(path).model(batch), reference(path, batch))


def test_numbers_picked_from_a_flat_image_take_more(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Reshape", ["p", "n"], ["f"]),
        helper.make_node("Gather", ["f", "i"], ["y"]),
    ]
    path = graph(nodes, tmp_path / "m.onnx", [1, 3, 8, 8], {"n": np.array([3]), "i": np.array([[2, 0]])})
    batch = torch.randn(4, 3, 8, 8)
    assert_close(load_model(path).model(batch), reference(path, batch))


def test_batches_of_another_fixed_size(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Reshape", ["p", "n"], ["y"])]
    path = graph(nodes, tmp_path / "m.onnx", [4, 3, 8, 8], {"n": np.array([4, 3])})
    batch = torch.randn(3, 3, 8, 8)
    assert_close(load_model(path).model(batch), batch.mean((2, 3)))


def fixed(path: Path) -> Path:
    """A graph whose batch cannot be mended: it numbers the image's values from the end."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/features/Conv"),
        helper.make_node("Reshape", ["c", "flat"], ["f"]),
        helper.make_node("Slice", ["f", "start", "end"], ["s"]),
        helper.make_node("Reshape", ["s", "back"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["y"], axes=[2, 3], keepdims=0),
    ]
    constants = {
        "w": np.random.rand(8, 3, 3, 3).astype(np.float32),
        "flat": np.array([8 * 36]),
        "start": np.array([72]),
    }
    constants |= {"end": np.array([8 * 36]), "back": np.array([1, 6, 6, 6])}
    return graph(nodes, path, [1, 3, 8, 8], constants)


def test_a_batch_of_one_works_where_more_do_not_fit(tmp_path: Path) -> None:
    model = load_model(fixed(tmp_path / "m.onnx")).model
    image = torch.randn(1, 3, 8, 8)
    assert_close(model(image), reference(tmp_path / "m.onnx", image))
    assert gs.Explainer(model, batch_size=1)(image, targets=1, layer="features").maps.any()
    assert gs.Explainer(model, batch_size=1)(image, targets=1, layer="features", method="ablationcam").maps.any()
    with pytest.raises(ModelError, match="batch_size=1, --batch-size 1"):
        gs.Explainer(model)(torch.randn(2, 3, 8, 8), targets=1, layer="features")


def test_an_output_without_images_first_stays_fixed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["p"], axes=[2, 3], keepdims=0),
        helper.make_node("Transpose", ["p"], ["y"], perm=[1, 0]),
    ]
    model = load_model(graph(nodes, tmp_path / "m.onnx", [1, 3, 8, 8])).model
    with pytest.raises(ModelError, match="fixed to batches of 1"):
        model(torch.randn(2, 3, 8, 8))


# What is refused


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return export(calm(Net()), tmp_path / "net.onnx", torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("damage", ["empty", "text", "half", "noise", "no node"])
def test_damaged_files(damage: str, net: Path, capfd: Any) -> None:
    whole = net.read_bytes()
    if damage == "no node":
        edit(net, lambda m: m.graph.node.pop(0))
    else:
        net.write_bytes(
            {"text": b"hello\n", "half": whole[: len(whole) // 2], "noise": bytes(range(256)) * 9}.get(damage, b"")
        )
    line(ModelError, lambda: load_model(net), "cannot be read" if damage != "empty" else "empty file")
    assert capfd.readouterr() == ("", "")


def single(operator: str, path: Path, domain: str = "", **attributes: Any) -> Path:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)
    opsets = [helper.make_opsetid(domain, 1)] if domain else []
    return graph([node], path, [1, 3, 8, 8], opsets=opsets, out=None)


@pytest.mark.parametrize(
    ("operator", "domain", "words"),
    [
        (
            "FusedConv",
            "com.microsoft",
            ("com.microsoft.FusedConv", "onnxruntime has optimised", "--model package.module"),
        ),
        ("Gelu", "com.microsoft", ("com.microsoft.Gelu",)),
        ("Det", "", ("operators that are not read", "Det")),
        ("StringNormalizer", "", ("StringNormalizer",)),
        ("DynamicQuantizeLinear", "", ("quantised", "gradient")),
        ("RandomUniformLike", "", ("RandomUniformLike", "training mode")),
    ],
)
def test_operators_that_are_not_read(
    operator: str, domain: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("onnx.checker.check_model", lambda path: None)  # what a graph may hold changes with its version
    line(ModelError, lambda: load_model(single(operator, tmp_path / "m.onnx", domain)), *words)


@pytest.mark.parametrize("operator", ["load", "save", "compile", "seed", "from_file"])
def test_functions_of_pytorchs_are_no_operators(operator: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("onnx.checker.check_model", lambda path: None)
    monkeypatch.setattr(torch, operator, lambda *a, **k: pytest.fail("it ran"), raising=True)
    line(ModelError, lambda: load_model(single(operator.title(), tmp_path / "m.onnx")), "operators that are not read")


@pytest.mark.parametrize("where", ["../secret.bin", "link.bin", "gone.bin", "/etc/hostname"])
def test_data_outside_of_the_folder_is_not_read(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (folder / "link.bin").symlink_to("../secret.bin")
    path = graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], folder / "m.onnx", [1, 3], {"w": np.zeros(3, np.float32)}
    )
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)
    path.write_bytes(model.SerializeToString())
    line(ModelError, lambda: load_model(path), "cannot be read", Path(where).name)


def test_data_beside_the_file_is_read(net: Path) -> None:
    batch = torch.randn(2, 3, 32, 32)
    before = load_model(net).model(batch)
    onnx.save(onnx.load(net), net, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (net.parent / "net.data").stat().st_size > 1000
    assert torch.equal(load_model(net).model(batch), before)


def test_training_mode(tmp_path: Path) -> None:
    weights = {name: np.ones(3, np.float32) for name in "sbmv"}
    node = helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y", "q", "r"], training_mode=1)
    path = graph([node], tmp_path / "m.onnx", [1, 3, 8, 8], weights, out=[1, 3, 8, 8])
    line(ModelError, lambda: load_model(path), "evaluation mode", "model.eval()")


def test_other_inputs(tmp_path: Path) -> None:
    path = graph([helper.make_node("Add", ["x", "z"], ["y"])], tmp_path / "m.onnx", [1, 3, 8, 8], out=[1, 3, 8, 8])
    edit(path, lambda m: m.graph.input.append(helper.make_tensor_value_info("z", 1, [1, 3, 8, 8])))
    line(ModelError, lambda: load_model(path), "one image and nothing else", "takes x, z")


def test_what_does_not_go_with_it(net: Path, monkeypatch: Any) -> None:
    line(InvalidArgument, lambda: load_model(net, weights="w.pt"), "holds its own")
    line(InvalidArgument, lambda: load_model("nowhere.onnx"), "no such file")
    monkeypatch.setitem(sys.modules, "onnx2pytorch", None)
    with pytest.raises(MissingDependency, match=r"onnx2pytorch.*pip install 'gradsight\[onnx\]'"):
        load_model(net)


def test_a_wrong_conversion_is_found(net: Path, monkeypatch: Any) -> None:
    import onnx2pytorch.convert.operations as conversion

    monkeypatch.setattr(conversion, "OperatorWrapper", lambda op: nn.Identity())
    monkeypatch.setattr(conversion.nn, "ReLU", nn.ELU)
    line(ModelError, lambda: load_model(net), "other outputs than on onnxruntime", "maps would be wrong")


def test_a_conversion_that_fails(net: Path, monkeypatch: Any) -> None:
    def fail(*_: Any) -> Any:
        raise NotImplementedError("Conversion of\nthis")

    monkeypatch.setattr("gradsight.models.sources.onnx.network.convert_operations", fail)
    line(ModelError, lambda: load_model(net), "cannot be converted to PyTorch: Conversion of this", "--model")


# The command line


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line(net: Path, tmp_path: Path) -> None:
    explain = ("explain", DATA / "cat_and_coffee.jpg", "--out", tmp_path, "--json", "--model")
    result = run(*explain, net)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["layers"][0].startswith("layer2.relu")
    result = run("layers", "--model", net)
    assert result.exit_code == 0
    assert "layer2.relu" in result.stdout
    (tmp_path / "text.onnx").write_text("hello")
    for path in (single("Det", tmp_path / "bad.onnx"), tmp_path / "text.onnx"):
        result = run(*explain, path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr
        assert "model" in result.stderr


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, gradsight.models.load, gradsight.models.sources.onnx.files, gradsight.models.sources.onnx.graph;"
        "sys.exit(str({'onnx', 'torch', 'onnxruntime', 'onnx2pytorch'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Real weights

SAME = ("channels last", "pt2")  # on seeded networks the tests above show these as well


@pytest.mark.parametrize("kind", ["channels first", *(pytest.param(x, marks=pytest.mark.slow) for x in SAME)])
def test_efficientnet_lite0_with_real_weights(kind: str, tmp_path: Path) -> None:
    demo = load_model("demo")
    photos = [
        DATA / "cat_and_coffee.jpg",
        *sorted((ROOT.parent / "shared/data/classics").glob("*")),
    ]  # if they are there
    if kind == "pt2":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                demo.model, (torch.randn(2, 3, 224, 224),), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},)
            )
            torch.export.save(program, path := tmp_path / "lite0.pt2")
    elif kind == "channels last":
        model = Before(demo.model, lambda x: x.permute(0, 3, 1, 2))
        path = export(model, tmp_path / "lite0.onnx", torch.randn(1, 224, 224, 3))
    else:
        path = export(demo.model, tmp_path / "lite0.onnx", torch.randn(1, 3, 224, 224))
    loaded = load_model(path, preprocess=demo.preprocess, labels=demo.labels)
    mine, own = (gs.explain(photos, model=model, targets=gs.Top(5)) for model in (loaded, demo))
    for found, expected in zip(mine.predictions, own.predictions, strict=True):
        assert [p.label for p in found] == [p.label for p in expected]
    assert mine.maps.shape == (len(photos), 5, 7, 7)
    for found, expected in zip(mine.maps.reshape(-1, 7, 7), own.maps.reshape(-1, 7, 7), strict=True):
        assert_close(found, expected, 1e-4)
