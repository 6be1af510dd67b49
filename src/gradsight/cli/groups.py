"""Options in groups: a command takes a value for each group, and its command line has the options in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, get_type_hints

import typer

from gradsight.cli.terminal import mistakes
from gradsight.cli.viewing import viewing

Body = Callable[..., int | None]
"""A command: it returns its exit status, None for 0."""


class Entry(NamedTuple):
    """A command as `gradsight` has it.

    Attributes:
        name: what is typed.
        run: what Typer calls.
        example: a command line that works, shown under its help.
    """

    name: str
    run: Callable[..., None]
    example: str

    @property
    def summary(self) -> str:
        """The first line of its docstring, for the list of commands. Typer itself would shorten it."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


def command(example: str) -> Callable[[Body], Entry]:
    """Make a function a command of its own name; ``example`` is shown under its help."""
    # The function's name is what is typed, so that the two cannot differ.
    return lambda body: Entry(body.__name__, grouped(body), example)


def grouped(body: Body) -> Callable[..., None]:
    """A function for Typer whose parameters are the options of the groups that ``body`` takes.

    A parameter of ``body`` whose type is a dataclass is a group: in its place the dataclass's fields are parameters,
    with their types, which carry Typer's options, and their defaults. What is typed goes back into one value of each
    group. Whatever is wrong, in them or in what the command does, is one line and a status (`mistakes`).
    """
    # Annotations are texts here (`from __future__ import annotations`). With extras, since Typer's options are in them.
    hints = get_type_hints(body, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
    parameters = []
    for parameter in inspect.signature(body).parameters.values():
        kind = groups.get(parameter.name)
        if kind is None:
            # By keyword alone: else no parameter without a default could stand after a group, whose options have some.
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY))
        else:
            parameters += _options(kind)

    def run(**values: Any) -> None:
        # Groups are made inside: what they refuse is a mistake in the usage like any other.
        alone = values.get("as_json", False) or values.get("quiet", False)
        shown = viewing(opened=values.get("opened", False), preview=values.get("preview", False), alone=alone)
        with mistakes(quiet=values.get("quiet", False)), shown:
            given = {name: _filled(kind, values) for name, kind in groups.items()}
            # A group may be called like one of its options.
            others = {name: value for name, value in values.items() if name in hints and name not in groups}
            status = body(**others, **given)
        raise typer.Exit(status or 0)

    # Typer reads both: the signature for the order and the defaults, the annotations for the types.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # Typer shows the docstring as the command's help.
    run.__name__, run.__doc__ = body.__name__, body.__doc__
    return run


def _options(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(group)
    ]


def _filled(group: type, values: dict[str, Any]) -> Any:
    return group(**{f.name: values[f.name] for f in fields(group)})
