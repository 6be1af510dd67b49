"""What values the options of a method take: a rule in the annotation of each option.

``strength: Annotated[float, Number(0, 10)] = 0.6`` declares one; every call of a method or variant is held to it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar, get_args, get_origin, get_type_hints

from gradsight.checks import taken
from gradsight.errors import unknown
from gradsight.rules import Choice, Number, Whole

Function = TypeVar("Function", bound=Callable[..., object])


Rule = Whole | Number | Choice
_OF_TYPES: dict[object, Rule] = {int: Whole(), float: Number()}


def options_of(function: Callable[..., object]) -> dict[str, object]:
    """The options of a method or variant, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def rules_of(function: Callable[..., object]) -> dict[str, Rule]:
    """The rules of a method's or variant's options; an ``int`` or ``float`` without one is any finite number."""
    try:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, TypeError):  # a function of a user's, with annotations for readers only
        return {}
    rules = {name: _rule(hints[name]) for name in options_of(function) if name in hints}
    return {name: rule for name, rule in rules.items() if rule is not None}


def _rule(hint: object) -> Rule | None:
    """The rule in an annotation, in ``Annotated[T, rule]`` or ``Annotated[T, rule] | None``."""
    if get_origin(hint) is Annotated:
        return next((x for x in get_args(hint)[1:] if isinstance(x, Rule)), None)
    within = [part for part in get_args(hint) if part is not type(None)]
    return _rule(within[0]) if len(within) == 1 else _OF_TYPES.get(hint)


def read_options(name: str, function: Callable[..., object], options: Mapping[str, object]) -> dict[str, object]:
    """Options of a method or variant as plain numbers and words.

    Raises:
        UnknownName: it has no option of that name, or an option no such word.
        InvalidArgument: a value breaks its option's rule.
    """
    defaults = options_of(function)
    rules = _rules(inspect.unwrap(function))
    read: dict[str, object] = {}
    for option, value in options.items():
        if option not in defaults:
            raise unknown(f"option of {name}", option, defaults)
        # None means "not given" where it is the default, and is a mistake elsewhere.
        optional = value is None and defaults[option] is None
        rule = None if optional else rules.get(option)
        way_out = "Leave it out." if defaults[option] is None else f"Pass {option}={defaults[option]!r}, the default."
        read[option] = value if rule is None else taken(option, value, rule, way_out)
    return read


_rules = functools.cache(rules_of)


def checked(function: Function) -> Function:
    """The same method or variant, with its options checked against their rules in every call."""
    if not options_of(function):
        return function

    @functools.wraps(function)
    def call(*arguments: object, **options: object) -> object:
        return function(*arguments, **read_options(function.__name__, function, options))

    return call  # type: ignore[return-value]
