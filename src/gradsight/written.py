"""How methods and metrics are written with their options, ``"scorecam(top=64)"``; read again, and pickled so."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Protocol, TypeVar

from gradsight.errors import GradsightError, InvalidArgument, received


class Entered(Protocol):
    """What is found by its name again."""

    @property
    def name(self) -> str:
        """What users type."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def source(self) -> str:
        """Where it comes from."""


Entry = TypeVar("Entry", bound=Entered)


def written(name: str, /, *inside: str, **options: object) -> str:
    """A name with what it is applied to, and options.

    >>> written("fuse", "gradcam", by="max")
    "fuse(gradcam, by='max')"
    """
    return f"{name}({', '.join([*inside, *(f'{key}={value!r}' for key, value in options.items())])})"


def read(text: str, argument: str, examples: str, built: Callable[[ast.expr], Entry]) -> Entry:
    """What ``built`` makes of a text that was parsed; nothing of it is run.

    Args:
        text: what was written.
        argument: as what it was passed, for the error.
        examples: what could be passed, for the error.
        built: from an expression to an entry; a `ValueError` says that it is none.

    Raises:
        InvalidArgument: the text cannot be read.
    """
    try:
        return built(ast.parse(text.strip(), mode="eval").body)
    except GradsightError:
        raise
    # What Python cannot parse, in whatever way, is the same mistake to a user.
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise InvalidArgument(
            f"`{argument}` must be a name, or a name with options, such as {examples}. {received(text)}"
        ) from None


def options_in(call: ast.Call, value: Callable[[ast.expr], object] = ast.literal_eval) -> dict[str, object]:
    """The options of a call by name; ``value`` reads each.

    Raises:
        ValueError: an option stands twice, or there is ``**``.
    """
    options = {str(keyword.arg): value(keyword.value) for keyword in call.keywords}
    # A dict keeps one of two options of the same name, and has "None" for **.
    if len(options) < len(call.keywords) or "None" in options:
        raise ValueError
    return options


def by_name(
    find: Callable[[str], Entry],
) -> Callable[[Entry], tuple[Callable[..., Entry], tuple[object, ...]]]:
    """How entries are pickled: the name says all of one that ``find`` finds by it; of another its parts do."""

    def reduced(entry: Entry) -> tuple[Callable[..., Entry], tuple[object, ...]]:
        try:
            known = find(entry.name)
        except GradsightError:
            known = None
        if known is not None and (known.title, known.source) == (entry.title, entry.source):
            return find, (entry.name,)
        return type(entry), tuple(vars(entry).values())

    return reduced
