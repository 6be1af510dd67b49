"""The tree of errors. One text serves Python, the command line and the web page.

Every message says the argument, the rule, what was received, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


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
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"Received: {kind} of shape {tuple(shape)}, dtype {getattr(value, 'dtype', '?')}."
    text = " ".join(repr(value).split())  # an error is one line, and some values are shown on several
    return f"Received: {text if len(text) <= limit else text[: limit - 3] + '...'} ({kind})."


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
    return UnknownName(" ".join(filter(None, [f"There is no {kind} {name!r}.", hint, way_out])))
