"""What there is: methods and model sources, each entered by a decorator in the one file that defines it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received, unknown
from gradsight.ranges import checked
from gradsight.rules import Choice, Each, Flag, Function, Text

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True)
class Method:
    """A way to make maps from a probe.

    Attributes:
        name: what users type, such as ``"gradcam"`` or ``"smooth(gradcam)"``.
        function: ``(probe, ops) -> maps`` of shape (n, k, *s), raw and signed.
        title: the name in its paper, such as ``"Grad-CAM"``.
        source: where it comes from, such as ``"arXiv:1610.02391"``.
        needs: what it asks of the model beyond a layer with positions; empty when nothing.
        at: ``"layer"``: its maps are a layer's; ``"input"``: the image's own; ``"layers"``: of several layers at once.
        gradient: it needs the model's gradient.
        passes: what it costs, in forward passes of the whole model, in words: ``"1"``, ``"c + 1"`` for c channels.
        costly: these are many; `gradsight compare` leaves it out unless it is asked for.
    """

    name: str
    function: Callable[..., Any]
    title: str
    source: str
    needs: str = ""
    at: str = "layer"
    gradient: bool = True
    passes: str = "1"
    costly: bool = False

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Source:
    """A place where models come from.

    Attributes:
        name: the scheme before the colon in ``--model scheme:name``.
        function: ``(name, *, weights) -> Model``, or with ``size`` too.
        title: what it loads, in a few words.
        example: a full ``--model`` value that works.
        packages: the importable packages it needs.
        install: the command that installs it.
    """

    name: str
    function: Callable[..., Any]
    title: str
    example: str
    packages: tuple[str, ...] = ()
    install: str = ""


Entry = TypeVar("Entry", Method, Source)


def _place(entry: Method | Source) -> str:
    """The module and the name of an entry's function."""
    function = entry.function
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name, filled when first asked by importing every module of one package.

    A new entry is therefore one new file: nothing has to be listed by hand.
    """

    def __init__(self, kind: str, package: str, command: str) -> None:
        self._kind, self._package, self._command = kind, package, command
        self._entries: dict[str, Entry] = {}
        self._filled = False
        self.reserved: frozenset[str] = frozenset()

    def add(self, name: str, entry: Entry) -> None:
        """Enter ``entry`` under a name that nothing else has.

        Entered again, as where a cell of a notebook runs once more, a function of a user's takes the place of itself.

        Raises:
            InvalidType: the name is no text.
            InvalidArgument: the name is taken, or can be no name.
        """
        if not taken("name", name, Text()).isidentifier():
            raise InvalidArgument(f"`name` must be a word of letters, digits and _. {received(name)} Pass 'my_way'.")
        place = _place(entry)
        own = not place.startswith(f"{self._package}.")
        if own:  # those of the package are all there first: the user's module may be the first that asks for one
            self._fill()
        if name in self.reserved:
            raise InvalidArgument(f"`name` must be no word for a variant. {received(name)} Pass 'my_{name}'.")
        there = self._entries.get(name)
        if there is not None and not (own and _place(there) == place):
            raise InvalidArgument(
                f"`name` must be one that no other {self._kind} has. Received: {name!r}, which is {there.title}. Pass "
                f"another, such as 'my_{name}'."
            )
        self._entries[name] = entry

    def _fill(self) -> dict[str, Entry]:
        if not self._filled:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._filled = True
        return self._entries

    def __contains__(self, name: object) -> bool:
        return name in self._fill()

    def __getitem__(self, name: str) -> Entry:
        entries = self._fill()
        try:
            return entries[name]
        except KeyError:
            way_out = f"`{self._command}` lists them."
            raise unknown(self._kind, name, self, way_out) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._fill()))

    def __len__(self) -> int:
        return len(self._fill())


_WRITTEN = re.compile(r"[A-Za-z_]\w*(?:[-+]+\w*)*")
"""A name of a method as people write it: Grad-CAM++, grad_cam."""


def as_registered(text: str, known: Iterable[str]) -> str:
    """A text in which names are written as they are registered: ``"Grad-CAM++"`` is ``"gradcampp"``.

    Args:
        text: a method, with options or variants if need be.
        known: the names that there are.

    >>> as_registered("smooth(Grad-CAM++, samples=8)", ["gradcam", "gradcampp"])
    'smooth(gradcampp, samples=8)'
    """
    names = set(known)

    def registered(match: re.Match[str]) -> str:
        plain = match[0].lower().replace("++", "pp").replace("-", "").replace("_", "")
        return plain if plain in names and match[0] not in names else match[0]

    return _WRITTEN.sub(registered, text)


METHODS: Registry[Method] = Registry("method", "gradsight.methods", "gradsight methods")
SOURCES: Registry[Source] = Registry("model source", "gradsight.models", "gradsight models")


def without_gradient() -> list[str]:
    """The methods that need no gradient of the model; no controls, which say nothing of it."""
    return [name for name, found in METHODS.items() if not found.gradient and "(control)" not in found.title]


_METHOD = Function("a function (probe, ops) -> maps, defined below the decorator")
_SOURCE = Function("a function (name, *, weights) -> Model, defined below the decorator")
PLACES = ("layer", "input", "layers")


def method(
    name: str,
    *,
    title: str,
    source: str,
    needs: str = "",
    at: str = "layer",
    gradient: bool = True,
    passes: str = "1",
    costly: bool = False,
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(probe, ops) -> maps`` as a method; see `Method` for the arguments.

    Keyword-only arguments of the function are the method's options: ``"scorecam(top=64)"``. What they take is declared
    with them, ``top: Annotated[int, Whole(1)] = 64`` (`gradsight.rules`), and each call is held to it.
    """
    taken("at", at, Choice(PLACES, "place"))
    for argument, text in (("title", title), ("source", source), ("needs", needs), ("passes", passes)):
        taken(argument, text, Text())
    for argument, flag in (("gradient", gradient), ("costly", costly)):
        taken(argument, flag, Flag())

    def enter(function: Decorated) -> Decorated:
        taken("function", function, _METHOD)
        function = checked(function)
        METHODS.add(name, Method(name, function, title, source, needs, at, gradient, passes, costly))
        return function

    return enter


def source(
    name: str, *, title: str, example: str, packages: tuple[str, ...] = (), install: str = ""
) -> Callable[[Decorated], Decorated]:
    """Enter a function ``(name, *, weights) -> Model`` as a model source.

    One that has an argument ``size`` too, (height, width) or None, builds the model for the size that is asked for.
    """
    taken("packages", packages, Each(Text(), range(99)))
    for argument, text in (("title", title), ("example", example), ("install", install)):
        taken(argument, text, Text())

    def enter(function: Decorated) -> Decorated:
        taken("function", function, _SOURCE)
        SOURCES.add(name, Source(name, function, title, example, packages, install))
        return function

    return enter
