"""Seeing one image run through a view: every layer's output, and which of them are cuts of the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.keras.running import told_of_gradients
from gradsight.backends.keras.tap import Call, Numbered, Tap
from gradsight.backends.keras.watching import Record, watched
from gradsight.backends.passes import logits_in
from gradsight.contracts import Resolve
from gradsight.foreign import Array, Inputs
from gradsight.layers import Seen, call_name
from gradsight.layouts import Layout

if TYPE_CHECKING:
    from gradsight.backends.keras.backend import KerasBackend


def record(backend: KerasBackend, inputs: Inputs, targets: Resolve) -> list[Seen]:
    """Run the view on one image, and describe every call of every layer.

    Args:
        backend: of the view.
        inputs: one image, and what else goes in.
        targets: resolves the score, as in `contracts.Backend.run`.
    """
    outputs, values, every = next(watched(backend.running, backend.engine, [inputs]))
    records = [r for r in every if not r.looped]
    calls = dict(Counter(r.key.partition("#")[0] for r in every))
    backend.view.calls.update(calls)
    resolved = targets(logits_in(backend, inputs, outputs), outputs)

    def score(images: Inputs, start: Start) -> Array:
        outputs = backend.running.execute(backend.batches.with_image(inputs, images[0]), _Starting(start))
        return keras.ops.sum(resolved.scores(outputs, backend.scores_in(outputs), backend.ops)[:, 0])

    # Which layers are cuts is read off the graph of the score, which no second forward pass has to be run for.
    image = [backend.batches.image(inputs)]
    cuts = backend.engine.cuts(score, image)
    layouts = backend.positions(inputs).layouts
    able = [r for r in records if r.floating and layouts.get(_name(r, calls))]
    asked = [r for r in able if r.key in cuts] or able  # nothing is a cut: the gradients of whatever there is decide
    with told_of_gradients():  # forward it has run
        gradients = backend.engine.gradients(score, image, {r.key: values[r.key] for r in asked}) if asked else {}
    return [_seen(r, r.key in cuts, calls, gradients.get(r.key), layouts, backend) for r in records]


class _Starting(Tap):
    """A tap that starts at every call of every layer."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start, self._numbered = start, Numbered()

    def __call__(self, call: Call) -> Array:
        """Start at a call's output, if it can be differentiated by it."""
        name = self._numbered.name(call)
        return call.output if name is None or not is_floating(call.output) else self._start(name, call.output)


def _seen(
    r: Record,
    cut: bool,
    calls: dict[str, int],
    gradient: Array | None,
    layouts: Mapping[str, tuple[Layout, ...]],
    backend: KerasBackend,
) -> Seen:
    name = _name(r, calls)
    return Seen(
        name=name,
        kind=type(r.layer).__name__,
        shape=r.shape,
        received=r.received,
        composite=bool(backend.view.children(r.layer)),
        same=r.same,
        cut=cut,
        gradient=None if gradient is None else numpy_of(gradient),
        layouts=layouts.get(name, ()),
    )


def _name(r: Record, calls: dict[str, int]) -> str:
    path, _, number = r.key.partition("#")
    return call_name(path, int(number), calls)
