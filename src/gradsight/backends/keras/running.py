"""Running a view on its engine."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import keras

from gradsight.backends.batches import Batches
from gradsight.backends.keras.engines.protocol import Body, Engine, Linearized, Pull, Start
from gradsight.backends.keras.inputs import private
from gradsight.backends.keras.outputs import tensors_in
from gradsight.backends.keras.rectify import find_rectifiers, rectified
from gradsight.backends.keras.tap import Call, LeafTap, Tap, tapped
from gradsight.backends.keras.view import View
from gradsight.cached import cached_property
from gradsight.errors import GradsightError, ModelError, as_photos, cause, one_line
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.layers import INPUT
from gradsight.locks import Lock

_VALUES = re.compile(r"\[\s?\[.*\]\s?\]|\x1b\[\d*m")
"""What Keras puts into its messages and nobody can read: all the numbers of an input, and colours of a terminal."""


class Started(NamedTuple):
    """A pass that starts at layers.

    Attributes:
        key: names its body.
        body: what ran.
        linearized: what it gave.
    """

    key: Hashable
    body: Body
    linearized: Linearized


class Running:
    """The passes of one view.

    Attributes:
        view: it.
        batches: what batches hold.
    """

    def __init__(self, view: View, engine: Engine, batches: Batches) -> None:
        """Nothing is run."""
        self.view, self.batches = view, batches
        self._engine = engine
        self._looking = Lock()

    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""
        self.find_end(inputs)
        with told(inputs):
            return self._engine.plain("outputs", lambda inputs, _start: self.execute(inputs, None), inputs)

    def linearized(self, inputs: Inputs, names: list[str], rule: str | None) -> Started:
        """A pass that starts at the named layers.

        Raises:
            ModelError: the model failed, a layer did not run, or there is no rectifier for a ``rule``.
        """
        # All that the body closes over, beside the view that keeps what is compiled: another key is another body.
        key = ("layers", rule, *names)
        self.find_end(inputs)
        if rule is not None:
            with self._looking:
                find_rectifiers(list(self.view.layers.values()), self._engine)

        def body(inputs: Inputs, start: Start) -> Outputs:
            if INPUT.name in names:
                inputs = self.batches.with_image(inputs, start(INPUT.name, self.batches.image(inputs)))
            tap = LeafTap([name for name in names if name != INPUT.name], self.view.calls, start)
            with rectified(rule, self._engine):
                outputs = self.execute(inputs, tap)
            # An engine that compiles runs this once, when it traces: what is seen of layers is told there.
            self.view.calls.update(tap.calls)
            self.view.parts.update(tap.parts)
            _check_reached(names, tap)
            return outputs

        with told(inputs):
            outputs, leaves, pull = self._engine.linearize(key, body, inputs)
        return Started(key, body, Linearized(outputs, leaves, lambda cotangents: pulled(pull, cotangents)))

    def execute(self, inputs: Inputs, tap: Tap | None) -> Outputs:
        """One forward pass, with the layers tapped.

        Raises:
            ModelError: the model failed.
        """
        # Private, since the model may write into what it is given, and the next pass is given the same.
        root, inputs = self.view.root, private(inputs)
        with told(inputs), tapped(tap, self._engine.trace_level):
            if isinstance(inputs, dict) and len(self._arguments) > 1 and self._arguments >= inputs.keys():
                return root(**inputs, training=False)
            if isinstance(inputs, list) and len(self._arguments) > 1:
                return root(*inputs, training=False)
            return root(inputs, training=False)

    @cached_property
    def _arguments(self) -> set[str]:
        """The arguments of the model's ``call``, where that is the user's own: several inputs are several of them."""
        if self.view.is_graph:
            return set()
        _itself, *names = inspect.signature(type(self.view.root).call).parameters
        return set(names) - {"training", "mask"}

    def find_end(self, inputs: Inputs) -> None:
        """Look, once, for the layer that gives the output of a model that is the user's own code."""
        with self._looking:
            if not self.view.end_is_known:
                self._look_for_end(inputs)
                self.view.end_is_known = True

    def _look_for_end(self, inputs: Inputs) -> None:
        seen: list[tuple[Module, bool]] = []

        def body(inputs: Inputs, _start: Start) -> Outputs:
            tap = _Calls()
            outputs = self.execute(inputs, tap)
            seen[:] = [(call.layer, call.output is outputs) for call in tap.calls]
            return outputs

        # Where two layers give the output, or one gives it and ran before, there is no telling which call is the last.
        self._engine.plain(None, body, self.batches.row(inputs, 0))
        giving = [layer for layer, gives in seen if gives]
        if giving and sum(layer is giving[0] for layer, _ in seen) == 1:
            self.view.leave_out(giving[0])


class _Calls(Tap):
    """A tap that keeps the calls of layers.

    Attributes:
        calls: in the order in which they ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Array:
        """Keep a call, but that of the model itself."""
        if call.path is not None:
            self.calls.append(call)
        return call.output


@contextlib.contextmanager
def told(inputs: Inputs) -> Iterator[None]:
    """Tell in words that the model failed, when it was traced or when it ran.

    Raises:
        ModelError: it did.
    """
    try:
        yield
    except GradsightError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors_in(inputs))
        text = _VALUES.sub("", " ".join(str(error).split()))
        advice = as_photos(x for x in tensors_in(inputs) if x.ndim < 4)  # with a batch axis they are as Keras has them
        raise ModelError(
            f"the model failed on inputs of shape {shapes}: {type(error).__name__}: {text} "
            f"(`inputs` is a batch, as the model itself takes it; pass a single image as inputs[None]){advice}"
        ) from cause(error)


def pulled(pull: Pull, cotangents: list[Array]) -> dict[str, Array]:
    """Cotangents of outputs to gradients; see `told_of_gradients`."""
    with told_of_gradients():
        return pull(cotangents)


@contextlib.contextmanager
def told_of_gradients() -> Iterator[None]:
    """Tell in words that what ran has no gradient.

    Raises:
        ModelError: the engine has none of something on the way, as JAX of a loop without a known end.
    """
    try:
        yield
    except GradsightError:
        raise
    except Exception as error:
        raise ModelError(
            f"something in the model has no gradient on {keras.backend.backend()}: {one_line(error)}. Name a layer "
            "behind it, or use a method without gradients, such as 'occlusion'."
        ) from error


def _check_reached(names: list[str], tap: LeafTap) -> None:
    """Check that every named layer became a leaf.

    Raises:
        ModelError: one did not run, or runs within a loop.
    """
    for name in sorted(set(names) - {INPUT.name}):
        path = name.partition("#")[0]
        if path in tap.looped:
            around = path.rpartition("/")[0]
            raise ModelError(
                f"layer {name!r} runs step by step inside a loop, where no step has a gradient of its own to be had. "
                + (f"Name the layer around it, {around!r}." if around else "Name a layer before or after the loop.")
            )
        if name not in tap.reached:
            raise ModelError(
                f"layer {name!r} was not reached: it ran {tap.calls[path]} time(s) in this forward pass. Name "
                "another layer, or another call (name#0 is the first)."
            )
