"""From options to what does the work."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import gradsight as gs
from gradsight.cli.options import AxesOptions, FileOptions, LookOptions, ModelOptions, PictureOptions
from gradsight.cli.output import Form

if TYPE_CHECKING:
    from gradsight.registry import Method

_SAME_RESULT = {"batch_size", "device", "opened", "preview"}
"""Options that change how long it takes and what is shown, and not what comes out."""


def loaded(model: ModelOptions, picture: PictureOptions) -> gs.Model:
    """The model that is asked for.

    Raises:
        GradsightError: there is none, or it cannot be loaded so.
    """
    made = gs.load_model(model.model, **model.loading(), **picture.loading())
    if not gc.isenabled():  # a process of our own: see `process.main`
        gc.freeze()  # what is there by now stays, and need not be looked through any more
        gc.enable()
    return made


def explainer_of(model: ModelOptions, picture: PictureOptions, **more: Any) -> gs.Explainer:
    """The explainer of the model that is asked for; ``more`` are keyword arguments of `Explainer`."""
    known = loaded(model, picture)
    # What the model says itself is not said again: it would no longer be the one that its spec loads.
    settings = {name: value for name, value in model.settings().items() if getattr(known, name, None) != value}
    return gs.Explainer(known, **settings, **more)  # type: ignore[arg-type]  # they are named as its arguments are


class Writing(TypedDict):
    """Keyword arguments of `gradsight.caption` and `gradsight.ask` that are not about the photo."""

    name: str
    batch_size: int
    layer: list[str] | None
    method: list[Method]
    layout: str | None
    grid: tuple[int, ...] | None


def writing(model: ModelOptions, look: LookOptions, axes: AxesOptions) -> Writing:
    """Keyword arguments of `gradsight.caption` and `gradsight.ask` that are not about the photo."""
    return {
        "name": model.model,
        "batch_size": model.settings()["batch_size"],
        **axes.axes(),
        "layer": look.layers(),
        "method": look.methods(),
    }


def form_of(files: FileOptions) -> Form:
    """The form of the pictures that are written.

    Raises:
        InvalidArgument: see `FileOptions.suffix`.
    """
    return Form(files.suffix(), files.quality, files.max_side)


def asked(*groups: object, **own: object) -> Mapping[str, Any]:
    """What was asked for, as plain values by the names of options.

    Args:
        *groups: options, of which those count that are not at their defaults, and always the model.
        **own: options of the command itself, of which those count that were given.
    """
    found: dict[str, Any] = {}
    for group in groups:
        for field in fields(group):  # type: ignore[arg-type]
            value = getattr(group, field.name)
            # The model is told where it is the default too: another release may have another.
            if field.name == "model" or (value != field.default and field.name not in _SAME_RESULT):
                # A keyword of Python cannot name a field: --class is `class_`. Paths become texts for JSON.
                found[field.name.rstrip("_")] = str(value) if isinstance(value, Path) else value
    return found | {name: value for name, value in own.items() if value}
