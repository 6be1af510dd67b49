"""`attends.Attends` on Keras: passes of a view in which attention is seen, and differentiated by."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import keras
import numpy as np
from keras import ops

from gradsight.attention import Attended
from gradsight.backends.attends import Attends
from gradsight.backends.attention import outputs_of_blocks
from gradsight.backends.keras.attention import attending
from gradsight.backends.keras.blocks import Averaged, Tokens
from gradsight.backends.keras.engines.protocol import Body, Engine, Linearized, Start
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.outputs import floating_in, numpy_of, tensors_in, with_floating
from gradsight.backends.keras.rectify import rectified
from gradsight.backends.keras.running import Running, pulled, told
from gradsight.backends.keras.trees import mapped
from gradsight.backends.passes import ModelPass
from gradsight.backends.rounding import is_close
from gradsight.errors import ModelError
from gradsight.foreign import Array, Inputs, Module, Outputs

_HALVES = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Units of rounding of what NumPy may have no name for."""

_WHOLE = {"float16": "int16", "bfloat16": "int16", "float32": "int32", "float64": "int64"}
"""Whole numbers of as many bits."""


class KerasAttends(Attends[KerasForward]):
    """What a backend of Keras adds to see attention.

    Attributes:
        engine: runs the passes.
        running: the passes of its view.
    """

    engine: Engine
    running: Running

    def attention(self, inputs: Inputs) -> Sequence[Array]:
        """The weights of every attention in one pass without a gradient."""
        running, engine = self.running, self.engine

        def body(inputs: Inputs, _start: Start) -> Outputs:
            weights: list[Array] = []

            def see(shown: Array) -> Array:
                weights.append(shown)
                return ops.copy(shown)  # what follows may write into it

            with attending(see, engine):
                running.execute(inputs, None)
            return weights

        self.running.find_end(inputs)
        with told(inputs):
            seen: list[Array] = self.engine.plain(("attention",), body, inputs)
        return seen

    def attend(self, shared: ModelPass[KerasForward], numbers: Sequence[int]) -> Attended:
        """A pass again with every attention seen; its scores are differentiated by the weights of some calls.

        Raises:
            ModelError: it gave other outputs than the pass, or something behind the calls has no gradient.
        """
        rule = shared.forward.rule
        running, engine = self.running, self.engine  # what is compiled keeps its body, and that must not keep this

        def body(inputs: Inputs, start: Start) -> Outputs:
            calls = _Calls(start, numbers)
            with rectified(rule, engine), attending(calls, engine):
                outputs = running.execute(inputs, None)
            return [outputs, calls.bits, calls.dtypes]

        (outputs, bits, dtypes), leaves, pull = self._linearized_by(("attend", rule, *numbers), body, shared.inputs)
        self._check(outputs, shared.outputs, len(dtypes))
        gradients = pulled(pull, self._cotangents(shared, outputs))
        others = iter(bits)
        weights = [
            leaves[_leaf(number)] if number in numbers else ops.view(next(others), dtype)
            for number, dtype in enumerate(dtypes)
        ]
        return Attended(weights, [gradients[_leaf(number)] for number in numbers])

    def block_outputs(
        self, shared: ModelPass[KerasForward], like: Sequence[int], numbers: Sequence[int]
    ) -> Sequence[str]:
        """By call, the layer that gives the output tokens of its block: the last cut between it and the next call.

        Raises:
            ModelError: there is no such layer.
        """
        seen: list[Tokens] = []

        def score(images: Inputs, start: Start) -> Array:
            seen.append(Tokens(start, self.running.view, like))
            with attending(seen[-1].attended, self.engine):
                outputs = self.running.execute(self.running.batches.with_image(shared.inputs, images[0]), seen[-1])
            return ops.sum(shared.score(outputs)[:, 0])

        with told(shared.inputs):
            cuts = self.engine.cuts(score, [self.running.batches.image(shared.inputs)])
        return outputs_of_blocks([(name, x) for name, x in seen[-1].outputs if name in cuts], numbers)

    def formation_gradients(
        self,
        shared: ModelPass[KerasForward],
        axes: Sequence[int],
        numbers: Sequence[int],
        blocks: Sequence[str],
    ) -> Sequence[Array]:
        """By call, d s^l[:, j] / d weights^l, where s^l is what a block's mean token by itself gives (LeGrad).

        Raises:
            ModelError: a block gave no output, or what is behind the last one takes no other rows.
        """
        rule, n = shared.forward.rule, len(shared.scores)
        running, engine = self.running, self.engine

        def body(inputs: Inputs, start: Start) -> Outputs:
            averaged = Averaged(blocks, running.view.calls, axes)
            with rectified(rule, engine), attending(_Calls(start, numbers), engine):
                outputs = running.execute(inputs, averaged)
            averaged.check()
            return outputs

        key = ("formation", rule, *axes, *numbers, *blocks)
        outputs, _, pull = self._linearized_by(key, body, shared.inputs)
        self._check(
            mapped(lambda x: x[:n] if ops.is_tensor(x) and x.ndim else x, outputs), shared.outputs, len(numbers)
        )
        gradients = pulled(pull, self._cotangents(shared, outputs, n))
        return [gradients[_leaf(number)] for number in numbers]

    def _cotangents(self, shared: ModelPass[KerasForward], outputs: Outputs, first: int = 0) -> list[Array]:
        """The gradients of a pass's scores of the rows from ``first`` on, by the tensors in an output: (k, ...)."""

        def score(tensors: list[Array]) -> Array:
            return shared.score(with_floating(outputs, tensors))[first:]

        return self.engine.slopes(score, floating_in(outputs))[1]

    def _linearized_by(self, key: tuple[object, ...], body: Body, inputs: Inputs) -> Linearized:
        self.running.find_end(inputs)
        with told(inputs):
            return self.engine.linearize(key, body, inputs)

    def _check(self, outputs: Outputs, expected: Outputs, calls: int) -> None:
        """Check that the attention that was computed step by step gives what the model gave.

        Raises:
            ModelError: it does not.
        """
        ours, theirs = ([numpy_of(x) for x in tensors_in(y)] for y in (outputs, expected))
        # Every call adds up in another order.
        unit = max(map(_unit, (self.running.view.root, *self.running.view.layers.values()))) * max(1, calls / 4)
        if len(ours) != len(theirs) or not all(is_close(a, b, unit) for a, b in zip(ours, theirs, strict=True)):
            raise ModelError(
                "the model gives other outputs where its attention is computed step by step, softmax first, so that "
                "the weights that were seen are not those of the pass. Use a method that does not look at attention, "
                "such as 'gradcam'."
            )


class _Calls:
    """Sees attentions, and starts at the weights of some.

    Attributes:
        dtypes: of the weights of each call.
        bits: of each call at which nothing starts, its weights as whole numbers of the same bits: engines take the way
            back from every floating-point number that a pass gives, wanted or not.
    """

    def __init__(self, start: Start, numbers: Collection[int]) -> None:
        self.dtypes: list[str] = []
        self.bits: list[Array] = []
        self._start, self._numbers = start, numbers

    def __call__(self, weights: Array) -> Array:
        """Start at the weights of a call, if it is wanted."""
        number = len(self.dtypes)
        dtype = keras.backend.standardize_dtype(weights.dtype)
        self.dtypes.append(dtype)
        if number in self._numbers:
            return self._start(_leaf(number), weights)
        self.bits.append(ops.view(ops.stop_gradient(weights), _WHOLE[dtype]))
        return weights


def _leaf(number: int) -> str:
    """The name of a call's weights among leaves, which no layer has."""
    return f"/attention/{number}"


def _unit(layer: Module) -> float:
    """The unit of rounding that a layer computes in."""
    return _HALVES.get(getattr(layer, "compute_dtype", None) or "float32", float(np.finfo(np.float32).eps))
