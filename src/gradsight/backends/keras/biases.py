"""What each layer of a model adds to a score by itself: the terms of FullGrad (arXiv:1905.00780, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from gradsight.backends.keras.inputs import private
from gradsight.backends.keras.outputs import floating_in, is_floating, numpy_of
from gradsight.backends.keras.running import pulled
from gradsight.backends.keras.tap import Call, Numbered, Start, main_of, tapped
from gradsight.backends.keras.trees import leaves, mapped
from gradsight.foreign import Inputs

if TYPE_CHECKING:
    from gradsight.backends.keras import KerasBackend
    from gradsight.backends.probe import ModelPass


class Biases:
    """One forward pass in which every innermost layer's own contribution was seen."""

    def __init__(self, backend: KerasBackend, shared: ModelPass) -> None:
        """Run once more the inputs of a pass."""
        self._backend, self._inputs = backend, shared.inputs
        found, self._held, self._pull = backend.engine.linearize("biases", self._body, shared.inputs)
        outputs, self._added = found
        _, self._cotangents = backend.slopes(shared, outputs)

    def _body(self, inputs: Inputs, start: Start) -> Any:
        """The outputs, and by call of a layer the part of its output that is not linear in its input."""
        watching = _Watching(self._backend, start)
        return self._backend.running.execute(inputs, watching), watching.added

    def terms(self, target: int) -> Iterator[Any]:
        """The gradient of each output times its bias: (n, c, *s), or (n, c) for an output without positions."""
        rows = [c[target : target + 1] for c in self._cotangents]
        rows += [ops.zeros((1, *x.shape), x.dtype) for x in floating_in(self._added)]
        gradients = pulled(self._pull, rows)
        for name, bias in self._added.items():
            real = _more_than_rounding(numpy_of(bias), numpy_of(self._held[name]))
            if real.any():
                term = gradients[name][0] * bias
                yield self._folded(name, ops.where(real, term, ops.zeros_like(term)))

    def _folded(self, name: str, term: Any) -> Any:
        backend, shape = self._backend, tuple(term.shape)
        found = backend.positions(self._inputs).layouts_of(name, shape, len(term), backend.size(self._inputs))
        return found[0].fold(term, backend.ops) if found else ops.reshape(term, (len(term), -1))


class _Watching:
    """A tap that computes what each layer adds.

    Attributes:
        added: by call of a layer, the part of its output that is not linear in its input.
    """

    before = staticmethod(private)

    def __init__(self, backend: KerasBackend, start: Start) -> None:
        self.added: dict[str, Any] = {}
        self._backend, self._start = backend, start
        self._numbered = Numbered()
        self._order: dict[str, int] = {}

    def __call__(self, call: Call) -> Any:
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

    def _linear_part(self, call: Call) -> Any:
        """The derivative of a layer's output in the direction of its own input: all of it, where it is linear."""
        given = [list(call.arguments), call.keywords]

        def function(*tensors: Any) -> Any:
            left = iter(tensors)
            arguments, keywords = mapped(lambda x: ops.copy(next(left)) if _moves(x) else x, given)
            with tapped(None):
                found = leaves(call.function(*arguments, **keywords))
            return found[main_of(found) or 0]

        return self._backend.engine.along(function, [x for x in leaves(given) if _moves(x)])


def _more_than_rounding(part: Any, whole: Any) -> Any:
    """For which rows, (n, 1 ...), a part of an output is more than what rounding makes of it, or no number."""
    axes = tuple(range(1, whole.ndim))
    most, rounding = (np.abs(x).max(axis=axes, keepdims=True, initial=0) for x in (part, whole))
    return ~(most <= 4 * np.finfo(whole.dtype).eps * rounding)


def _moves(x: Any) -> bool:
    return keras.ops.is_tensor(x) and is_floating(x)


def _is_linear(layer: Any) -> bool:
    return getattr(layer, "activation", None) in (None, keras.activations.linear)
