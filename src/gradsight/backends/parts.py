"""Where in a layer's output a tensor is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any

Part = tuple[int, str]
"""Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""


def path_to(leaf: Any, tree: Any) -> str | None:
    """Where a leaf of an output is, as Python writes it: ``[0]``, ``['logits']``, ``.features``; None if nowhere."""
    if tree is leaf:
        return ""
    found = ((step, path_to(leaf, value)) for step, value in _steps(tree))
    return next((step + rest for step, rest in found if rest is not None), None)


def _steps(tree: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        return [(f"[{key!r}]", value) for key, value in tree.items()]
    if isinstance(tree, list | tuple):
        names = [f".{name}" for name in getattr(tree, "_fields", ())] or [f"[{i}]" for i in range(len(tree))]
        return zip(names, tree, strict=True)
    return [(f".{name}", value) for name, value in vars(tree).items()] if is_dataclass(tree) else ()
