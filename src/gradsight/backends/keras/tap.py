"""Running a view with its layers tapped."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import keras

from gradsight.backends.keras.engines.protocol import Start
from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.backends.keras.trees import filled, flat
from gradsight.backends.parts import path_to
from gradsight.backends.wanted import Wanted
from gradsight.contracts import Part
from gradsight.foreign import Array, Inputs, Module, Outputs

Arguments: TypeAlias = tuple[tuple[Inputs, ...], dict[str, Inputs]]
"""What a layer is called with: by position and by name."""


@dataclass
class Within:
    """What ran directly within a call.

    Attributes:
        looped: a layer ran in a loop of the engine, where no tap sees it.
        ran: by layer, how often it was heard.
        axes: of the outputs that were heard, the most axes.
    """

    looped: bool = False
    ran: Counter[int] = field(default_factory=Counter)
    axes: int = 0

    def hear(self, layer: Module, axes: int) -> None:
        """Note a call."""
        self.ran[id(layer)] += 1
        self.axes = max(self.axes, axes)


@dataclass(frozen=True)
class Call:
    """One call of a copied layer.

    Attributes:
        layer: the layer.
        function: what it does to its arguments, unseen by any tap.
        arguments: positional.
        keywords: by name.
        result: all that it gave.
        output: the tensor in it that could be a map.
        within: what ran in it.
        began: how many calls had ended when it began.
    """

    layer: Module
    function: Callable[..., Outputs]
    arguments: tuple[Inputs, ...]
    keywords: dict[str, Inputs]
    result: Outputs
    output: Array
    within: Within
    began: int

    @property
    def path(self) -> str | None:
        """The layer's name in its view; None for the model itself."""
        return path_of(self.layer)

    @property
    def tensors(self) -> list[Array]:
        """The tensors among the arguments."""
        return tensors_in([self.arguments, self.keywords])

    @property
    def is_one(self) -> bool:
        """Whether the layer counts as one: no other ran in it, or one ran step by step, with fewer axes at a time."""
        again = max(self.within.ran.values(), default=0) > 1
        steps = self.within.looped or (again and self.within.axes < self.output.ndim)
        return steps or not self.within.ran


class Tap(ABC):
    """Sees what layers give, and says what the rest of the model goes on with.

    It is told of no call within a loop, or within whatever else an engine traces by itself: nothing in there can be a
    leaf.

    Attributes:
        looped: the layers that ran within a loop; None is the model itself.
    """

    def __init__(self) -> None:
        self.looped: set[str | None] = set()

    @abstractmethod
    def __call__(self, call: Call) -> Array:
        """What the model goes on with in the place of a call's output."""

    def before(self, arguments: Arguments) -> Arguments:
        """What a tap is told of a call's arguments: they themselves, which the layer may write into."""
        return arguments

    def inside(self, layer: Module) -> None:
        """Note a layer that runs within a loop."""
        self.looped.add(path_of(layer))


_running = threading.local()


def listening(layer: Module, function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """The ``call`` of a copied layer that shows its output to the tap of this thread, if there is one."""

    def heard(*arguments: Inputs, **keywords: Inputs) -> Outputs:
        tap: Tap | None = getattr(_running, "tap", None)
        if tap is None:
            return function(*arguments, **keywords)
        outer = _running.within
        if _running.level() != _running.home:
            # The engine traces a step of a loop by itself: what is given here is of one step, and may not leave it.
            outer.looped = True
            tap.inside(layer)
            return function(*arguments, **keywords)
        positional, named = tap.before((arguments, keywords))
        # Calls end from the inside out, so that what ran within this one is known once it has ended.
        within, began = Within(), _running.ended
        _running.within = within
        try:
            result = function(*arguments, **keywords)
        finally:
            _running.within = outer
        _running.ended += 1
        values = flat(result)
        outer.hear(layer, max((x.ndim for x in values if keras.ops.is_tensor(x)), default=0))
        main = main_of(values)
        if main is None:
            return result
        values[main] = tap(Call(layer, function, positional, named, result, values[main], within, began))
        return filled(result, values)

    return heard


def main_of(values: list[Array]) -> int | None:
    """Which tensor of a layer's output is the map: the only one, or the first that could hold positions."""
    return next(iter(maps_in(values)), None)


def maps_in(values: list[Array]) -> list[int]:
    """Which tensors of a layer's output could be the map."""
    tensors = [i for i, value in enumerate(values) if keras.ops.is_tensor(value)]
    return tensors if len(values) == 1 else [i for i in tensors if is_floating(values[i]) and values[i].ndim >= 3]


@contextlib.contextmanager
def tapped(tap: Tap | None, level: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let ``tap`` see, and replace, what layers give in this thread.

    Args:
        tap: sees it.
        level: tells what the engine traces at the moment; it changes within a loop.
    """
    # Put back whole: a trial of a layer, untapped, may run in the middle of a pass that is tapped.
    before = dict(vars(_running))
    vars(_running).update(tap=tap, level=level, home=level(), within=Within(), ended=0)
    try:
        yield
    finally:
        vars(_running).clear()
        vars(_running).update(before)


class Numbered:
    """Counts the calls of each layer.

    Attributes:
        calls: by layer, how often it ran.
    """

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def name(self, call: Call) -> str | None:
        """A name for this very call, ``path#i``; None for the model itself."""
        path = call.path
        if path is None:
            return None
        self.calls[path] = self.calls.get(path, 0) + 1
        return f"{path}#{self.calls[path] - 1}"


class LeafTap(Tap):
    """A tap that makes layers' outputs leaves, where differentiation starts.

    Attributes:
        calls: by layer, how often it ran.
        reached: the names of the layers that became leaves.
        parts: by layer, where it gives several tensors that could be maps: how many, and where it is in its output.
    """

    def __init__(self, names: Iterable[str], known_calls: Mapping[str, int], start: Start) -> None:
        """Start at the named calls of layers, see `Wanted`."""
        super().__init__()
        self._wanted = Wanted(names, known_calls)
        self.calls = self._wanted.calls
        self._start = start
        self.reached: set[str] = set()
        self.parts: dict[str, Part] = {}

    def __call__(self, call: Call) -> Array:
        """Start at a call's output if it is wanted."""
        name = self._wanted.called(call.path)
        if name is None:
            return call.output
        self.reached.add(name)
        several = len(maps_in(flat(call.result)))
        if several > 1:
            self.parts[name.partition("#")[0]] = several, path_to(call.output, call.result) or ""
        return self._start(name, call.output)


def path_of(layer: Module) -> str | None:
    """The name of a copied layer in its view; None for the model itself."""
    path: str | None = vars(layer).get("_gradsight_path")
    return path
