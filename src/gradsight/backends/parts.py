"""Where in a layer's output a tensor is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass

from gradsight.foreign import Array, Outputs


def path_to(value: Array, outputs: Outputs) -> str | None:
    """Where a tensor of an output is, as Python writes it: ``[0]``, ``['logits']``, ``.features``; None if nowhere."""
    if outputs is value:
        return ""
    paths = ((step, path_to(value, inside)) for step, inside in _steps(outputs))
    return next((step + rest for step, rest in paths if rest is not None), None)


def _steps(outputs: Outputs) -> Iterable[tuple[str, Outputs]]:
    if isinstance(outputs, Mapping):
        return [(f"[{key!r}]", value) for key, value in outputs.items()]
    if isinstance(outputs, list | tuple):
        names = [f".{name}" for name in getattr(outputs, "_fields", ())] or [f"[{i}]" for i in range(len(outputs))]
        return zip(names, outputs, strict=True)
    return [(f".{name}", value) for name, value in vars(outputs).items()] if is_dataclass(outputs) else ()
