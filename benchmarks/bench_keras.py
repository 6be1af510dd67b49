"""Times gradsight on Keras, on the engine that ``KERAS_BACKEND`` names, as ratios to a plain compiled forward pass.

    make bench-keras                                               on each engine, a few minutes
    make bench-keras ARGS="--nets ResNet50 --rounds 40"

The unit is the quickest plain pass that the engine has: ``tf.function``, ``jax.jit``, or PyTorch without a graph.
Beside gradsight stand ``model(x)`` as most notebooks call it, and the keras.io recipe for Grad-CAM (TensorFlow only).
Everything runs once in turn in each round, after two rounds that do not count; shown are medians and quartiles. The
first explanation, for which a layer is chosen and all is traced and compiled, is told in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import gradsight as gs

ENGINE = keras.backend.backend()
LAYERS = {"ResNet50": "conv5_block3_out", "MobileNetV2": "out_relu", "EfficientNetV2B0": "top_activation"}


def plain(model: Any, batch: Any) -> Callable[[], Any]:
    """The quickest forward pass that the engine has."""
    if ENGINE == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: model(x, training=False))
        return lambda: np.asarray(compiled(batch))
    if ENGINE == "jax":
        import jax

        run = jax.jit(lambda x: model(x, training=False))
        return lambda: np.asarray(run(batch))
    import torch

    def forward() -> Any:
        with torch.no_grad():
            return model(batch, training=False).numpy()

    return forward


def recipe(model: Any, layer: str, batch: Any) -> Callable[[], Any]:
    """Grad-CAM as keras.io has it."""
    import tensorflow as tf

    both = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])

    def call() -> Any:
        with tf.GradientTape() as tape:
            activations, scores = both(batch, training=False)
            score = scores[:, tf.argmax(scores[0])]
        weights = tf.reduce_mean(tape.gradient(score, activations), axis=(0, 1, 2))
        return (activations[0] @ weights[:, None]).numpy()

    return call


def first(name: str) -> float:
    """Seconds of the first explanation of a model; its layer is chosen."""
    model = getattr(keras.applications, name)(weights=None)
    explainer, images = gs.Explainer(model), np.zeros((1, *model.input_shape[1:]), np.float32)
    images[..., 50:150, 50:150, :] = 1
    start = time.perf_counter()
    explainer(images)
    return time.perf_counter() - start


def contestants(name: str) -> dict[str, Callable[[], Any]]:
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    images = np.random.default_rng(0).standard_normal((1, *model.input_shape[1:]), np.float32)
    batch = keras.ops.convert_to_tensor(images)
    explainer = gs.Explainer(model, layer=LAYERS[name])
    found = {
        "plain": plain(model, batch),
        "model(x)": lambda: keras.ops.convert_to_numpy(model(batch, training=False)),
        "gradcam": lambda: explainer(images),
        "gradcam, ten classes": lambda: explainer(images, targets=gs.Top(10)),
        "ablationcam": lambda: explainer(images, method="ablationcam"),
    }
    if ENGINE == "tensorflow":
        found["keras.io recipe"] = recipe(model, LAYERS[name], batch)
    return found


def race(runners: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call; the first two of each do not count."""
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for i in range(rounds + 2):
        for name, call in runners.items():
            if name == "ablationcam" and i > 4:  # long enough to be steady
                continue
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: times[2:] for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    table = Table(
        "network", "first", "plain pass", title=f"Keras {keras.__version__} on {ENGINE}, ratios to a plain pass"
    )
    for i, net in enumerate(options.nets):
        seconds = first(net)
        taken = race(contestants(net), options.rounds)
        unit = statistics.median(taken.pop("plain"))
        if not i:
            for name in taken:
                table.add_column(name)
        cells = [f"{np.quantile(times, 0.5) / unit:.2f}" + _spread(times, unit) for times in taken.values()]
        table.add_row(net, f"{seconds:.1f} s", f"{1000 * unit:.0f} ms", *cells)
    Console(width=160).print(table)


def _spread(times: list[float], unit: float) -> str:
    low, high = np.quantile(times, [0.25, 0.75]) / unit
    return f" ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
