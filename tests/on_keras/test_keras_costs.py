"""What a call costs on each engine in floating-point operations, as a ratio to one plain forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import gradsight as gs
from frameworks import SLOW_ON_JAX, slow_on_jax

ENGINE = keras.backend.backend()
SIZE = 64
LAST = "conv5_block3_out"


@pytest.fixture(scope="module")
def resnet() -> Any:
    keras.utils.set_random_seed(0)
    return keras.applications.ResNet50(weights=None, input_shape=(SIZE, SIZE, 3))


@pytest.fixture(scope="module")
def nested() -> Any:
    keras.utils.set_random_seed(0)
    body = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), alpha=0.35)
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), body, L.GlobalAveragePooling2D(), L.Dense(5)])


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, SIZE, SIZE, 3), np.float32)


def flops(call: Callable[[], Any]) -> float:
    """The operations of products and convolutions of a call, made twice: the second is counted."""
    counter = {"tensorflow": of_tensorflow, "jax": of_jax, "torch": of_torch}[ENGINE]
    with pytest.MonkeyPatch.context() as patch:
        return counter(call, patch)


def of_torch(call: Callable[[], Any], _patch: Any) -> float:
    from costs import flops as counted

    call()
    return counted(call).total()


def of_jax(call: Callable[[], Any], patch: Any) -> float:
    """As the compiler counts them, after it has thrown away what is not needed."""
    import jax

    from gradsight.backends.keras.engines import jitted

    total = [0.0]
    compile_as_usual = jax.jit

    def counting(compiled: Any) -> Any:
        def run(*arguments: Any) -> Any:
            total[0] += compiled.lower(*arguments).compile().cost_analysis()["flops"]
            return compiled(*arguments)

        return run

    jitted.jitted(lambda: None, jitted.QUICKLY)  # what it knows is found out with the true compiler
    patch.setattr(jax, "jit", lambda function, **options: counting(compile_as_usual(function, **options)))
    way = jitted.way_back({})
    patch.setattr(jitted, "_kept", lambda: way)
    call()
    total[0] = 0.0
    call()
    return total[0]


def of_tensorflow(call: Callable[[], Any], patch: Any) -> float:
    """Of the parts of graphs that run, from the shapes of their products and convolutions."""
    runs = graphs_of_tensorflow(call, patch)
    return sum(_of_operation(op, rows) for graph, rows in runs for op in _running(graph()))


def graphs_of_tensorflow(call: Callable[[], Any], patch: Any) -> list[tuple[Callable[[], Any], int]]:
    """The graphs that run in a call, made twice: the second is looked at. Each is made for the shapes of its run.

    Where a number of rows is open all the same, it is that beside.
    """
    import tensorflow as tf

    runs: list[tuple[Callable[[], Any], int]] = []
    build = tf.compat.v1.wrap_function

    class Counted:
        def __init__(self, function: Any, specs: Any) -> None:
            self._build, self._graph = partial(build, function), build(function, specs)
            self.inputs, self.graph = self._graph.inputs, self._graph.graph

        def __call__(self, *values: Any) -> Any:
            specs = [tf.TensorSpec(x.shape, x.dtype) for x in values]
            # The way back has an axis of targets before that of the rows.
            rows = math.prod(values[0].shape[: 2 if "WayBack" in self._build.args[0].__qualname__ else 1])
            runs.append((lambda: self._build(specs).graph, rows))
            return self._graph(*values)

    patch.setattr(tf.compat.v1, "wrap_function", Counted)
    call()
    runs.clear()
    call()
    return runs


def _running(graph: Any) -> set[Any]:
    """What the results need; TensorFlow runs nothing else."""
    found: set[Any] = set()
    stack = [x.op for x in graph.outputs]
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack.extend([*(x.op for x in op.inputs), *op.control_inputs])
    return found


def _of_operation(op: Any, rows: int) -> float:
    def size(tensor: Any) -> float:
        return math.prod(rows if side is None else side for side in tensor.shape)

    if op.type in ("MatMul", "BatchMatMulV2"):
        turned = op.type == "MatMul" and op.get_attr("transpose_a")
        return 2 * size(op.outputs[0]) * op.inputs[0].shape[-2 if turned else -1]
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel = op.inputs[1].shape
        return 2 * size(op.outputs[0]) * math.prod(kernel[: 3 if op.type == "Conv2D" else 2])
    if "Backprop" in op.type:
        kernel = op.inputs[1].shape if op.type.endswith("Input") else op.outputs[0].shape
        return 2 * size(op.inputs[2]) * math.prod(kernel[: 3 if op.type.startswith("Conv2D") else 2])
    return 0.0


def plain(model: Any, batch: np.ndarray) -> float:
    """One forward pass; a method without a gradient makes it and no more."""
    return flops(lambda: gs.Explainer(model)._model.backend().outputs(keras.ops.convert_to_tensor(batch)))


@pytest.fixture(scope="module")
def forward(resnet: Any, batch: np.ndarray) -> float:
    return plain(resnet, batch)


def test_a_plain_forward_is_counted_as_the_textbook_has_it(forward: float) -> None:
    # ResNet-50 takes 4.1 billion multiplications at 224 pixels (He et al., table 1), by area the 12th part at 64.
    assert forward / 2 / 2 == pytest.approx(4.1e9 * (SIZE / 224) ** 2, rel=0.2)  # edges count, or not


@pytest.mark.parametrize(("classes", "most"), [(1, 1.01), pytest.param(10, 1.1, marks=SLOW_ON_JAX)])
def test_gradcam_takes_one_forward_and_no_gradient_of_the_stem(
    classes: int, most: float, resnet: Any, batch: np.ndarray, forward: float
) -> None:
    explainer = gs.Explainer(resnet, layer=LAST)
    assert flops(lambda: explainer(batch, targets=gs.Top(classes))) / forward < most


@slow_on_jax
def test_the_gradient_of_the_input_takes_the_way_back_once(resnet: Any, batch: np.ndarray, forward: float) -> None:
    explainer = gs.Explainer(resnet, method="gradient")
    # through images, not weights
    assert 1.7 < flops(lambda: explainer(batch)) / forward < 2.1


@slow_on_jax
def test_ablation_takes_the_stem_once_and_tails(resnet: Any, batch: np.ndarray, forward: float) -> None:
    explainer = gs.Explainer(resnet, layer=LAST, method="ablationcam")
    channels, classes = 2048, 1000
    tails = channels * 2 * 2 * channels * classes  # a product for each channel and image
    assert flops(lambda: explainer(batch)) < 1.1 * (forward + tails)


@slow_on_jax
@pytest.mark.parametrize(("method", "tails"), [("gradcam", 1), ("ablationcam", 1280)])
def test_a_layer_of_a_nested_model_is_cut_as_well(method: str, tails: int, nested: Any, batch: np.ndarray) -> None:
    forward = plain(nested, batch)
    explainer = gs.Explainer(nested, layer="out_relu", method=method)
    tail = 2 * (2 * 1280 * 5 + 2 * 1280 * 4)  # a product for each channel and class, and the mean of four positions
    assert flops(lambda: explainer(batch)) < 1.2 * (forward + tails * tail)


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts calls of TensorFlow's graphs")
@pytest.mark.parametrize("classes", [1, 5])
def test_an_explanation_is_one_graph_there_and_one_back(classes: int, nested: Any, batch: np.ndarray) -> None:
    explainer = gs.Explainer(nested, layer="block_16_expand", targets=gs.Top(classes))
    with pytest.MonkeyPatch.context() as patch:
        assert len(graphs_of_tensorflow(lambda: explainer(batch), patch)) == 2


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts calls of TensorFlow's graphs")
def test_ablation_behind_a_mean_is_one_graph_for_several_rounds(nested: Any, batch: np.ndarray) -> None:
    explainer = gs.Explainer(nested, layer="out_relu", method="ablationcam")
    with pytest.MonkeyPatch.context() as patch:
        runs = graphs_of_tensorflow(lambda: explainer(batch), patch)
    # Of 1280 channels, 16 of two images are a round. A mean of 2 x 2 positions is a fourth of the layer's output. And
    # a graph there, and one that shows of the tail that it gives the same again.
    assert len(runs) == 2 + 1280 // 16 // 4


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts operations of TensorFlow")
@pytest.mark.parametrize("classes", [1, 5])
def test_grad_cam_takes_fourteen_operations_around_its_two_graphs(
    classes: int, nested: Any, batch: np.ndarray, request: pytest.FixtureRequest
) -> None:
    from tensorflow.python.framework import op_callbacks

    ran: list[str] = []

    def note(kind: Any, *_: Any, **__: Any) -> None:
        ran.append(str(kind))

    explainer = gs.Explainer(nested, layer="out_relu", targets=gs.Top(classes))
    explainer(batch)
    op_callbacks.add_op_callback(note)
    request.addfinalizer(lambda: op_callbacks.remove_op_callback(note))
    explainer(batch)
    # Scores chosen; alphas and means of channels; activations turned; the sum of channels, which takes three; and
    # whether gradients are even: their maximum, which Keras takes with three checks, turned, and put to the alphas.
    assert len(ran) <= 16


@pytest.mark.skipif(ENGINE != "jax", reason="counts what JAX compiles")
def test_the_model_is_compiled_for_its_study_and_its_passes_and_no_more(
    nested: Any, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    bodies: list[str] = []
    compile_as_usual = jax.jit

    def counting(function: Any, **options: Any) -> Any:
        def traced(*arguments: Any) -> Any:
            bodies.append(function.__name__)
            return function(*arguments)

        return compile_as_usual(traced, **options)

    monkeypatch.setattr(jax, "jit", counting)
    explainer, one = gs.Explainer(nested), batch[:1]
    explainer(one)
    # For what all layers give, for the gradients of all cuts, and for the pass that is kept.
    assert bodies.count("whole") == 3
    explainer(one, method=["layercam", "hirescam", "xgradcam"])
    explainer(one, targets=gs.Top(5))
    assert bodies.count("whole") == 3
    # For further rows once: that they have nothing to do with each other is seen by the same pass.
    explainer(np.repeat(one, 4, axis=0) + np.arange(4, dtype=np.float32)[:, None, None, None])
    assert bodies.count("whole") == 4


@pytest.mark.skipif(ENGINE != "tensorflow", reason="counts what TensorFlow traces")
def test_a_model_is_traced_once_for_all_batch_sizes(
    nested: Any, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tensorflow as tf

    traced: list[str] = []
    build = tf.compat.v1.wrap_function

    def counting(function: Any, specs: Any) -> Any:
        traced.append(getattr(function, "__qualname__", ""))
        return build(function, specs)

    monkeypatch.setattr(tf.compat.v1, "wrap_function", counting)
    explainer, one = gs.Explainer(nested, preprocess=gs.Preprocess(SIZE, channels_last=True)), batch[:1]
    explainer(one)

    def models() -> int:
        return sum(name == "Traced.__init__.<locals>.run" for name in traced)

    # For what all layers give, for the gradients of all cuts, and for the pass that is kept, which has any rows.
    assert models() == 3
    for count in (2, 4, 3, 7, 1):  # whether rows of a batch have to do with each other is seen by the same graph
        explainer(np.repeat(one, count, axis=0) + np.arange(count, dtype=np.float32)[:, None, None, None])
    explainer(batch, method=["layercam", "hirescam", "xgradcam"])
    photos = np.random.default_rng(1).integers(0, 255, (9, 70, 80, 3)).astype(np.uint8)
    assert len(gs.run(list(photos), explainer, out=tmp_path / "auto")) == 9  # with a last batch that is smaller
    assert models() == 3
