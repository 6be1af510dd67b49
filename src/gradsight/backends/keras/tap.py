"""Running a view with its layers tapped."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from gradsight.backends.keras.outputs import is_floating, tensors_in
from gradsight.backends.keras.trees import filled, leaves
from gradsight.backends.parts import Part, path_to


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

    def hear(self, layer: Any, axes: int) -> None:
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

    layer: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    result: Any
    output: Any
    within: Within
    began: int

    @property
    def path(self) -> str | None:
        """The layer's name in its view; None for the model itself."""
        return path_of(self.layer)

    @property
    def tensors(self) -> list[Any]:
        """The tensors among the arguments."""
        return tensors_in([self.arguments, self.keywords])

    @property
    def is_one(self) -> bool:
        """Whether the layer counts as one: no other ran in it, or one ran step by step, with fewer axes at a time."""
        again = max(self.within.ran.values(), default=0) > 1
        steps = self.within.looped or (again and self.within.axes < self.output.ndim)
        return steps or not self.within.ran


Tap = Callable[[Call], Any]
"""``call -> output``: what the rest of the model goes on with, in the place of the call's own.

It is told of no call within a loop, or within whatever else an engine traces by itself: nothing in there can be held.
A tap may have a ``before``, from a call's arguments to those that it is told of: a layer may write into its own; and an
``inside``, which is told of the layers that run within a loop.
"""

Start = Callable[[str, Any], Any]
"""``(name, output) -> output``: makes an output a start of differentiation."""

_running = threading.local()


def listening(layer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The ``call`` of a copied layer that shows its output to the tap of this thread, if there is one."""

    def heard(*arguments: Any, **keywords: Any) -> Any:
        tap: Tap | None = getattr(_running, "tap", None)
        if tap is None:
            return function(*arguments, **keywords)
        outer = _running.within
        if _running.place() != _running.home:
            outer.looped = True
            if hasattr(tap, "inside"):
                tap.inside(layer)
            return function(*arguments, **keywords)
        given = arguments, keywords
        told = tap.before(given) if hasattr(tap, "before") else given
        within, began = Within(), _running.ended
        _running.within = within
        try:
            result = function(*arguments, **keywords)
        finally:
            _running.within = outer
        _running.ended += 1
        found = leaves(result)
        outer.hear(layer, max((x.ndim for x in found if keras.ops.is_tensor(x)), default=0))
        main = main_of(found)
        if main is None:
            return result
        found[main] = tap(Call(layer, function, told[0], told[1], result, found[main], within, began))
        return filled(result, found)

    return heard


def main_of(found: list[Any]) -> int | None:
    """Which tensor of a layer's output is the map: the only one, or the first that could hold positions."""
    return next(iter(maps_in(found)), None)


def maps_in(found: list[Any]) -> list[int]:
    """Which tensors of a layer's output could be the map."""
    tensors = [i for i, leaf in enumerate(found) if keras.ops.is_tensor(leaf)]
    return tensors if len(found) == 1 else [i for i in tensors if is_floating(found[i]) and found[i].ndim >= 3]


@contextlib.contextmanager
def tapped(tap: Tap | None, place: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Let ``tap`` see, and replace, what layers give in this thread.

    Args:
        tap: sees it.
        place: tells what the engine traces at the moment; it changes within a loop.
    """
    before = dict(vars(_running))
    vars(_running).update(tap=tap, place=place, home=place(), within=Within(), ended=0)
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


class Shown:
    """A tap that keeps what each call gave.

    Attributes:
        outputs: by call, ``path#0`` the first of a layer.
    """

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self._numbered = Numbered()

    def __call__(self, call: Call) -> Any:
        """Keep what a call gave."""
        name = self._numbered.name(call)
        if name is not None:
            self.outputs[name] = keras.ops.copy(call.output)  # what follows may write into it
        return call.output


class Holder:
    """A tap that makes layers' outputs the start of differentiation.

    Attributes:
        calls: by layer, how often it ran.
        reached: the names of the layers that were held.
        parts: by layer, where it gives several tensors that could be maps: how many, and where it is in its output.
        looped: the layers that ran within a loop.
    """

    def __init__(self, names: Iterable[str], known_calls: dict[str, int], start: Start) -> None:
        """Start at each named layer's last call, or at call i for a name that ends in ``#i``.

        Without ``known_calls`` every call is taken until the next.
        """
        self._wanted: dict[str, dict[int | None, str]] = {}
        for name in names:
            path, _, call = name.partition("#")
            last = known_calls[path] - 1 if path in known_calls else None
            self._wanted.setdefault(path, {})[int(call) if call.isdigit() else last] = name
        self._start = start
        self.calls = dict.fromkeys(self._wanted, 0)
        self.reached: set[str] = set()
        self.parts: dict[str, Part] = {}
        self.looped: set[str | None] = set()

    def inside(self, layer: Any) -> None:
        """Note a layer that runs within a loop."""
        self.looped.add(path_of(layer))

    def __call__(self, call: Call) -> Any:
        """Start at a call's output if it is wanted."""
        path = call.path
        if path not in self._wanted:
            return call.output
        number = self.calls[path]
        self.calls[path] += 1
        name = self._wanted[path].get(number, self._wanted[path].get(None))
        if name is None:
            return call.output
        self.reached.add(name)
        several = len(maps_in(leaves(call.result)))
        if several > 1:
            self.parts[path] = several, path_to(call.output, call.result) or ""
        return self._start(name, call.output)


def path_of(layer: Any) -> str | None:
    """The name of a copied layer in its view; None for the model itself."""
    path: str | None = vars(layer).get("_gradsight_path")
    return path
