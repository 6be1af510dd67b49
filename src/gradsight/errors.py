"""The tree of errors. One text serves Python, the command line and the web page.

Every message says the argument, the rule, what was received, and the way out.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import cast

from gradsight.foreign import Array

_COLOURS = {1: "", 3: "array[..., ::-1]", 4: "array[..., [2, 1, 0, 3]]"}
"""How to exchange red and blue, by the number of channels: OpenCV has blue, green, red."""

_BRACKETS: dict[object, tuple[str, str]] = {
    dict.__repr__: ("{", "}"),
    OrderedDict.__repr__: ("OrderedDict({", "})"),
    list.__repr__: ("[", "]"),
    tuple.__repr__: ("(", ")"),
    set.__repr__: ("{", "}"),
    frozenset.__repr__: ("frozenset({", "})"),
    deque.__repr__: ("deque([", "])"),
}
"""What the texts of Python's own containers begin and end with."""

_LONGEST = 2000
"""A message shows at most so many characters of one value."""

_MESSAGE = 1400
"""A message has at most so many characters."""

_NAME = 200
"""A message shows at most so many characters of a name that does not exist."""

_MOST = 5
"""How many names are offered that hold the one that was typed."""

_LEAST_SIDE = 5
"""An axis of at least so many pixels is taken for a side of a picture, not for its channels."""


class GradsightError(Exception):
    """Root of every error that gradsight raises on purpose.

    Its text may hold names from files, so control characters in it are escaped.
    """

    def __str__(self) -> str:
        text = Exception.__str__(self)
        if len(text) > _MESSAGE:  # a name in it is endless; what is wrong comes first, and the way out last
            text = f"{text[: _MESSAGE * 2 // 3]} ... {text[-_MESSAGE // 3 :]}"
        return "\n".join(map(printable, text.split("\n")))


class InvalidArgument(GradsightError, ValueError):
    """An argument has the right type and a value that breaks a rule."""


class InvalidType(GradsightError, TypeError):
    """An argument has a type that cannot be used."""


class UnknownName(GradsightError, KeyError):
    """A layer, class, method, model, colour map ... of that name does not exist.

    A KeyError, so that registries are proper mappings; its text is shown without KeyError's quotes.
    """


class ImageError(GradsightError, ValueError):
    """A file or an array cannot be read as a picture."""


class ModelError(GradsightError, RuntimeError):
    """The model failed, or cannot be explained in the way that was asked for."""


class MissingDependency(GradsightError, ImportError):
    """A package that the request needs is not installed or does not work."""


def received(value: object, limit: int = 80) -> str:
    """Describe a value for the end of a message, as in ``Received: 'x' (str)``.

    Arrays are described by their shape and dtype. Long values are cut at ``limit`` characters, and no more of them than
    that is looked at: the value may be a file's, and what it holds nested without end.
    """
    kind = type(value).__name__
    try:
        return f"Received: {kind} of shape {_cut(str(tuple(cast(Array, value).shape)), limit)}, dtype {_dtype(value)}."
    except Exception:  # no array; or an object of the user's that fails whatever it is asked
        return f"Received: {_cut(_shown(value, 4 * limit), limit)} ({kind})."


def cause(error: BaseException) -> BaseException | None:
    """What an error is raised ``from`` within a ``@contextmanager``.

    One of ours is a RuntimeError, and contextlib takes a RuntimeError whose cause is a StopIteration for its own doing.
    """
    return None if isinstance(error, StopIteration) else error


def one_line(error: BaseException, limit: int = 300) -> str:
    """The text of another library's exception on one line, without a final stop, cut at ``limit``; else its type.

    What cannot be printed is escaped: libraries repeat bytes of the file that they fail on.
    """
    try:
        text = _on_one_line(str(error)[: 4 * limit]).rstrip(".")
    except Exception:  # of the user's own class
        text = ""
    return _cut(text, limit) or type(error).__name__


def _dtype(value: Array) -> str:
    try:
        return _cut(str(value.dtype), 20)
    except Exception:
        return "?"


