"""What a model's layers held when they were copied, and whether they still do."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterable, Iterator, ValuesView
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.snapshot import Snapshot
from gradsight.foreign import Module

GRAPH = ("_inbound_nodes", "_outbound_nodes")
"""Where a layer keeps how it is connected: nodes of all models that it is in."""

# What calling, compiling and fitting leave on a model, and no forward pass reads.
UNREAD = {
    *GRAPH,
    *("_called", "_compile_config", "_compile_loss", "_compile_metrics", "_compiled_trainable_state"),
    *("_eval_epoch_iterator", "_jax_state", "_jit_compile", "_loss_tracker", "compiled", "history", "loss"),
    *("optimizer", "predict_function", "test_function", "train_function"),
    *("_torch_params", "stop_evaluating", "stop_predicting", "stop_training", "training"),
    *("_self_unconditional_checkpoint_dependencies", "_self_unconditional_dependency_names"),
}


class State:
    """What layers held: their attributes, and what was in those that can be filled, however deep.

    Attributes are told by identity, and arrays by their numbers: a pass that is traced keeps those of the day.
    """

    def __init__(self, layers: Iterable[Module]) -> None:
        """Remember what layers, and nodes of graphs, hold now."""
        self._inside = _Numbers()
        spaces: list[dict[str, object]] = [layer.__dict__ for layer in layers]
        # Where a layer is a module of PyTorch, those inside are attributes in a dict of their own, and evaluating the
        # model puts a new list of its parameters there each time.
        modules = [inside for space in spaces if isinstance(inside := space.get("_modules"), dict)]
        self._inside.leave_out(map(id, modules))
        self._spaces = [*spaces, *modules]
        self._attributes = [_Attributes(space) for space in self._spaces]
        self._keep()
        for attributes in self._attributes:
            for value in attributes.read.values():
                self._inside.look_into(value)

    def holds(self) -> bool:
        """Whether nothing has changed; this runs before every pass."""
        # Mostly nothing at all has changed, which one look at each value tells, in a loop of Python's own.
        if list(map(len, self._spaces)) != self._sizes or not all(map(operator.is_, self._now(), self._flat)):
            if not all(attributes.hold() for attributes in self._attributes):
                return False
            self._keep()
        return self._inside.holds()

    def _keep(self) -> None:
        """Remember every value of every attribute, those that no pass reads too: a look need not tell them apart."""
        self._sizes, self._flat = list(map(len, self._spaces)), list(self._now())

    def _now(self) -> Iterator[object]:
        return chain.from_iterable(map(_values_of, self._spaces))


class _Attributes:
    """The attributes of one layer, those that no pass reads among them.

    Attributes:
        read: what others were.
    """

    def __init__(self, live: dict[str, object]) -> None:
        self._live = live
        self.read = self._read_now()

    def _read_now(self) -> dict[str, object]:
        return {name: value for name, value in self._live.items() if name not in UNREAD}

    def hold(self) -> bool:
        """Whether all that is read is as it was."""
        now = self._read_now()
        return now.keys() == self.read.keys() and _are_same(tuple(now.values()), tuple(self.read.values()))


class _Numbers(Snapshot):
    """What containers held, and the numbers in NumPy's arrays, which may be changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self._arrays: list[tuple[NDArray[np.generic], bytes]] = []

    def look_into(self, value: object) -> None:
        """Remember what a value holds."""
        super().look_into(value)
        if isinstance(value, np.ndarray):
            self._arrays.append((value, _digest(value)))

    def holds(self) -> bool:
        """Whether every container and every array holds what it held."""
        return super().holds() and all(_digest(array) == then for array, then in self._arrays)


_values_of: Callable[[dict[str, object]], ValuesView[object]] = dict.values


def _are_same(now: tuple[object, ...], then: tuple[object, ...]) -> bool:
    return len(now) == len(then) and all(map(operator.is_, now, then))


def _digest(array: NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(array.tobytes(), digest_size=16).digest()
