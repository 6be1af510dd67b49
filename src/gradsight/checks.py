"""One way to check an argument against a rule, for calls in Python, the command line and the options of methods.

So there is one form of message::

    `height` must be a whole number of at least 1. Received: 0 (int). Pass 320.

Numbers of NumPy, and arrays of any framework that hold one, are numbers; truth values are not, and neither are NaN and
infinity.
"""

from __future__ import annotations

from typing import TypeVar

from gradsight.errors import received, unknown
from gradsight.rules import Choice, Rule, Whole, tried
from gradsight.values import number_in

_T = TypeVar("_T")


def taken(name: str, value: object, rule: Rule[_T], way_out: str = "") -> _T:
    """An argument in its plain form.

    Args:
        name: the argument's; of the command line its option, ``"--size"``; or words that hold it, "`at` of Token".
        value: as received.
        rule: what it takes.
        way_out: a last sentence, such as ``"Pass 320."``

    Raises:
        InvalidArgument: the value breaks the rule.
        InvalidType: the same, where the rule is one of types.
        UnknownName: it is a word that is not among those of a `Choice`.
    """
    read = tried(rule, value)
    if read is not None:
        return read
    words = next((x for x in (rule, *getattr(rule, "rules", ())) if isinstance(x, Choice)), None)
    if words is not None and type(value) is str:
        raise unknown(words.kind, value, words.words, words.way_out)
    argument = name if "`" in name or name.startswith("-") else f"`{name}`"
    raise rule.error(f"{argument} must be {rule.rule}. {received(number_in(value))} {way_out}".rstrip())


def optional(name: str, value: object, rule: Rule[_T], way_out: str = "") -> _T | None:
    """`taken` for an argument that may be None."""
    return None if value is None else taken(name, value, rule, way_out)


def index(name: str, value: object, count: int) -> int:
    """`taken` for the number of one of ``count`` things, from 0; negative numbers are errors."""
    return taken(name, value, Whole(0, count - 1))
