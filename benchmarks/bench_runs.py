"""Times runs over a folder of photos, as ratios to a bare loop that decodes and predicts, on the same photos.

    make bench-runs ARGS="DIR"                                     the embedded model on the photos of a folder
    make bench-runs ARGS="DIR --count 200 --rounds 9"
    KERAS_BACKEND=tensorflow make bench-runs ARGS="DIR --keras MobileNetV2"

The bare loop is at its own best batch size, which is looked for first; the model is loaded and warm for everybody. In
each round everybody goes through all photos once, in turn; shown are medians and quartiles of photos a second divided
by those of the bare loops right before and right after, and the same of photos for each second of a processor, which
says more on a machine that others use too. A run is timed as a whole, from the call to the last row on
the disk: the digest of the weights, the search for the batch size and the manifest are in it.

Beside runs stand loops as their users write them: grad-cam's, photo by photo, and the recipe of keras.io, which builds
its model of two outputs for each photo.
"""

# ruff: noqa: E402 - the imports below need the path and the shim
from __future__ import annotations

import argparse
import copy
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torchvision_shim

torchvision_shim.install()

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import gradsight as gs
from gradsight.photos import find_photos

SIZES = (1, 2, 4, 8, 16, 32)
GOALS = {"run": 0.9, "run, 3 classes, 2 methods": 0.85}

Loop = Callable[[Sequence[Path]], None]


def bare(preprocess: gs.Preprocess, forward: Callable[[Any], Any], size: int) -> Loop:
    """Decode and predict, a batch at a time."""

    def loop(photos: Sequence[Path]) -> None:
        for i in range(0, len(photos), size):
            forward(np.stack([preprocess(Image.open(path).convert("RGB")) for path in photos[i : i + size]]))

    return loop


def best(loops: dict[int, Loop], photos: Sequence[Path]) -> int:
    """The batch size of the quickest loop, the best of two times each."""
    times = {size: min(taken(loop, photos).clock for _ in range(2)) for size, loop in loops.items()}
    return min(times, key=lambda size: times[size])


class Taken(NamedTuple):
    """Seconds of the clock, and of all processors."""

    clock: float
    processors: float


def taken(loop: Loop, photos: Sequence[Path]) -> Taken:
    clock, processors = time.perf_counter(), _processors()
    loop(photos)
    return Taken(time.perf_counter() - clock, _processors() - processors)


