"""Which calls of which layers are wanted in a pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Wanted:
    """The calls that names of layers mean, counted as layers run.

    Attributes:
        calls: by layer that is wanted, how often it ran.
    """

    def __init__(self, names: Iterable[str], known_calls: Mapping[str, int]) -> None:
        """Want each layer's last call, or call i for a name that ends in ``#i``.

        Which call is the last is known from an earlier pass; without that every call is taken until the next.

        Args:
            names: of layers.
            known_calls: how often layers ran before.
        """
        self._names: dict[str, dict[int | None, str]] = {}
        for name in names:
            layer, _, call = name.partition("#")
            last = known_calls[layer] - 1 if layer in known_calls else None
            self._names.setdefault(layer, {})[int(call) if call.isdigit() else last] = name
        self.calls = dict.fromkeys(self._names, 0)

    def called(self, layer: str | None) -> str | None:
        """Count a call of a layer; the name that means this very call, or None."""
        if layer is None or layer not in self._names:
            return None
        number, names = self.calls[layer], self._names[layer]
        self.calls[layer] = number + 1
        return names.get(number, names.get(None))
