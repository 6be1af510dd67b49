"""Running a view with its layers tapped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from gradsight.backends.keras.outputs import is_floating

Tap = Callable[[Any, Any, Any], Any]
"""``(layer, arguments, output) -> output``: what the rest of the model goes on with."""

Start = Callable[[str, Any], Any]
"""``(name, output) -> output``: makes an output a start of differentiation."""

_running = threading.local()


def listening(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """The ``call`` of a copied layer that shows its output to the tap of this thread, if there is one."""

    def heard(*arguments: Any, **keywords: Any) -> Any:
        output = call(*arguments, **keywords)
        tap: Tap | None = getattr(_running, "tap", None)
        if tap is None:
            return output
        leaves = keras.tree.flatten(output)
        main = _main(leaves)
        if main is None:
            return output
        leaves[main] = tap(layer, (*arguments, *keywords.values()), leaves[main])
        return keras.tree.pack_sequence_as(output, leaves)

    return heard


def _main(leaves: list[Any]) -> int | None:
    """Which tensor of a layer's output is the map: the only one, or the first that could hold positions."""
    tensors = [i for i, leaf in enumerate(leaves) if keras.ops.is_tensor(leaf)]
    if len(leaves) == 1:
        return tensors[0] if tensors else None
    return next((i for i in tensors if is_floating(leaves[i]) and leaves[i].ndim >= 3), None)


@contextlib.contextmanager
def tapped(tap: Tap | None) -> Iterator[None]:
    """Let ``tap`` see, and replace, what layers give in this thread."""
    before = getattr(_running, "tap", None)
    _running.tap = tap
    try:
        yield
    finally:
        _running.tap = before


class Holder:
    """A tap that makes layers' outputs the start of differentiation.

    Attributes:
        calls: by layer, how often it ran.
        reached: the names of the layers that were held.
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

    def __call__(self, layer: Any, _arguments: Any, output: Any) -> Any:
        """Start at ``output`` if it is wanted."""
        path = path_of(layer)
        if path not in self._wanted:
            return output
        call = self.calls[path]
        self.calls[path] += 1
        name = self._wanted[path].get(call, self._wanted[path].get(None))
        if name is None:
            return output
        self.reached.add(name)
        return self._start(name, output)


def replacing(path: str, call: int, value: Any) -> Tap:
    """A tap that puts ``value`` in the place of what the given call of a layer gave."""
    count = 0

    def tap(layer: Any, _arguments: Any, output: Any) -> Any:
        nonlocal count
        if path_of(layer) != path:
            return output
        count += 1
        return value if call == count - 1 else output

    return tap


def path_of(layer: Any) -> str | None:
    """The name of a copied layer in its view; None for the model itself."""
    path: str | None = vars(layer).get("_gradsight_path")
    return path
