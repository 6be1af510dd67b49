"""What values the options of a method take: rules that stand beside the options, as data.

``strength: Annotated[float, Number(0, 10)] = 0.6`` declares one; every call of a method or variant is held to it.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from gradsight.errors import InvalidArgument, received, unknown

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Whole:
    """A whole number, within bounds that belong to it."""

    least: int | None = None
    most: int | None = None

    @property
    def rule(self) -> str:
        """In words."""
        return f"a whole number{_bounds(self.least, self.most)}"

    def read(self, value: Any) -> int | None:
        """The number, or None if it breaks the rule."""
        fits = isinstance(value, Integral) and not isinstance(value, bool) and _within(value, self.least, self.most)
        return int(value) if fits else None


@dataclass(frozen=True)
class Number:
    """A finite number, within bounds that belong to it; ``above`` is a lower bound that does not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None

    @property
    def rule(self) -> str:
        """In words."""
        if self.above is None:
            return f"a number{_bounds(self.least, self.most)}"
        return f"a number above {self.above:g}" + ("" if self.most is None else f" and at most {self.most:g}")

    def read(self, value: Any) -> float | None:
        """The number, or None if it breaks the rule."""
        if not isinstance(value, Real) or isinstance(value, bool) or not _within(value, self.least, self.most):
            return None
        number = value if isinstance(value, int) else float(value)
        return number if self.above is None or number > self.above else None


@dataclass(frozen=True)
class Choice:
    """One of several words; ``kind`` is what they are, such as ``"kernel"``."""

    words: tuple[str, ...]
    kind: str

    @property
    def rule(self) -> str:
        """In words."""
        return f"one of {', '.join(map(repr, self.words))}"

    def read(self, value: Any) -> str | None:
        """The word, or None if it breaks the rule."""
        return value if isinstance(value, str) and value in self.words else None


Rule = Whole | Number | Choice
_OF_TYPES: dict[Any, Rule] = {int: Whole(), float: Number()}


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:.12g} to {most:.12g}"
    if most is None:
        return "" if least is None else f" of at least {least:.12g}"
    return f" of at most {most:.12g}"


def _within(value: Any, least: float | None, most: float | None) -> bool:
    """Whether a number is finite, also as float, and within its bounds."""
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = isinstance(value, Integral)
    return finite and (least is None or value >= least) and (most is None or value <= most)


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The options of a method or variant, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def rules_of(function: Callable[..., Any]) -> dict[str, Rule]:
    """The rules of a method's or variant's options; an ``int`` or ``float`` without one is any finite number."""
    try:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, TypeError):  # a function of a user's, with annotations for readers only
        return {}
    found = {name: _rule(hints[name]) for name in options_of(function) if name in hints}
    return {name: rule for name, rule in found.items() if rule is not None}


def _rule(hint: Any) -> Rule | None:
    """The rule in an annotation, in ``Annotated[T, rule]`` or ``Annotated[T, rule] | None``."""
    if get_origin(hint) is Annotated:
        return next((x for x in hint.__metadata__ if isinstance(x, Rule)), None)
    within = [part for part in get_args(hint) if part is not type(None)]
    return _rule(within[0]) if len(within) == 1 else _OF_TYPES.get(hint)


def read_options(name: str, function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options of a method or variant as plain numbers and words.

    Raises:
        UnknownName: it has no option of that name, or an option no such word.
        InvalidArgument: a value breaks its option's rule.
    """
    defaults = options_of(function)
    rules = _rules(inspect.unwrap(function))
    read = {}
    for option, value in options.items():
        if option not in defaults:
            raise unknown(f"option of {name}", option, defaults)
        optional = value is None and defaults[option] is None
        rule = None if optional else rules.get(option)
        read[option] = value if rule is None else _read(option, value, rule, defaults[option])
    return read


_rules = functools.cache(rules_of)


def _read(option: str, value: Any, rule: Rule, default: Any) -> Any:
    found = rule.read(value)
    if found is not None:
        return found
    if isinstance(rule, Choice) and isinstance(value, str):
        raise unknown(rule.kind, value, rule.words)
    way_out = "Leave it out" if default is None else f"Pass {option}={default!r}, the default"
    raise InvalidArgument(f"`{option}` must be {rule.rule}. {received(value)} {way_out}.")


def checked(function: Function) -> Function:
    """The same method or variant, which holds its options to their rules in every call."""
    if not options_of(function):
        return function

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **read_options(function.__name__, function, options))

    return call  # type: ignore[return-value]
