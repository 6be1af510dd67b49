"""Running a view on its engine."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import keras

from gradsight.backends.keras.inputs import image_in, private, row, with_image
from gradsight.backends.keras.outputs import tensors_in
from gradsight.backends.keras.rectify import find_rectifiers, rectified
from gradsight.backends.keras.tap import Call, Holder, Start, Tap, tapped
from gradsight.backends.keras.view import View
from gradsight.cached import cached_property
from gradsight.errors import GradsightError, ModelError, as_photos, cause, one_line
from gradsight.foreign import Inputs
from gradsight.layers import INPUT
from gradsight.locks import Lock

_VALUES = re.compile(r"\[\s?\[.*\]\s?\]|\x1b\[\d*m")
"""What Keras puts into its messages and nobody can read: all the numbers of an input, and colours of a terminal."""


class Running:
    """The passes of one view."""

    def __init__(self, view: View, engine: Any) -> None:
        """Nothing is run."""
        self._view, self._engine = view, engine
        self._looking = Lock()

    def outputs(self, inputs: Inputs) -> Any:
        """Run the model."""
        self.find_end(inputs)
        with told(inputs):
            return self._engine.plain("outputs", lambda given, _start: self.execute(given, None), inputs)

    def linearized(self, inputs: Inputs, names: list[str], rule: str | None) -> Any:
        """The key and the body of a pass; its outputs, what was held of the named layers, and the way back.

        Raises:
            ModelError: the model failed, a layer did not run, or there is no rectifier for a ``rule``.
        """
        self.find_end(inputs)
        if rule is not None:
            with self._looking:
                find_rectifiers(list(self._view.layers.values()), self._engine)

        def body(given: Any, start: Start) -> Any:
            if INPUT.name in names:
                given = with_image(given, start(INPUT.name, image_in(given)))
            holder = Holder([name for name in names if name != INPUT.name], self._view.calls, start)
            with rectified(rule, self._engine):
                outputs = self.execute(given, holder)
            self._view.calls.update(holder.calls)
            self._view.parts.update(holder.parts)
            _check_held(names, holder)
            return outputs

        key = ("layers", rule, *names)
        with told(inputs):
            outputs, held, pull = self._engine.linearize(key, body, inputs)
        return key, body, (outputs, held, lambda cotangents: pulled(pull, cotangents))

    def execute(self, inputs: Inputs, tap: Tap | None) -> Any:
        """One forward pass, with the layers tapped.

        Raises:
            ModelError: the model failed.
        """
        root, inputs = self._view.root, private(inputs)
        with told(inputs), tapped(tap, self._engine.place):
            if isinstance(inputs, dict) and len(self._arguments) > 1 and self._arguments >= inputs.keys():
                return root(**inputs, training=False)
            if isinstance(inputs, list) and len(self._arguments) > 1:
                return root(*inputs, training=False)
            return root(inputs, training=False)

    @cached_property
    def _arguments(self) -> set[str]:
        """The arguments of the model's ``call``, where that is the user's own: several inputs are several of them."""
        if self._view.is_graph:
            return set()
        _itself, *names = inspect.signature(type(self._view.root).call).parameters
        return set(names) - {"training", "mask"}

    def find_end(self, inputs: Inputs) -> None:
        """Look, once, for the layer that gives the output of a model that is the user's own code."""
        with self._looking:
            if not self._view.end_is_known:
                self._look_for_end(inputs)
                self._view.end_is_known = True

    def _look_for_end(self, inputs: Inputs) -> None:
        seen: list[tuple[Any, bool]] = []

        def body(given: Any, _start: Start) -> Any:
            calls: list[Call] = []

            def see(call: Call) -> Any:
                if call.path is not None:
                    calls.append(call)
                return call.output

            outputs = self.execute(given, see)
            seen[:] = [(call.layer, call.output is outputs) for call in calls]
            return outputs

        self._engine.plain(None, body, row(inputs, 0))
        giving = [layer for layer, gives in seen if gives]
        if giving and sum(layer is giving[0] for layer, _ in seen) == 1:
            self._view.leave_out(giving[0])


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
        ways = as_photos(x for x in tensors_in(inputs) if x.ndim < 4)  # with a batch axis they are as Keras has them
        raise ModelError(
            f"the model failed on inputs of shape {shapes}: {type(error).__name__}: {text} "
            f"(`inputs` is a batch, as the model itself takes it; pass a single image as inputs[None]){ways}"
        ) from cause(error)


def pulled(pull: Any, cotangents: list[Any]) -> Any:
    """Cotangents of outputs to gradients.

    Raises:
        ModelError: the engine has no gradient of something on the way, as JAX of a loop without a known end.
    """
    try:
        return pull(cotangents)
    except Exception as error:
        raise ModelError(
            f"something in the model has no gradient on {keras.backend.backend()}: {one_line(error)}. Name a layer "
            "behind it, or use a method without gradients, such as 'occlusion'."
        ) from error


def _check_held(names: list[str], holder: Holder) -> None:
    """Check that every named layer was held.

    Raises:
        ModelError: one did not run, or runs within a loop.
    """
    for name in sorted(set(names) - {INPUT.name}):
        path = name.partition("#")[0]
        if path in holder.looped:
            around = path.rpartition("/")[0]
            raise ModelError(
                f"layer {name!r} runs step by step inside a loop, where no step has a gradient of its own to be had. "
                + (f"Name the layer around it, {around!r}." if around else "Name a layer before or after the loop.")
            )
        if name not in holder.reached:
            raise ModelError(
                f"layer {name!r} was not reached: it ran {holder.calls[path]} time(s) in this forward pass. Name "
                "another layer, or another call (name#0 is the first)."
            )
