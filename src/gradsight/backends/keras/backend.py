"""A Keras model as it is now."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

import keras
import numpy as np

from gradsight.backends.ablation import Ablation
from gradsight.backends.backend import ModelBackend
from gradsight.backends.keras.attends import KerasAttends
from gradsight.backends.keras.biases import Biases
from gradsight.backends.keras.engines.choosing import engine_for
from gradsight.backends.keras.engines.replay import replay
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.inputs import KerasBatches, prepared
from gradsight.backends.keras.ops import OPS, no_gradient, with_gradient
from gradsight.backends.keras.outputs import floating_in, full_precision, is_floating, numpy_of, with_floating
from gradsight.backends.keras.precision import is_coarse
from gradsight.backends.keras.randomising import holders, randomise
from gradsight.backends.keras.running import Running, told
from gradsight.backends.keras.trace import record
from gradsight.backends.keras.variation import vary
from gradsight.backends.keras.view import View
from gradsight.backends.keras.watching import watched
from gradsight.backends.passes import ModelPass, Targets
from gradsight.backends.reading import NOTHING, Known
from gradsight.backends.trial import See
from gradsight.contracts import Floats, Part, Resolve
from gradsight.errors import GradsightError, ModelError, one_line
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.layers import INPUT, Layer, Seen
from gradsight.layouts import Layout, forced_layout, layouts


class KerasBackend(KerasAttends, ModelBackend[KerasForward]):
    """`contracts.Backend` for one Keras model as it was when this was made. Threads may share it."""

    ops = OPS
    mark = "/"
    compiles_by_size = keras.backend.backend() == "jax"
    numpy = staticmethod(numpy_of)
    full_precision = staticmethod(full_precision)
    is_coarse = staticmethod(is_coarse)
    # Nothing has a graph outside of an engine's own calls.
    no_gradient = staticmethod(no_gradient)
    with_gradient = staticmethod(with_gradient)

    def __init__(self, model: Module, known: Known = NOTHING, *, probabilities: bool = False) -> None:
        """Make a view of the model; nothing is run.

        Args:
            model: the user's.
            known: what is known of its scores.
            probabilities: explain what the model gives, its last softmax or sigmoid included.
        """
        self._see = partial(View, model, probabilities=probabilities)
        self.view = view = self._see()
        self.channels_last = view.data_format == "channels_last"
        super().__init__(KerasBatches(view.data_format), known, lambda: view.left_out)
        self.engine = engine_for(view)
        self.running = Running(view, self.engine, self.batches)

    @staticmethod
    def detached(array: Array, /) -> Array:
        """An array without its graph: there is none."""
        return array

    @property
    def was_training(self) -> bool:
        """Never: a Keras model is told in each call whether it is training."""
        return False

    @property
    def draws(self) -> bool:
        """Never: a layer that draws is told that it does not train."""
        return False

    @property
    def left_out(self) -> str:
        """The activation at the model's end that was left out to get logits, such as ``"softmax"``; empty if none."""
        return self.view.left_out

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""
        return self.engine.unchanged()

    def prepare(self, inputs: Inputs) -> Inputs:
        """Make tensors of a batch in the model's precision; whole numbers with positions become floating.

        Raises:
            InvalidType: there is no array in ``inputs``.
        """
        return prepared(inputs, self.view.root.variable_dtype)

    def names(self) -> Mapping[str, str]:
        """The names of the model's layers, and the kind of each."""
        return {path: type(layer).__qualname__ for path, layer in self.view.layers.items()}

    def name_of(self, layer: str | Module) -> str | None:
        """What a layer of the user's is called; a name as it is."""
        return layer if isinstance(layer, str) else self.view.name_of(layer)

    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""
        return self.view.parts.get(layer.partition("#")[0])

    def call_of(self, layer: str) -> str:
        """The name that the positions know a layer by: its path."""
        return self.view.path(layer)

    def usual(self, call: str, shape: tuple[int, ...], inputs: Inputs) -> Sequence[Layout]:
        """The layouts that a call's output of ``shape`` would have by its shape and data format, for one image."""
        size = self.size(inputs)
        if len(shape) != self.batches.image(inputs).ndim:
            return layouts(shape, 1, size)
        own = self.view.layers[call.partition("#")[0]]
        dense = forced_layout(shape, getattr(own, "data_format", None) or self.view.data_format, None)
        turned = tuple(shape[axis] for axis in dense.axes)
        return [dense] if any(x.grid == dense.grid for x in layouts(turned, 1, size)) else []

    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""
        return self.running.outputs(inputs)

    def outputs_again(self, forward: KerasForward, inputs: Inputs) -> Outputs:
        """Run the model on other inputs, by what was traced or compiled for a pass where it is of their number too."""
        with told(inputs):
            if forward.key is not None and self.engine.serves_any_rows:
                return self.engine.plain(forward.key, forward.body, inputs)
            if forward.key is not None and self.compiles_by_size and self.count(inputs) == self.count(forward.inputs):
                return self.engine.linearize(forward.key, forward.body, inputs).outputs
        return self.outputs(inputs)

    def varied(self, inputs: Inputs, seed: int) -> Outputs | None:
        """What the model gives for another first image by other weights; None where it fails by them."""
        return vary(self.running, inputs, seed)

    def holders(self) -> Sequence[str]:
        """The names of the layers that hold weights of their own; ``""`` for the model itself."""
        return holders(self.view)

    def randomised(self, layers: Collection[str], seed: int) -> KerasBackend:
        """The same model with other weights in some layers; see `contracts.Probe.randomised`."""
        other = copy.copy(self)
        # All but the view is a matter of how the model is built, and stays: layouts, readings, trials.
        other.view = self._see()
        randomise(other.view, layers, seed)
        other.view.calls.update(self.view.calls)
        other.engine = engine_for(other.view)
        other.running = Running(other.view, other.engine, self.running.batches)
        return other

    def run(
        self,
        inputs: Inputs,
        layers: Sequence[Layer],
        targets: Targets,
        batch_size: int = 32,
        *,
        rule: str | None = None,
    ) -> ModelPass[KerasForward]:
        """Push a batch through; see `contracts.Backend.run`.

        Targets may be resolved already; ``rule`` says how gradients pass rectifiers, see `rectify.rectified`.
        """
        paths = {layer.name: layer.name if layer.name == INPUT.name else self.view.path(layer.name) for layer in layers}
        if not layers:
            return ModelPass(self, KerasForward(inputs, self.outputs(inputs), {}, {}, rule, batch_size), targets)
        # In one order, whatever the user's: a pass is compiled for its layers.
        forward = self._linearized(inputs, sorted(set(paths.values())), rule, batch_size)
        shapes = {path: tuple(leaf.shape) for path, leaf in forward.leaves.items()}
        forward.layouts.update({paths[x.name]: self.layout(x, shapes[paths[x.name]], inputs) for x in layers})
        with no_gradient():  # its gradients are asked for later
            return ModelPass(self, forward, targets)

    def _linearized(
        self, inputs: Inputs, names: list[str], rule: str | None = None, batch_size: int = 1
    ) -> KerasForward:
        """A pass that starts at layers, of whose layouts nothing is known."""
        key, body, (outputs, leaves, pull) = self.running.linearized(inputs, names, rule)
        return KerasForward(inputs, outputs, leaves, {}, rule, batch_size, key, body, pull)

    def slopes(self, shared: ModelPass[KerasForward], outputs: Outputs) -> tuple[Array, list[Array]]:
        """A pass's scores (n, k) of an output, and their gradients by the floating-point tensors in it: (k, ...)."""

        def score(tensors: list[Array]) -> Array:
            return shared.score(with_floating(outputs, tensors))

        return self.engine.slopes(score, floating_in(outputs))

    def gradients(self, shared: ModelPass[KerasForward]) -> dict[str, Array]:
        """By leaf of a pass, d scores[:, k] / d output: (k, *output)."""
        # In two steps: what is explained is the caller's function, while the way back through the model is compiled.
        outputs = shared.forward.outputs
        return shared.forward.pull(self._of_classes(shared, outputs) or self.slopes(shared, outputs)[1])

    def _of_classes(self, shared: ModelPass[KerasForward], outputs: Outputs) -> list[Array]:
        """The gradients of scores that are single classes, where a tensor of the outputs holds just these.

        They are ones and zeros, known without differentiating anything. Empty where there is more to it.
        """
        classes, logits = shared.targets.classes, self.scores_in(outputs)
        ends = floating_in(outputs)
        if classes is None or logits is None or len(classes) != len(logits) or all(x is not logits for x in ends):
            return []
        chosen = classes.T[:, :, None] == np.arange(logits.shape[1])
        zeros = ((np.zeros((len(chosen), *x.shape), bool), x) for x in ends)
        return [self.engine.like(chosen if x is logits else blank, x) for blank, x in zeros]

    def output_slopes(self, function: Callable[[Outputs], Array], outputs: Outputs) -> list[Floats | None]:
        """The gradient of ``function(outputs)``, summed, by each floating-point tensor; None where it reads none."""

        def scores(tensors: list[Array]) -> Array:
            return function(with_floating(outputs, tensors))

        _, slopes = self.engine.slopes(scores, floating_in(outputs))
        numbers = (numpy_of(keras.ops.sum(slope, axis=0)) for slope in slopes)
        return [slope if slope.any() else None for slope in numbers]

    def tail(
        self, name: str, raw: Array, axis: int, forward: KerasForward, times: int, *, traced: bool = True
    ) -> Outputs:
        """The model's output where layer ``name`` gives ``raw``, ``times`` rows for each image of ``forward``."""
        more = partial(self.batches.more, forward.inputs, times)
        with told(forward.inputs):
            if axis != 0 or not traced:  # an engine's tail repeats what bypasses the layer along its first axis
                return replay(self.engine, forward, name, raw, more())
            return self.engine.tail(name, raw, forward, more, times)

    def ablated(self, name: str, ablations: Iterable[Ablation], shared: ModelPass[KerasForward]) -> Iterator[Array]:
        """The scores (m * n, k) of a pass where channels of a layer are off, by ablation."""
        for ablation in self._at_once(name, list(ablations), shared):
            with told(shared.inputs):
                outputs = None if ablation.axis != 0 else self.engine.ablated(name, ablation, shared.forward)
            if outputs is None:
                yield from super().ablated(name, [ablation], shared)
            else:
                yield shared.score(outputs)

    def _at_once(self, name: str, rounds: list[Ablation], shared: ModelPass[KerasForward]) -> Iterator[Ablation]:
        """Rounds of an ablation, several as one where they need no more memory."""
        with told(shared.inputs):
            by_row = rounds[0].axis == 0
            step = self.engine.rounds_at_once(name, rounds[0], shared.forward) if by_row else 1
        return (Ablation.joined(rounds[i : i + step]) for i in range(0, len(rounds), step))

    def curvature(self, function: Callable[..., Array], leaf: Array, direction: Array, layer: str) -> Array:
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

    def biases(self, shared: ModelPass[KerasForward]) -> Biases:
        """What layers add by themselves."""
        return Biases(self, shared)

    def trace(self, inputs: Inputs, targets: Resolve) -> list[Seen]:
        """Run the first image once, with every layer seen; ``targets`` resolves the score as in `run`."""
        return record(self, self.row(inputs, 0), targets)

    def watch(self, several: Sequence[Inputs], see: See) -> None:
        """Run several inputs one after the other; ``see(number, call, output)`` sees what each call of layers gave."""
        for number, seen in enumerate(watched(self.running, self.engine, several)):
            for name, value in seen.values.items():
                see(number, name, value if is_floating(value) else None)
