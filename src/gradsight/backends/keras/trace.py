"""Seeing one image run through a view: every layer's output, and which of them are cuts of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keras

from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.keras.tap import Call, Numbered, Tap, path_of
from gradsight.backends.passes import logits_in
from gradsight.contracts import Resolve
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.layers import Seen, call_name
from gradsight.layouts import Layout

if TYPE_CHECKING:
    from gradsight.backends.keras.backend import KerasBackend


@dataclass
class _Record:
    key: str
    layer: Module
    shape: tuple[int, ...]
    received: tuple[int, ...] | None
    same: bool
    floating: bool


def record(backend: KerasBackend, inputs: Inputs, targets: Resolve) -> list[Seen]:
    """Run the view on one image, and describe every call of every layer.

    Args:
        backend: of the view.
        inputs: one image, and what else goes in.
        targets: resolves the score, as in `contracts.Backend.run`.
    """
    seeing = _Seeing()

    def whole(inputs: Inputs, _start: Start) -> Outputs:
        return backend.running.execute(inputs, seeing), [r.shape for r in seeing.records]

    backend.running.find_end(inputs)
    outputs, shapes = backend.engine.plain(None, whole, inputs)
    records = [
        replace(r, shape=tuple(int(side) for side in shape))  # of what is traced, a side may be known afterwards
        for r, shape in zip(seeing.records, shapes, strict=True)
        if path_of(r.layer) not in seeing.looped
    ]
    numbered = seeing.numbered
    calls = numbered.calls
    backend.view.calls.update(calls)
    resolved = targets(logits_in(backend, inputs, outputs), outputs)

    def score(images: Inputs, start: Start) -> Array:
        outputs = backend.running.execute(backend.batches.with_image(inputs, images[0]), _Starting(start))
        return keras.ops.sum(resolved.scores(outputs, backend.scores_in(outputs), backend.ops)[:, 0])

    cuts = backend.engine.cuts(score, [backend.batches.image(inputs)])
    layouts = backend.positions(inputs).layouts
    able = [r for r in records if r.floating and layouts.get(_name(r, calls))]
    asked = [r for r in able if r.key in cuts] or able  # nothing is a cut: the gradients of whatever there is decide
    gradients = backend.raw_gradients(inputs, [r.key for r in asked], resolved) if asked else {}
    return [_seen(r, r.key in cuts, calls, gradients.get(r.key), layouts, backend) for r in records]


class _Seeing(Tap):
    """A tap that describes every call.

    Attributes:
        records: one for each call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[_Record] = []
        self.numbered = Numbered()

    def __call__(self, call: Call) -> Array:
        """Describe a call."""
        name = self.numbered.name(call)
        if name is not None:
            received = tuple(call.tensors[0].shape) if call.tensors else None
            same = any(call.output is x for x in call.tensors)
            shape = tuple(keras.ops.shape(call.output))
            self.records.append(_Record(name, call.layer, shape, received, same, is_floating(call.output)))
        return call.output


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
    r: _Record,
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
        gradient=None if gradient is None else numpy_of(gradient[0]),
        layouts=layouts.get(name, ()),
    )


def _name(r: _Record, calls: dict[str, int]) -> str:
    path, _, number = r.key.partition("#")
    return call_name(path, int(number), calls)
