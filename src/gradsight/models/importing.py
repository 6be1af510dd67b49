"""Code of the user's, found by its name: ``package.module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from gradsight.errors import InvalidArgument, InvalidType, received, unknown
from gradsight.models.keras.backend import is_keras_2
from gradsight.models.users import held_back_usage, users
from gradsight.registry import SOURCES


def find(name: str, argument: str) -> Callable[..., Any]:
    """Import what ``package.module:name`` names, which can be called.

    Args:
        name: the text.
        argument: what it was given for, ``"model"`` or ``"preprocess"``.

    Raises:
        InvalidArgument: the name is not of that form.
        UnknownName: there is no such module, or nothing of that name in it.
        InvalidType: it cannot be called.
        ModelError: importing the module failed.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise InvalidArgument(f"{argument} must be package.module:function. {received(name)} Pass 'my_models:build'.")
    with current_folder_first(), users(f"{argument} {name!r}: importing its module failed"):
        value: Callable[..., Any] = _attribute(_import(module_name), attribute)
    if not callable(value) and not is_keras_2(value):  # which has an error of its own
        raise InvalidType(f"{argument}: {name} must be a function. {received(value)} Name one that is defined there.")
    return value


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Let modules be found in the current folder while the user's module is imported and called, as ``python -m`` does.

    Afterwards it is off ``sys.path`` again: a stray ``json.py`` there must not be taken by something else that is
    imported later. The modules of the folder itself still find each other, since they may import when the model runs.
    """
    try:
        folder = os.getcwd()
    except OSError:  # it has been removed
        folder = ""
    if not folder or folder in sys.path or "" in sys.path:
        yield
        return
    # The first, as Python does it for a script: the user's module comes before an installed one of its name.
    sys.path.insert(0, folder)
    # Python remembers what folders hold, and the file may have been written a moment ago.
    importlib.invalidate_caches()
    try:
        yield
    finally:
        # by value: the code that ran meanwhile may have put other folders before it
        sys.path.remove(folder)
        _neighbours.enter(folder)


class _Neighbours(MetaPathFinder):
    """Finds the modules of some folders, each for code that lies in that folder and for nobody else."""

    def __init__(self) -> None:
        self._folders: set[str] = set()

    def enter(self, folder: str) -> None:
        """Let the modules of a folder find each other from now on."""
        self._folders.add(folder)
        if self not in sys.meta_path:
            sys.meta_path.append(self)  # the last: what is installed comes first

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of that name, if it is in the folder that it is asked for from."""
        if path is not None:  # of a package, which finds its own modules
            return None
        asking = _importing_file()
        folders = [folder for folder in self._folders if asking.startswith(os.path.join(folder, ""))]
        return PathFinder.find_spec(fullname, folders, target) if folders else None


def _importing_file() -> str:
    """The file with the import statement that a finder works for; empty where it is in none, as in a notebook."""
    # A finder is told the name that is wanted and not by whom: only the stack says which file asks.
    frame = sys._getframe(2)
    # between the statement and the finder there is nothing but Python's own import system
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return str(frame.f_globals.get("__file__") or "")


_neighbours = _Neighbours()


def _import(module_name: str) -> ModuleType:
    try:
        with held_back_usage():
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        # Else the module is there, and something that it imports itself is missing: that error is told as it is.
        if module_name == missing or module_name.startswith(f"{missing}."):
            here = {path.stem for path in Path().glob("*.py")}
            raise unknown(
                "module",
                missing,
                sorted(here | set(SOURCES)),
                "It was looked for in the current folder and among the installed packages; "
                "`gradsight models` lists the sources that have a name.",
            ) from error
        raise


def _attribute(module: ModuleType, attribute: str) -> Callable[..., Any]:
    try:
        named: Callable[..., Any] = getattr(module, attribute)
        return named
    except AttributeError:
        public = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise unknown("function", attribute, sorted(public), f"It was looked for in {module.__name__}.") from None
