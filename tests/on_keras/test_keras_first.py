"""What the first explanation of a process compiles on JAX, and that it is compiled once for all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import gradsight as gs
from gradsight.backends.keras.ops import no_gradient, pick
from gradsight.backends.keras.outputs import numpy_of

SIZE = 32
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="counts what JAX compiles")

# Of the model there are three: for what all layers give, for the gradients of all cuts, and the pass that is kept; the
# way back through that one; and what is done to its arrays outside of it, each operation for itself: ten.
MOST = 3 + 1 + 10


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(0)
    body = [L.Conv2D(8, 3, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body, L.GlobalAveragePooling2D(), L.Dense(5)])


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3), np.float32)


@pytest.fixture
def events() -> Iterator[list[str]]:
    """What JAX tells of its compiler while a test runs; it forgets before that what it has compiled."""
    import jax

    from gradsight.backends.keras.engines import jitted

    told: list[str] = []
    listening = [True]

    def hear(event: str, *_: Any, **__: Any) -> None:
        if listening:
            told.append(event.rpartition("/")[2])

    jitted.jitted(lambda: None, jitted.QUICKLY)  # which options the compiler knows is found out once
    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(hear)
    jax.monitoring.register_event_listener(hear)
    yield told
    listening.clear()


@on_jax
def test_a_first_explanation_compiles_no_more_than_it_needs(model: Any, batch: np.ndarray, events: list[str]) -> None:
    explainer = gs.Explainer(model)
    explainer(batch)
    assert 0 < events.count("backend_compile_duration") <= MOST
    events.clear()
    explainer(batch)
    assert events.count("backend_compile_duration") == 0


@on_jax
def test_another_process_finds_all_of_it_in_the_cache(
    model: Any, batch: np.ndarray, events: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 0}
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        first = gs.Explainer(model)(batch)
        assert events.count("cache_misses") > 0
        events.clear()
        jax.clear_caches()  # as a fresh process has it
        again = gs.Explainer(model)(batch)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    assert (events.count("cache_misses"), events.count("cache_hits") > 0) == (0, True)
    np.testing.assert_array_equal(first.maps, again.maps)


def of_two(inputs: Any, start: Callable[[str, Any], Any]) -> Any:
    """A body that starts at three tensors, one of which nothing depends on."""
    first = start("first", inputs[0] * 3.0)
    start("unused", inputs[0] + 1.0)
    second = start("second", first * first)
    return ops.sum(second * 5.0)


@pytest.mark.parametrize("names", [["first"], ["second"], ["unused", "second", "first"]])
def test_the_gradients_of_a_number_are_those_by_hand(names: list[str], model: Any) -> None:
    engine: Any = gs.Explainer(model)._model.backend().engine
    x = np.random.default_rng(0).standard_normal((1, 4), np.float32)
    by_hand = {"first": 2 * 5 * 3 * x, "second": 5 + 0 * x, "unused": 0 * x}
    made = engine.gradients(of_two, [ops.convert_to_tensor(x)], dict.fromkeys(names, x))
    assert sorted(made) == sorted(names)
    for name in names:
        np.testing.assert_allclose(numpy_of(made[name]), by_hand[name], rtol=1e-6)


@on_jax
def test_classes_are_picked_without_a_compiler(events: list[str]) -> None:
    import jax

    logits = np.random.default_rng(0).standard_normal((3, 7), np.float32)
    logits[0, 2], logits[1, 3] = np.inf, np.nan
    indices = np.array([[1, 6], [0, 0], [5, 2]])
    tensor = jax.device_put(logits)
    events.clear()
    with no_gradient():
        picked = pick(tensor, indices)
        assert events.count("backend_compile_duration") == 0
        traced = jax.jit(lambda x: pick(x, indices))(tensor)  # what is traced has no numbers to look at
    assert isinstance(picked, jax.Array)
    np.testing.assert_array_equal(picked, np.take_along_axis(logits, indices, 1))
    np.testing.assert_array_equal(picked, traced)