def _processors() -> float:
    """Seconds of all processors so far, those of processes that have ended among them: a run makes copies of this."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def run(explainer: gs.Explainer, told: list[str], **options: Any) -> Loop:
    """A run in a folder of its own."""

    def loop(photos: Sequence[Path]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = gs.run(photos, explainer, out=Path(folder) / "run", **options)
            assert len(done) == len(photos)
            told.append(f"batches of {done.manifest.batch_size}")

    return loop


def of_torch(told: list[str]) -> tuple[dict[str, Loop], dict[int, Loop]]:
    """Everybody on the embedded model, and the bare loops."""
    import torch
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    model = gs.load_model("demo")
    explainer, module, preprocess = gs.Explainer(model), model.model.eval(), model.preprocess
    assert isinstance(preprocess, gs.Preprocess)

    def forward(batch: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).softmax(1).topk(5)

    # On a model of its own: it leaves hooks on it, which everybody's passes would run.
    other = copy.deepcopy(module)
    cam = GradCAM(other, [dict(other.named_modules())["_swish"]])

    def gradcam(photos: Sequence[Path]) -> None:
        for path in photos:
            photo = Image.open(path).convert("RGB")
            heat = cam(input_tensor=torch.from_numpy(preprocess(photo)[None]), targets=None)[0]
            shown = np.asarray(photo.resize(heat.shape[::-1]), np.float32) / 255
            show_cam_on_image(shown, heat, use_rgb=True)

    ours = {
        "run": run(explainer, told),
        "run, 3 classes, 2 methods": run(explainer, told, targets=gs.Top(3), methods=["gradcam", "layercam"]),
        "run --features": run(explainer, told, features=True),
    }
    return {**ours, "grad-cam, a loop": gradcam}, {size: bare(preprocess, forward, size) for size in SIZES}


def of_keras(name: str, told: list[str]) -> tuple[dict[str, Loop], dict[int, Loop]]:
    """Everybody on a network of keras.applications, and the bare loops; the recipe on TensorFlow alone."""
    import keras

    keras.utils.set_random_seed(0)
    net = getattr(keras.applications, name)(weights=None)
    preprocess = gs.Preprocess(net.input_shape[1:3], channels_last=True)
    explainer = gs.Explainer(net, preprocess=preprocess)
    found = {"run": run(explainer, told)}
    layer = explainer.layers(np.zeros((1, *net.input_shape[1:]), np.float32))[0].name
    engine = keras.backend.backend()
    forward = compiled(net, engine)
    if engine == "tensorflow":
        found["keras.io recipe, a loop"] = recipe(net, layer, preprocess)
    return found, {size: bare(preprocess, forward, size) for size in SIZES}


def compiled(net: Any, engine: str) -> Callable[[Any], Any]:
    """The quickest forward pass that the engine has."""
    if engine == "tensorflow":
        import tensorflow as tf

        function = tf.function(lambda x: net(x, training=False), reduce_retracing=True)
        return lambda batch: np.asarray(function(tf.constant(batch)))
    if engine == "jax":
        import jax

        jitted = jax.jit(lambda x: net(x, training=False))
        return lambda batch: np.asarray(jitted(batch))
    return lambda batch: np.asarray(net(batch, training=False).detach())


def recipe(net: Any, layer: str, preprocess: gs.Preprocess) -> Loop:
    """Grad-CAM as keras.io has it, photo by photo."""
    import keras
    import tensorflow as tf

    def loop(photos: Sequence[Path]) -> None:
        for path in photos:
            batch = preprocess(Image.open(path).convert("RGB"))[None]
            both = keras.Model(net.inputs, [net.get_layer(layer).output, net.output])
            with tf.GradientTape() as tape:
                activations, scores = both(batch)
                score = scores[:, tf.argmax(scores[0])]
            weights = tf.reduce_mean(tape.gradient(score, activations), axis=(0, 1, 2))
            heat = tf.squeeze(activations[0] @ weights[..., tf.newaxis])
            (tf.maximum(heat, 0) / tf.math.reduce_max(heat)).numpy()

    return loop


def race(loops: dict[str, Loop], unit: Loop, photos: Sequence[Path], rounds: int) -> dict[str, list[Taken]]:
    """Photos a second, as ratios to the bare loops right before and after."""
    ratios: dict[str, list[Taken]] = {name: [] for name in loops}
    for i in range(rounds):
        order = list(loops.items())
        before = taken(unit, photos)
        for name, loop in order[i % len(order) :] + order[: i % len(order)]:
            own, after = taken(loop, photos), taken(unit, photos)
            ratios[name].append(Taken(*((a + b) / 2 / c for a, b, c in zip(before, after, own, strict=True))))
            before = after
    return ratios


def spread(ratios: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--count", type=int, default=96, help="of photos; the folder's again where it has fewer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", metavar="NETWORK", help="of keras.applications, such as MobileNetV2")
    options = parser.parse_args()
    found = [Path(str(photo.source)) for photo in find_photos([options.photos])[0]]
    photos = list(itertools.islice(itertools.cycle(found), options.count))
    told: list[str] = []
    loops, bares = of_keras(options.keras, told) if options.keras else of_torch(told)
    for loop in loops.values():  # warm: layers chosen, tails traced
        loop(photos[:8])
    told.clear()
    size = best(bares, photos[:32])
    rate = len(photos) / taken(bares[size], photos).clock
    title = f"photos, / a bare loop by {size}, which does {rate:.1f} a second"
    table = Table("", "a second", "a second of a processor", "goal", title=title)
    for name, ratios in race(loops, bares[size], photos, options.rounds).items():
        clocks, processors = zip(*ratios, strict=True)
        table.add_row(name, spread(clocks), spread(processors), str(GOALS.get(name, "")))
    Console().print(table, f"runs took {', '.join(sorted(set(told)))}")


if __name__ == "__main__":
    main()
