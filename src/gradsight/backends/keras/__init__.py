"""Keras 3 on TensorFlow, JAX or PyTorch: any `keras.Model`, and nothing of it is touched (see `view`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

from gradsight.backends import probe
from gradsight.backends.keras.biases import Biases
from gradsight.backends.keras.engines import engine_for
from gradsight.backends.keras.engines.replay import replay
from gradsight.backends.keras.inputs import count, extras, image_in, row, tiled, with_image
from gradsight.backends.keras.ops import OPS
from gradsight.backends.keras.outputs import (
    floating_in,
    full_precision,
    is_floating,
    numpy_of,
    tensors_in,
    with_floating,
)
from gradsight.backends.keras.running import Running, told
from gradsight.backends.keras.tap import Shown
from gradsight.backends.keras.trace import record
from gradsight.backends.keras.trees import Form, mapped
from gradsight.backends.keras.variation import vary
from gradsight.backends.keras.view import View
from gradsight.backends.parts import Part
from gradsight.backends.reading import NOTHING, Framework, Known, Reader
from gradsight.backends.trial import Trials
from gradsight.contracts import Reads, Rows
from gradsight.errors import GradsightError, InvalidType, ModelError, one_line, received
from gradsight.foreign import Inputs, Module, Ops, Outputs
from gradsight.layers import INPUT, Layer, Seen
from gradsight.layouts import Layout, forced_layout, layouts
from gradsight.locks import Lock
from gradsight.positions import Positions
from gradsight.recent import Recent
from gradsight.targets import ScoreSpec
from gradsight.values import array_in, has


@dataclass(frozen=True)
class Forward(probe.Forward):
    """One forward pass of one batch.

    Attributes:
        key: names the body that ran, for engines that compile.
        body: what ran.
        pull: cotangents of the outputs to gradients by layer name; None where nothing was held.
        tails: by layer, where one was asked for, the engine's tail with what bypasses it in this pass; None where the
            whole model has to run.
        more: from a number to the inputs as often as that, where further rows go through the whole model.
    """

    key: Any = None
    body: Any = None
    pull: Any = None
    tails: dict[str, Any] = field(default_factory=dict)
    more: Callable[[int], Any] | None = None


class KerasModel:
    """`contracts.UserModel` for one Keras model. Threads may share it."""

    def __init__(self, model: Module, known: Known = NOTHING, *, probabilities: bool = False) -> None:
        """Keep the model; nothing is run or copied yet. The arguments are those of `KerasBackend`."""
        self._make = partial(KerasBackend, model, known, probabilities=probabilities)
        self._lock = Lock()
        self._kept: KerasBackend | None = None

    def backend(self) -> KerasBackend:
        """The backend of the model as it is now: the last one, or a new one when the model has changed since."""
        with self._lock:
            if self._kept is None or not self._kept.view.is_current():
                self._kept = self._make()
            return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}  # a copy makes its own view, of its own model


class KerasBackend:
    """`contracts.Backend` for one Keras model as it was when this was made. Threads may share it."""

    ops: Ops = OPS
    draws = False  # a layer that draws is told that it does not train
    # What `backends.probe` asks of a framework, where it is no matter of the model.
    no_gradient = staticmethod(contextlib.nullcontext)
    with_gradient = staticmethod(contextlib.nullcontext)
    detached = staticmethod(lambda array: array)
    full_precision = staticmethod(full_precision)
    image = staticmethod(image_in)
    extras = staticmethod(extras)

    def __init__(self, model: Module, known: Known = NOTHING, *, probabilities: bool = False) -> None:
        """Make a view of the model; nothing is run.

        Args:
            model: the user's.
            known: what is known of its scores.
            probabilities: explain what the model gives, its last softmax or sigmoid included.
        """
        self.rows: Recent[Any, Rows] = Recent()
        self._trials = Trials()
        self.view = view = View(model, probabilities=probabilities)
        self.reader = Reader(Framework(self.ops, numpy_of, lambda: view.left_out, self.channels_last), known)
        self.reading, self.scores_in = self.reader.reading, self.reader.scores
        self.dense_in, self.sequence_in = self.reader.dense, self.reader.sequence
        self.engine = engine_for(self.view)
        self.running = Running(self.view, self.engine)

    @property
    def was_training(self) -> bool:
        """Never: a Keras model is told in each call whether it is training."""
        return False

    @property
    def left_out(self) -> str:
        """The activation at the model's end that was left out to get logits, such as ``"softmax"``; empty if none."""
        return self.view.left_out

    @property
    def channels_last(self) -> bool:
        """Whether images are (n, *positions, channels)."""
        return self.view.data_format == "channels_last"

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""
        found: contextlib.AbstractContextManager[None] = self.engine.unchanged()
        return found

    def prepare(self, inputs: Inputs) -> Any:
        """Make tensors of a batch in the model's precision; whole numbers with positions become floating.

        Raises:
            InvalidType: there is no array in ``inputs``.
        """
        dtype = self.view.root.variable_dtype

        def convert(x: Any) -> Any:
            if not keras.ops.is_tensor(x):
                found = array_in(x) if has(x, "__array__") else None
                if found is None or found.dtype.kind not in "biufc":
                    return x
                x = found
            floating = x.ndim >= 3 or is_floating(x)
            return keras.ops.stop_gradient(keras.ops.convert_to_tensor(x, dtype=dtype if floating else None))

        given = dict(inputs) if has(inputs, "keys") else list(inputs) if isinstance(inputs, tuple) else inputs
        prepared = mapped(convert, given)
        if not tensors_in(prepared):
            raise InvalidType(
                f"`inputs` must be a batch: an array (n, ...), or a tuple or dict of them. {received(inputs)}"
            )
        return prepared

    def names(self) -> Mapping[str, str]:
        """The names of the model's layers, and the kind of each."""
        return {path: type(layer).__qualname__ for path, layer in self.view.layers.items()}

    def name_of(self, layer: Any) -> str | None:
        """What a layer of the user's is called; a name as it is."""
        return layer if isinstance(layer, str) else self.view.name_of(layer)

    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""
        return self.view.parts.get(layer.partition("#")[0])

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""
        return count(inputs)

    def size(self, inputs: Inputs) -> tuple[int, ...]:
        """The image's positions, such as (224, 224).

        Raises:
            ModelError: no input has positions.
        """
        return self.image_layout(inputs).grid

    def channel_axis(self, inputs: Inputs) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""
        return self.image_layout(inputs).axes[1] - 1

    def kind(self, inputs: Inputs) -> tuple[Any, Any]:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""
        return Form(inputs), tuple(tuple(x.shape[1:]) for x in tensors_in(inputs))

    def with_image(self, inputs: Inputs, image: Any, times: int = 1, *, shared: frozenset[int] | None = None) -> Any:
        """The inputs with another image, and ``times`` times as often whatever is by image."""
        return with_image(inputs, image, times, shared=self._shared(inputs, shared))

    def row(self, inputs: Inputs, i: int, times: int = 1, *, shared: frozenset[int] | None = None) -> Any:
        """A batch of image ``i`` and what belongs to it, ``times`` times."""
        return row(inputs, i, times, shared=self._shared(inputs, shared))

    def more(self, inputs: Inputs, times: int) -> Any:
        """The inputs, ``times`` times as often whatever is by image."""
        return self.with_image(inputs, tiled(self.image(inputs), times, self.count(inputs)), times)

    def _shared(self, inputs: Inputs, shared: frozenset[int] | None) -> frozenset[int]:
        if shared is not None:
            return shared
        found = self.rows.get(self.kind(inputs))
        return frozenset() if found is None else found.shared

    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out."""
        return forced_layout(tuple(self.image(inputs).shape), self.view.data_format, None)

    def run(
        self,
        inputs: Inputs,
        layers: Sequence[Layer],
        targets: Any,
        batch_size: int = 32,
        *,
        rule: str | None = None,
    ) -> probe.ModelPass:
        """Push a batch through; see `contracts.Backend.run`.

        ``targets`` may be `ScoreSpec` already; ``rule`` says how gradients pass rectifiers, see `rectify.rectified`.
        """
        paths = {layer.name: layer.name if layer.name == INPUT.name else self.view.path(layer.name) for layer in layers}
        if not layers:
            return probe.ModelPass(self, Forward(inputs, self.outputs(inputs), {}, {}, rule, batch_size), targets)
        key, body, (outputs, held, pull) = self.running.linearized(inputs, sorted(set(paths.values())), rule)
        found = {paths[x.name]: self.layout(x, tuple(held[paths[x.name]].shape), inputs) for x in layers}
        more = partial(self.more, inputs)
        forward = Forward(inputs, outputs, held, found, rule, batch_size, key, body, pull, more=more)
        return probe.ModelPass(self, forward, targets)

    def outputs(self, inputs: Inputs) -> Any:
        """Run the model."""
        return self.running.outputs(inputs)

    def varied(self, inputs: Inputs, seed: int) -> Any:
        """What the model gives for another first image by other weights; None where it fails by them."""
        return vary(self, inputs, seed)

    def tail(self, name: str, raw: Any, axis: int, forward: Any, times: int, *, traced: bool = True) -> Any:
        """The model's output where layer ``name`` gives ``raw``, ``times`` rows for each image of ``forward``."""
        with told(forward.inputs):
            if axis != 0 or not traced:
                return replay(self.engine, forward.key, forward.body, name, raw, forward.more(times))
            return self.engine.tail(forward.key, forward.body, name, raw, forward, times)

    def reads(self, outputs: Outputs, resolved: ScoreSpec) -> Reads:
        """Which tensors of an output targets read; see `contracts.Backend.reads`."""
        leaves = floating_in(outputs)
        if resolved.of_classes:
            return "classes"

        def scores(values: list[Any]) -> Any:
            given = with_floating(outputs, values)
            return resolved.scores(given, self.scores_in(given), self.ops)

        slopes = [self.numpy(keras.ops.sum(slope, axis=0)) for slope in self.engine.slopes(scores, leaves)[1]]
        channels = -1 if self.channels_last else 1
        return tuple((i, _reaches(slope, channels)) for i, slope in enumerate(slopes) if slope.any())

    def slopes(self, shared: probe.ModelPass, outputs: Outputs) -> tuple[Any, list[Any]]:
        """A pass's scores (n, k) of an output, and their gradients by the floating-point tensors in it: (k, ...)."""

        def score(leaves: list[Any]) -> Any:
            return shared.score(with_floating(outputs, leaves))

        found: tuple[Any, list[Any]] = self.engine.slopes(score, floating_in(outputs))
        return found

    def gradients(self, shared: probe.ModelPass) -> dict[str, Any]:
        """By layer, d scores[:, k] / d output: (k, *output)."""
        forward: Any = shared.forward
        found: dict[str, Any] = forward.pull(self.slopes(shared, forward.outputs)[1])
        return found

    def curvature(self, function: Callable[..., Any], leaf: Any, direction: Any, layer: str) -> Any:
        """The Hessian of each column of ``function(leaf)`` (n, k), times ``direction``: (n, k, *leaf[0]).

        Raises:
            ModelError: something behind the layer has no second derivative.
        """
        try:
            return keras.ops.stack(self.engine.curvature(function, leaf, direction), axis=1)
        except GradsightError:
            raise
        except Exception as error:
            raise ModelError(
                f"what is behind layer {layer!r} has no second derivative on {keras.backend.backend()}, which this "
                f"method needs: {one_line(error)}. Use a method without it, such as 'gradcam'."
            ) from error

    def biases(self, shared: probe.ModelPass) -> Biases:
        """What layers add by themselves."""
        return Biases(self, shared)

    def raw_gradients(self, inputs: Inputs, names: list[str], targets: Any) -> dict[str, Any]:
        """d scores[:, j] / d output for layers, as they are laid out: (k, *output)."""
        key, body, (outputs, held, pull) = self.running.linearized(inputs, names, None)
        return probe.ModelPass(self, Forward(inputs, outputs, held, {}, None, 1, key, body, pull), targets).gradients

    def trace(self, inputs: Inputs, targets: Any) -> list[Seen]:
        """Run the first image once, with every layer seen; ``targets`` settles the score as in `run`."""
        return record(self, self.row(inputs, 0), targets)

    def positions(self, inputs: Inputs) -> Positions:
        """How the layers' outputs are laid out, found out by a trial, once for each kind of inputs."""
        return self._trials.of(self, inputs)

    def watch(self, several: Sequence[Any], see: Callable[[int, str, Any], None]) -> None:
        """Run several inputs one after the other; ``see(number, call, output)`` sees what each call of layers gave."""
        self.running.find_end(several[0])
        names: list[str] = []

        def body(given: Any, _start: Any) -> list[Any]:
            shown = Shown()
            self.running.execute(given, shown)
            names[:] = shown.outputs
            return list(shown.outputs.values())

        for number, values in enumerate(self.engine.each(body, several)):
            for name, value in zip(names, values, strict=True):
                see(number, name, value if is_floating(value) else None)

    def usual(self, call: str, shape: tuple[int, ...], inputs: Inputs) -> Sequence[Layout]:
        """The layouts that a call's output of ``shape`` would have by its shape and data format, for one image."""
        size = self.size(inputs)
        if len(shape) != self.image(inputs).ndim:
            return layouts(shape, 1, size)
        own = self.view.layers[call.partition("#")[0]]
        dense = forced_layout(shape, getattr(own, "data_format", None) or self.view.data_format, None)
        turned = tuple(shape[axis] for axis in dense.axes)
        return [dense] if any(x.grid == dense.grid for x in layouts(turned, 1, size)) else []

    def layout(self, layer: Layer, shape: tuple[int, ...], inputs: Inputs) -> Layout:
        """How a layer's output is laid out: as the user says, as was found, or as its rank and shape tell."""
        if layer.name == INPUT.name:
            return self.image_layout(inputs)
        if layer.order is not None or layer.grid is not None:
            return forced_layout(shape, layer.order, layer.grid)
        if layer.layout is not None:
            return layer.layout
        path = self.view.path(layer.name)
        return self.positions(inputs).layout(path, shape, self.count(inputs), self.size(inputs))

    def numpy(self, array: Any) -> Any:
        """Copy to NumPy: float64 stays, everything else becomes float32."""
        return numpy_of(array)


def _reaches(gradient: Any, channels: int) -> bool:
    """Whether more than one channel of an output has a gradient."""
    if gradient.ndim < 2:
        return False
    by_channel = np.moveaxis(gradient, channels, 0).reshape(gradient.shape[channels], -1)
    return int(np.count_nonzero(by_channel.any(axis=1))) > 1
