"""What each layer of a model adds to a score by itself: the terms of FullGrad (arXiv:1905.00780, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.inputs import private
from gradsight.backends.keras.outputs import floating_in, is_floating, numpy_of
from gradsight.backends.keras.running import pulled
from gradsight.backends.keras.tap import Arguments, Call, Numbered, Tap, main_of, tapped
from gradsight.backends.keras.trees import flat, mapped
from gradsight.contracts import Floats
from gradsight.foreign import Array, Inputs, Module, Outputs

if TYPE_CHECKING:
    from gradsight.backends.keras.backend import KerasBackend
    from gradsight.backends.passes import ModelPass


class Biases:
    """One forward pass in which every innermost layer's own contribution was seen."""

    def __init__(self, backend: KerasBackend, shared: ModelPass[KerasForward]) -> None:
        """Run once more the inputs of a pass."""
        self._backend, self._inputs = backend, shared.inputs
        both, self._leaves, self._pull = backend.engine.linearize("biases", self._body, shared.inputs)
        outputs, self._added = both
        _, self._cotangents = backend.slopes(shared, outputs)

    def _body(self, inputs: Inputs, start: Start) -> Outputs:
        """The outputs, and by call of a layer the part of its output that is not linear in its input."""
        watching = _Watching(self._backend, start)
        return self._backend.running.execute(inputs, watching), watching.added

    def terms(self, target: int) -> Iterator[Array]:
        """The gradient of each output times its bias: (n, c, *s), or (n, c) for an output without positions."""
        rows = [c[target : target + 1] for c in self._cotangents]
        rows += [ops.zeros((1, *x.shape), x.dtype) for x in floating_in(self._added)]
        gradients = pulled(self._pull, rows)
        for name, bias in self._added.items():
            real = _more_than_rounding(numpy_of(bias), numpy_of(self._leaves[name]))
            if real.any():
                term = gradients[name][0] * bias
                yield self._folded(name, ops.where(real, term, ops.zeros_like(term)))

    def _folded(self, name: str, term: Array) -> Array:
        backend, shape = self._backend, tuple(term.shape)
        fitting = backend.positions(self._inputs).layouts_of(name, shape, len(term), backend.size(self._inputs))
        return fitting[0].fold(term, backend.ops) if fitting else ops.reshape(term, (len(term), -1))


class _Watching(Tap):
    """A tap that computes what each layer adds.

    Attributes:
        added: by call of a layer, the part of its output that is not linear in its input.
    """

    def __init__(self, backend: KerasBackend, start: Start) -> None:
        super().__init__()
        self.added: dict[str, Array] = {}
        self._backend, self._start = backend, start
        self._numbered = Numbered()
        self._order: dict[str, int] = {}

    def before(self, arguments: Arguments) -> Arguments:
        """Copies of the arguments: the layer may write into its own, and is run on these once more."""
        positional, keywords = private(list(arguments))
        return positional, keywords

    def __call__(self, call: Call) -> Array:
        """See a call, and start at its output if the layer may add something."""
        name = self._numbered.name(call)
        bare = getattr(call.layer, "use_bias", True) is False and _is_linear(call.layer)
        if name is None or bare or not call.is_one or not is_floating(call.output):
            return call.output
        for inner in [known for known, began in self._order.items() if began >= call.began]:
            del self.added[inner], self._order[inner]  # a layer that runs others step by step is one
        self._order[name] = call.began
        self.added[name] = ops.stop_gradient(call.output - self._linear_part(call))
        return self._start(name, call.output)

    def _linear_part(self, call: Call) -> Array:
        """The derivative of a layer's output in the direction of its own input: all of it, where it is linear."""
        arguments = [list(call.arguments), call.keywords]

        def function(*tensors: Array) -> Array:
            left = iter(tensors)
            positional, keywords = mapped(lambda x: ops.copy(next(left)) if _moves(x) else x, arguments)
            with tapped(None):
                values = flat(call.function(*positional, **keywords))
            return values[main_of(values) or 0]

        return self._backend.engine.along(function, [x for x in flat(arguments) if _moves(x)])


def _more_than_rounding(part: Floats, whole: Floats) -> NDArray[np.bool_]:
    """For which rows, (n, 1 ...), a part of an output is more than what rounding makes of it, or no number."""
    axes = tuple(range(1, whole.ndim))
    most, rounding = (np.abs(x).max(axis=axes, keepdims=True, initial=0) for x in (part, whole))
    real: NDArray[np.bool_] = ~(most <= 4 * np.finfo(whole.dtype).eps * rounding)
    return real


def _moves(x: Array) -> bool:
    return keras.ops.is_tensor(x) and is_floating(x)


def _is_linear(layer: Module) -> bool:
    return getattr(layer, "activation", None) in (None, keras.activations.linear)
