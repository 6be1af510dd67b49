"""Modules that say what their classes are called, and objects that people pass around a module in its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gradsight.foreign import Module
from gradsight.imaging import Preprocess
from gradsight.models.model import Model
from gradsight.values import has

_GREY = 114 / 255
"""Of the border that YOLO is trained with."""


def opened(model: Module) -> Model | Module:
    """A module with the class names that it knows, as a `Model`; what knows none comes back as it is.

    Known are modules with ``names``, a dict of index to name, and objects with such a module as ``model`` that cannot
    be run as a module themselves: ``YOLO(...)`` of ultralytics, whose call reads files and draws. Photos are then made
    as it makes them, but for the border, which is the square's.

    Args:
        model: whatever a user passes.
    """
    inner = _inside(model)
    names = _names(model if inner is None else inner)
    if inner is not None:
        return Model(inner, _preprocess(model), names)
    return model if names is None else Model(model, labels=names)


def _inside(model: Module) -> Any:
    """The module inside of an object that cannot be run itself; None where there is no such module."""
    torch = sys.modules.get("torch")
    if torch is None or not has(model, "names"):
        return None
    module = torch.nn.Module
    # YOLO is a torch module in newer versions, without a `forward` of its own.
    runs = isinstance(model, module) and type(model).forward is not module.forward
    inner = None if runs or isinstance(model, Model) else getattr(model, "model", None)
    return inner if isinstance(inner, module) else None


def _names(model: Module) -> dict[int, str] | None:
    names = getattr(model, "names", None) if not isinstance(model, Model) and has(model, "names") else None
    if not isinstance(names, Mapping) or not names or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        return None
    return dict(names) if all(isinstance(name, str) for name in names.values()) else None


def _preprocess(model: Module) -> Preprocess:
    """As ``predict`` does it, with the size that it takes where nothing else is said."""
    size = dict(getattr(model, "overrides", None) or {}).get("imgsz", 640)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    plain: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if getattr(model, "task", "") == "classify":
        return Preprocess((height, width), fit="crop", **plain)
    return Preprocess((height, width), fit="letterbox", fill=_GREY, **plain)
