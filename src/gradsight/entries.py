"""Entries by name, each made in the one file that defines it; found when somebody asks."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Generic, Protocol, TypeVar, cast

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received, unknown
from gradsight.rules import Text


class Named(Protocol):
    """What can be entered."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def function(self) -> Callable[..., object]:
        """What was entered."""


Entry = TypeVar("Entry", bound=Named)


def _home(entry: Named) -> str:
    """The module and the name of an entry's function."""
    function = entry.function
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name: those of a package's modules, each imported when it is asked for, and those of the user.

    A new entry is therefore one new file: nothing has to be listed by hand.
    """

    def __init__(self, kind: str, package: str, command: str) -> None:
        self._kind, self._package, self._command = kind, package, command
        self._entries: dict[str, Entry] = {}
        self._filled = False
        self.reserved: frozenset[str] = frozenset()

    def add(self, name: str, entry: Entry) -> None:
        """Add an entry under a name that is not taken yet.

        A function of the user may be added again, as when a cell of a notebook runs twice: it replaces itself.

        Raises:
            InvalidType: the name is no text.
            InvalidArgument: the name is taken, or can be no name.
        """
        if not taken("name", name, Text()).isidentifier():
            raise InvalidArgument(f"`name` must be a word of letters, digits and _. {received(name)} Pass 'my_way'.")
        home = _home(entry)
        own = not home.startswith(f"{self._package}.")
        if own:  # those of the package are all there first: the user's module may be the first that asks for one
            self._fill()
        # A variant and a method of one name could not be told apart in "name(...)".
        if name in self.reserved:
            raise InvalidArgument(f"`name` must be no word for a variant. {received(name)} Pass 'my_{name}'.")
        there = self._entries.get(name)
        if there is not None and not (own and _home(there) == home):
            raise InvalidArgument(
                f"`name` must be one that no other {self._kind} has. Received: {name!r}, which is {there.title}. Pass "
                f"another, such as 'my_{name}'."
            )
        self._entries[name] = entry

    def _fill(self) -> dict[str, Entry]:
        if not self._filled:
            package = importlib.import_module(self._package)
            # Not at import: most commands need no method, and importing all of them takes time.
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._filled = True
        return self._entries

    def _find(self, name: object) -> Entry | None:
        """An entry; of those of the package the module of that name is looked into first, and most are never needed."""
        if name not in self._entries and not self._filled and isinstance(name, str) and name.isidentifier():
            module = f"{self._package}.{name}"
            if find_spec(module) is not None:
                importlib.import_module(module)
        entry = self._entries.get(cast("str", name))
        return self._fill().get(cast("str", name)) if entry is None else entry

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __getitem__(self, name: str) -> Entry:
        entry = self._find(name)
        if entry is None:
            way_out = f"`{self._command}` lists them."
            raise unknown(self._kind, name, self, way_out)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._fill()))

    def __len__(self) -> int:
        return len(self._fill())
