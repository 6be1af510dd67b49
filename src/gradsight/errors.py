"""The tree of errors. One text serves Python, the command line and the web page.

Every message says the argument, the rule, what was received, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

_COLOURS = {1: "", 3: "array[..., ::-1]", 4: "array[..., [2, 1, 0, 3]]"}
"""By the number of a picture's channels, its colours in the other order; OpenCV's are blue, green, red."""

_LEAST_SIDE = 5
"""In pixels, from which on an axis is taken for a side of a picture and not for its channels."""


_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", dict: "{}"}


class GradsightError(Exception):
    """Root of every error that gradsight raises on purpose."""


class InvalidArgument(GradsightError, ValueError):
    """An argument has the right type and a value that breaks a rule."""


class InvalidType(GradsightError, TypeError):
    """An argument has a type that cannot be used."""


class UnknownName(GradsightError, KeyError):
    """A layer, class, method, model, colour map ... of that name does not exist.

    A KeyError, so that registries are proper mappings; its text is shown without KeyError's quotes.
    """

    __str__ = Exception.__str__


class ImageError(GradsightError, ValueError):
    """A file or an array cannot be read as a picture."""


class ModelError(GradsightError, RuntimeError):
    """The model failed, or cannot be explained in the way that was asked for."""


class MissingDependency(GradsightError, ImportError):
    """A package that the request needs is not installed or does not work."""


def received(value: Any, limit: int = 80) -> str:
    """Describe a value for the end of a message, as in ``Received: 'x' (str)``.

    Arrays are described by their shape and dtype, long values are cut at ``limit`` characters.
    """
    kind = type(value).__name__
    try:
        shape = None if isinstance(value, type) else getattr(value, "shape", None)
        if shape is not None:
            return f"Received: {kind} of shape {tuple(shape)}, dtype {getattr(value, 'dtype', '?')}."
    except Exception:  # of an object that only looks like an array
        pass
    text = " ".join(shown(value, limit).split())  # an error is one line, and some values are shown on several
    return f"Received: {text if len(text) <= limit else text[: limit - 3] + '...'} ({kind})."


def shown(value: Any, limit: int = 80, depth: int = 8) -> str:
    """A value as Python shows it, or as much of it as ``limit`` characters need; never an error, and never for long."""
    kind = type(value)
    if kind in _BRACKETS:
        start, stop = tuple(_BRACKETS[kind])
        parts: list[str] = []
        for item in value.items() if kind is dict else value:
            if not depth or sum(map(len, parts)) > limit:
                parts.append("...")
                break
            parts.append(": ".join(shown(x, limit, depth - 1) for x in (item if kind is dict else (item,))))
        comma = "," if kind is tuple and len(parts) == 1 else ""
        return f"{start}{', '.join(parts)}{comma}{stop}" if value or kind is not set else "set()"
    try:
        if kind is int and value.bit_length() > 4 * limit:  # of which Python shows 4,300 digits at most
            return f"a number of {value.bit_length()} bits"
        return repr(value[:limit] if kind in (str, bytes) else value)
    except Exception:
        return "what cannot be shown"


def one_line(error: BaseException, limit: int = 300) -> str:
    """What an exception of a library says, on one line without a final stop, cut at ``limit``; its type if nothing."""
    text = " ".join(str(error).split()).rstrip(".")
    return (text if len(text) <= limit else text[: limit - 3] + "...") or type(error).__name__


def unknown(kind: str, name: Any, choices: Iterable[str], way_out: str = "") -> UnknownName:
    """Build the error for a name that does not exist, with the nearest names or all of the choices.

    Args:
        kind: what was looked for, such as ``"method"``.
        name: the name as received.
        choices: every name that exists.
        way_out: a last sentence, such as the command that lists the choices.
    """
    names = list(choices)
    lowered = {choice.lower(): choice for choice in names}
    near = [lowered[n] for n in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.5)]
    if near:
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(names) <= 20:
        hint = f"Choose from: {', '.join(names) or '(none)'}."
    else:
        hint = f"There are {len(names)}, such as {', '.join(repr(n) for n in names[:3])}."
    return UnknownName(" ".join(filter(None, [f"There is no {kind} {shown(name, 200)}.", hint, way_out])))


def as_photos(inputs: Iterable[Any]) -> str:
    """What to do with arrays that were given as a batch and are pictures, height first and colours last.

    Args:
        inputs: arrays or tensors; anything else among them does not count.

    Returns:
        Sentences for the end of a message, the first of them after a space; empty where none looks like a picture.
    """
    for array in inputs:
        shape, kind = tuple(getattr(array, "shape", ())), str(getattr(array, "dtype", ""))
        made = _picture(shape, kind)
        if made is not None:
            what, array_made, other = made
            opencv = f", or Image.fromarray({other}) where OpenCV read it, as BGR" if other else ""
            floats = "" if "uint8" in kind else ", where array is of uint8 in 0..255"
            several, prepared = "", ""
            if len(shape) == 4:
                several = ", a list of them, each made of one array"
                prepared = " If they are prepared for the model already, move their channels to axis 1."
            return (
                f" If it is {what}, photos go in as PIL images, to an Explainer with a `preprocess`{several}: "
                f"Image.fromarray({array_made}){opencv}{floats}.{prepared}"
            )
    return ""


def _picture(shape: tuple[int, ...], kind: str) -> tuple[str, str, str] | None:
    """What picture an array may be, and how PIL takes it: with its colours as they are, and in the other order."""
    whole = "uint8" in kind
    if len(shape) == 2 and whole and min(shape) >= _LEAST_SIDE:
        return "a grey picture, (height, width)", "array", ""
    rows = shape[-3] if len(shape) >= 3 and shape[-3:-2] != (1,) else _LEAST_SIDE  # its first one may be run alone
    if len(shape) in (3, 4) and shape[-1] in _COLOURS and min(rows, shape[-2]) >= _LEAST_SIDE:
        several = "a batch of pictures, (n, height, width, channels)" if len(shape) == 4 else ""
        grey = "array[..., 0]" if shape[-1] == 1 else "array"
        return several or "a picture, (height, width, channels)", grey, _COLOURS[shape[-1]]
    if len(shape) == 3 and whole and shape[0] in _COLOURS and min(shape[1:]) >= _LEAST_SIDE:
        turned = "array[0]" if shape[0] == 1 else "array.transpose(1, 2, 0)"
        return "a picture, (channels, height, width)", turned, ""
    return None
