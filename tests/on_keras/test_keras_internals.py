"""What Keras and its engines do not promise, and gradsight relies on: a new version tells here what moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

from gradsight.backends.keras.outputs import numpy_of
from gradsight.backends.keras.state import UNREAD, State

ENGINE = keras.backend.backend()


def functional() -> Any:
    entry = keras.Input((6, 6, 3))
    x = L.Conv2D(4, 3, name="conv")(entry)
    return keras.Model(entry, L.Dense(2, activation="softmax", name="end")(L.GlobalAveragePooling2D()(x + 1.0)))


def nodes_are_where_they_were() -> bool:
    from keras.src.ops.node import Node

    model = functional()
    node = model.get_layer("end")._inbound_nodes[0]
    return isinstance(node, Node) and node.operation is model.get_layer("end") and node.outputs[0] is model.outputs[0]


def graphs_keep_nodes_by_depth() -> bool:
    model = functional()
    nodes = [node for depth in vars(model)["_nodes_by_depth"].values() for node in depth]
    return any(node.outputs and node.outputs[0] is model.outputs[0] for node in nodes)


def layers_inside_are_kept_by_name() -> bool:
    model = functional()
    inside, operations = vars(model)["_layers"], vars(model)["_operations"]
    return model.get_layer("conv") in inside and any(not isinstance(x, keras.Layer) for x in operations)


def copies_of_layers_run() -> bool:
    layer = L.Dense(2)
    x = np.ones((1, 3), "float32")
    expected = layer(x)
    copy = object.__new__(L.Dense)
    copy.__dict__.update(vars(layer))
    copy.__dict__["call"] = lambda inputs, *_, **__: 2 * layer.call(inputs)  # an attribute comes before the method
    return bool(np.allclose(numpy_of(copy(x)), 2 * numpy_of(expected)))


def activations_are_looked_up_in_the_engine() -> bool:
    from keras.src import backend

    return {"relu", "gelu", "silu", "elu"} <= vars(backend.nn).keys()


def last_activations_have_names() -> bool:
    return L.Dense(2, activation="softmax").activation.__name__ == "softmax"


def variables_may_stand_for_others() -> bool:
    variable = keras.Variable(np.float32(1))
    with keras.StatelessScope(state_mapping=[(variable, keras.ops.convert_to_tensor(np.float32(3)))]):
        return float(numpy_of(keras.ops.multiply(variable, 1.0))) == 3


def jax_names_what_it_traces() -> bool:
    import jax
    from jax.ad_checkpoint import checkpoint_name

    from gradsight.backends.keras.engines.jax import _trace_state

    jaxpr = jax.make_jaxpr(lambda x: checkpoint_name(x * 2, "gradsight 0"))(1.0).jaxpr
    named = [x.params["name"] for x in jaxpr.eqns if x.primitive.name == "name"]
    inside: list[Any] = []
    jax.jit(lambda x: inside.append(_trace_state(convention="flax")) or x)(1.0)
    return named == ["gradsight 0"] and inside[0] != _trace_state(convention="flax")


def tensorflow_graphs_come_apart() -> bool:
    import tensorflow as tf

    wrapped = tf.compat.v1.wrap_function(lambda x: tf.square(x) + 1, [tf.TensorSpec((None,), tf.float32)])
    definition, (entry,) = wrapped.graph.as_graph_def(), wrapped.inputs
    with tf.Graph().as_default():
        fed = tf.constant([3.0])
        nodes = [node for node in definition.node if node.op in ("Square", "AddV2", "Const")]
        part = tf.compat.v1.GraphDef(node=nodes, versions=definition.versions)
        (end,) = tf.graph_util.import_graph_def(part, {entry.name: fed}, [wrapped.outputs[0].name], name="")
        with tf.compat.v1.Session() as session:
            return session.run(end).tolist() == [10.0]


def tensorflow_names_the_steps_that_it_maps() -> bool:
    import tensorflow as tf

    scopes: list[str] = []
    tf.function(lambda x: tf.vectorized_map(lambda row: scopes.append(tf.get_current_name_scope()) or row, x))(
        tf.ones((2, 3))
    )
    return any("loop_body" in scope.split("/") for scope in scopes)


INTERNALS: list[tuple[Callable[[], bool], str]] = [
    (nodes_are_where_they_were, "view: keras.src.ops.node.Node, Layer._inbound_nodes"),
    (graphs_keep_nodes_by_depth, "view: Function._nodes_by_depth"),
    (layers_inside_are_kept_by_name, "view: Layer._layers, Function._operations"),
    (copies_of_layers_run, "view: layers made without __init__"),
    (activations_are_looked_up_in_the_engine, "rectify: keras.src.backend.nn"),
    (last_activations_have_names, "view: __name__ of activations"),
    (variables_may_stand_for_others, "engines: keras.StatelessScope(state_mapping)"),
]
OF_ENGINES = {
    "jax": [(jax_names_what_it_traces, "engines.jax: primitives of a jaxpr, get_opaque_trace_state")],
    "tensorflow": [
        (tensorflow_graphs_come_apart, "engines.traced: wrap_function, import_graph_def"),
        (tensorflow_names_the_steps_that_it_maps, "engines.tensorflow: the name scope of vectorized_map"),
    ],
    "torch": [],
}
INTERNALS += OF_ENGINES[ENGINE]


@pytest.mark.parametrize(("holds", "what"), INTERNALS, ids=[holds.__name__ for holds, _ in INTERNALS])
def test_keras_is_inside_as_we_know_it(holds: Callable[[], bool], what: str) -> None:
    moved = f"Keras {keras.__version__} on {ENGINE} has moved what gradsight relies on; backends.keras.{what}"
    try:
        held = holds()
    except Exception as error:
        pytest.fail(f"{moved}: {type(error).__name__}: {error}")
    assert held, moved


def changed(model: Any, layers: list[Any], act: Callable[[Any], Any]) -> list[str]:
    """The attributes of layers that something done with a model changes, and that count as a change of the model."""
    act(model)  # the first time may build what is then there for good
    before = [(layer, dict(vars(layer)), State([layer])) for layer in layers]
    act(model)
    names = []
    for layer, attributes, state in before:
        if not state.holds():
            now = vars(layer)
            keys = (attributes.keys() | now.keys()) - UNREAD
            keys = {k for k in keys if attributes.get(k, now) is not now.get(k, attributes)}
            names.append(f"{type(layer).__name__}: {', '.join(sorted(keys)) or 'what an attribute holds'}")
    return names


X, Y = np.ones((2, 6, 6, 3), "float32"), np.zeros(2, "int64")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own way from PyTorch to NumPy
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda model: model(X), id="call"),
        pytest.param(lambda model: functional_on(model), id="another model of its layers"),
        pytest.param(lambda model: model.compile("sgd", "sparse_categorical_crossentropy"), id="compile"),
        pytest.param(lambda model: compiled(model).predict(X, verbose=0), id="predict"),
        pytest.param(lambda model: compiled(model).evaluate(X, Y, verbose=0), id="evaluate"),
    ],
)
def test_what_using_a_model_leaves_on_it_is_known_as_unread(act: Callable[[Any], Any]) -> None:
    """Else every explanation between two uses would copy and compile the model anew, and nobody would be told."""
    model = functional()
    names = changed(model, [model, *model.layers], act)
    assert not names, (
        f"Keras {keras.__version__} on {ENGINE} leaves attributes that no pass reads on {'; '.join(names)}: add them "
        "to UNREAD in backends.keras.state"
    )


def functional_on(model: Any) -> Any:
    return keras.Model(model.inputs, model.get_layer("conv").output)


def compiled(model: Any) -> Any:
    if not model.compiled:
        model.compile("sgd", "sparse_categorical_crossentropy")
    return model