def _shown(value: object, enough: int) -> str:
    """The beginning of a value's text on one line, of which about ``enough`` characters are made and no more."""
    pieces, length = [], 0
    for piece in _pieces(value):
        pieces.append(piece)
        length += len(piece)
        if length > enough:
            break
    return _on_one_line("".join(pieces))


def _pieces(value: object) -> Iterator[str]:
    """The text of a value bit by bit. A nested value gives its opening bracket before its items are read."""
    kind = type(value)
    # A container that shows itself in a way of its own is left to its own text.
    opening, closing = _BRACKETS.get(kind.__repr__, ("", ""))
    if opening and (value or kind in (list, tuple, dict)):
        yield opening
        yield from _items(cast(Collection[object], value))
        yield ",)" if closing == ")" and len(cast(Collection[object], value)) == 1 else closing
    elif isinstance(value, str | bytes | bytearray) and kind in (str, bytes, bytearray):
        yield repr(value[:_LONGEST])
    else:
        try:
            yield repr(value)[:_LONGEST]
        except Exception:  # a number of 5,000 digits, or an object of the user's
            yield f"<a value of {kind.__name__} that cannot be shown>"


def _items(values: Collection[object]) -> Iterator[str]:
    """The text within the brackets of a container."""
    # A subclass of dict may list other items than those that it shows.
    pairs = dict.items(values) if isinstance(values, dict) else None
    for number, item in enumerate(values if pairs is None else pairs):
        yield ", " if number else ""
        if pairs is not None:
            key, item = cast(tuple[object, object], item)
            yield from _pieces(key)
            yield ": "
        yield from _pieces(item)


def _on_one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def printable(text: str) -> str:
    """A text with its control and bidirectional characters written out, which a terminal would obey or hide."""
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else ascii(x)[1:-1] for x in text)


def unknown(kind: str, name: object, choices: Iterable[str], way_out: str = "") -> UnknownName:
    """Build the error for a name that does not exist, with the nearest names or all of the choices.

    Args:
        kind: what was looked for, such as ``"method"``.
        name: the name as received.
        choices: every name that exists.
        way_out: a last sentence, such as the command that lists the choices.
    """
    names = list(choices)
    lowered = {choice.lower(): choice for choice in names}
    shown = _cut(_shown(name, 4 * _NAME), _NAME)
    near = _near(str(name)[:_NAME].lower(), lowered)
    if near:
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(names) <= 20:
        hint = f"Choose from: {', '.join(names) or '(none)'}."
    else:
        hint = f"There are {len(names)}, such as {', '.join(repr(n) for n in names[:3])}."
    return UnknownName(" ".join(filter(None, [f"There is no {kind} {shown}.", hint, way_out])))


def _near(name: str, lowered: Mapping[str, str]) -> list[str]:
    """The names that may be meant: those that hold this one as a word, and else those that look like it.

    Args:
        name: what was typed, in lower case.
        lowered: all names, by themselves in lower case.
    """
    # "cat" looks like "cap" and "bat", and a person who types it means "tiger cat".
    word = re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])")
    holding = [low for low in lowered if name and word.search(low)]
    if holding:
        # In English the last word is what it is: a tiger cat is a cat, a cat bear is none.
        return [lowered[low] for low in sorted(holding, key=lambda low: not low.endswith(name))][:_MOST]
    return [lowered[n] for n in difflib.get_close_matches(name, lowered, n=3, cutoff=0.5)]


def as_photos(inputs: Iterable[object]) -> str:
    """What to do with arrays that were given as a batch and are pictures, height first and colours last.

    Args:
        inputs: arrays or tensors; anything else among them does not count.

    Returns:
        Sentences for the end of a message, the first of them after a space; empty where none looks like a picture.
    """
    for array in inputs:
        try:
            shape, kind = tuple(getattr(array, "shape", ())), str(getattr(array, "dtype", ""))
        except Exception:  # an object that fails whatever it is asked
            continue
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
