"""What every call of every layer gives, one image after the other, by one pass that is compiled for all who ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np

from gradsight.backends.keras.engines.protocol import Engine, Start
from gradsight.backends.keras.outputs import is_floating
from gradsight.backends.keras.tap import Call, Numbered, Tap, path_of
from gradsight.backends.keras.trees import mapped
from gradsight.foreign import Array, Inputs, Module, Outputs

if TYPE_CHECKING:
    from gradsight.backends.keras.running import Running


@dataclass(frozen=True)
class Record:
    """One call of a layer.

    Attributes:
        key: the call, ``path#0`` the first of a layer.
        layer: the layer.
        shape: of its output.
        received: the shape of the first tensor that it took; None where it took none.
        same: it handed its argument through.
        floating: its output holds floating-point numbers.
        looped: it ran within a loop too, where no tap sees it.
    """

    key: str
    layer: Module
    shape: tuple[int, ...]
    received: tuple[int, ...] | None
    same: bool
    floating: bool
    looped: bool = False


class Watched(NamedTuple):
    """One pass.

    Attributes:
        outputs: what the model gave.
        values: by call, its output.
        records: the calls in the order in which they ended.
    """

    outputs: Outputs
    values: dict[str, Array]
    records: list[Record]


def watched(running: Running, engine: Engine, several: Sequence[Inputs]) -> Iterator[Watched]:
    """Run inputs of one kind one after the other, and see what each call of layers gave.

    Args:
        running: of the model.
        engine: runs it.
        several: the inputs.
    """
    running.find_end(several[0])

    def body(inputs: Inputs, _start: Start) -> list[Outputs]:
        tap = _Watching()
        outputs = running.execute(inputs, tap)
        # Shapes are outputs: within a trace a side may be a symbol, whose number is known when it runs. The rest is no
        # tensor, and is kept as it was when this was traced.
        return [outputs, tap.values, [r.shape for r in tap.records], _Told(tap.records, tap.looped)]

    for outputs, values, shapes, told in engine.each("watched", body, several):
        records = [
            replace(r, shape=tuple(int(side) for side in shape), looped=path_of(r.layer) in told.looped)
            for r, shape in zip(told.records, shapes, strict=True)
        ]
        yield Watched(mapped(_tensor, outputs), values, records)


@dataclass(frozen=True, eq=False)
class _Told:
    """What was told of the calls when the pass was traced, without any tensor: those of a trace must not leave it."""

    records: list[Record]
    looped: set[str | None]


class _Watching(Tap):
    """A tap that describes and keeps what each call gave.

    Attributes:
        records: one for each call.
        values: by call, its output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.values: dict[str, Array] = {}
        self._numbered = Numbered()

    def __call__(self, call: Call) -> Array:
        """Describe and keep what a call gave."""
        name = self._numbered.name(call)
        if name is not None:
            received = tuple(call.tensors[0].shape) if call.tensors else None
            same = any(call.output is x for x in call.tensors)
            shape = tuple(keras.ops.shape(call.output))
            self.records.append(Record(name, call.layer, shape, received, same, is_floating(call.output)))
            self.values[name] = keras.ops.copy(call.output)  # what follows may write into it
        return call.output


def _tensor(value: object) -> object:
    """What an engine gave in NumPy as a tensor again."""
    return keras.ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value
