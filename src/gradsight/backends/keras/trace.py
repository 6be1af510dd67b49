"""Seeing one image run through a view: every layer's output, and which of them are cuts of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from gradsight.backends.keras.outputs import is_floating, numpy_of
from gradsight.backends.keras.tap import Call, Numbered, Start, Tap
from gradsight.backends.probe import logits_in
from gradsight.layers import Seen
from gradsight.layouts import Layout

if TYPE_CHECKING:
    from gradsight.backends.keras import KerasBackend


@dataclass
class _Record:
    key: str
    layer: Any
    shape: tuple[int, ...]
    received: tuple[int, ...] | None
    same: bool
    floating: bool


def record(backend: KerasBackend, inputs: Any, targets: Any) -> list[Seen]:
    """Run the view on one image, and describe every call of every layer.

    Args:
        backend: of the view.
        inputs: one image, and what else goes in.
        targets: settles the score, as in `contracts.Backend.run`.
    """
    records: list[_Record] = []
    numbered = Numbered()

    def see(call: Call) -> Any:
        name = numbered.name(call)
        if name is not None:
            received = tuple(call.tensors[0].shape) if call.tensors else None
            same = any(call.output is x for x in call.tensors)
            records.append(
                _Record(name, call.layer, tuple(call.output.shape), received, same, is_floating(call.output))
            )
        return call.output

    backend.running.find_end(inputs)
    outputs = backend.engine.plain(None, lambda given, _start: backend.running.execute(given, see), inputs)
    calls = numbered.calls
    backend.view.calls.update(calls)
    resolved = targets(logits_in(backend, inputs, outputs), outputs)

    def score(given: list[Any], start: Start) -> Any:
        outputs = backend.running.execute(backend.with_image(inputs, given[0]), _starting(start))
        return keras.ops.sum(resolved.scores(outputs, backend.scores_in(outputs), backend.ops)[:, 0])

    cuts = backend.engine.cuts(score, [backend.image(inputs)])
    asked = [r for r in records if r.key in cuts and len(r.shape) > 2 and r.floating]
    if not asked:  # nothing is a cut: the gradients of whatever there is must decide
        asked = [r for r in records if len(r.shape) > 2 and r.floating]
    gradients = backend.raw_gradients(inputs, [r.key for r in asked], resolved) if asked else {}
    ways = backend.positions(inputs).ways
    return [_seen(r, r.key in cuts, calls, gradients.get(r.key), ways, backend) for r in records]


def _starting(start: Start) -> Tap:
    """A tap that starts at every call of every layer."""
    numbered = Numbered()

    def tap(call: Call) -> Any:
        name = numbered.name(call)
        return call.output if name is None or not is_floating(call.output) else start(name, call.output)

    return tap


def _seen(
    r: _Record,
    cut: bool,
    calls: dict[str, int],
    gradient: Any,
    ways: Mapping[str, tuple[Layout, ...]],
    backend: KerasBackend,
) -> Seen:
    path, _, number = r.key.partition("#")
    name = path if int(number) == calls[path] - 1 else r.key
    return Seen(
        name=name,
        kind=type(r.layer).__name__,
        shape=r.shape,
        received=r.received,
        composite=bool(backend.view.children(r.layer)),
        same=r.same,
        cut=cut,
        gradient=None if gradient is None else numpy_of(gradient[0]),
        ways=ways.get(name, ()),
    )
