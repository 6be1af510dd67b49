"""What hooks reach by themselves: their variables, the objects that they are methods of, names of their files."""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from gradsight.backends.snapshot import Container, Snapshot

CONTAINERS = (dict, OrderedDict, list, set, deque)

Hook: TypeAlias = Callable[..., Any]

Space: TypeAlias = dict[str, Any]
"""The attributes of an object, or the names of a file."""

Led: TypeAlias = tuple[Space, str, Any]
"""An attribute of an object, and what it is for a view while it runs."""

EVERYWHERE = ("_global_forward_hooks", "_global_forward_pre_hooks")
"""PyTorch's names for the hooks of every module."""

_OPAQUE = (nn.Module, torch.Tensor, type, types.ModuleType, types.BuiltinFunctionType)
_NOT_KEPT_IN = sys.stdlib_module_names - {"types", "argparse"}  # loggers, locks, files: they keep no outputs
_NOTHING = object()


def hooks_of(modules: Iterable[nn.Module]) -> Iterator[Hook]:
    """Every hook of modules, and those of the user's that are called for every module."""
    for module in modules:
        for name, hooks in vars(module).items():
            if name.endswith("_hooks") and name.startswith(("_forward", "_backward")):
                yield from hooks.values()
    yield from hooks_everywhere()


def hooks_everywhere() -> list[Hook]:
    """The user's hooks that PyTorch calls for every module. Its own, as those of its counters, come and go."""
    kinds: list[dict[int, Hook]] = [getattr(torch_module, name) for name in EVERYWHERE]
    return [hook for hooks in kinds for hook in hooks.values() if _package(hook) != "torch"]


def lead_everywhere(modules: Iterable[nn.Module], swap: Callable[[Space], Space]) -> None:
    """Let modules of a view call hooks of every module that are led to the view."""
    hooks = {name: swap(getattr(torch_module, name)) for name in EVERYWHERE}
    call = rebuilt(nn.Module._call_impl, (), hooks)  # type: ignore[arg-type]
    for module in modules:
        module.__dict__["_call_impl"] = types.MethodType(call, module)


def has_hooks(module: nn.Module) -> bool:
    """Whether something of the user's runs between a module's forward and whoever called the module."""
    return bool(module._forward_hooks or hooks_everywhere())


class Reached:
    """The dicts, lists, objects and variables that hooks reach: a model's memory outside of its modules.

    The rest of the model may read there what a hook kept, in code that cannot be led elsewhere. So all share the
    user's own, one pass at a time, and afterwards it is put back.

    Attributes:
        containers: the dicts, lists, sets and queues, those of objects too, and what is nested in them.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self.containers: dict[int, Container] = {}
        self._spaces: list[Space] = []  # of objects
        self._cells: dict[int, types.CellType] = {}
        self._names: dict[tuple[int, str], Space] = {}  # that a ``global`` statement binds, and where
        self._done: dict[int, object] = {}
        for hook in hooks:
            self._follow(hook, objects=1)

    def led(self, ours: set[int], swap: Callable[[object], object]) -> list[Led]:
        """The attributes of objects that lead to modules, and what they are for a view while it runs."""
        return [
            (space, name, swap(value))
            for space in self._spaces
            for name, value in space.items()
            if leads_to_modules(value, ours, set())
        ]

    def __bool__(self) -> bool:
        return bool(self.containers or self._cells or self._names)

    def add_to(self, snapshot: Snapshot) -> None:
        """Let a snapshot remember what the containers hold."""
        for container in self.containers.values():
            snapshot.add(container)

    def variables(self) -> list[object]:
        """What the variables hold now."""
        cells = [content(cell, _NOTHING) for cell in self._cells.values()]
        return cells + [space.get(name, _NOTHING) for (_, name), space in self._names.items()]

    def put_back(self, values: list[object]) -> bool:
        """Let the variables hold what they held; whether one did not. A count of calls goes on counting."""
        changed = False
        holders: list[types.CellType | tuple[Space, str]] = [
            *self._cells.values(),
            *((space, name) for (_, name), space in self._names.items()),
        ]
        for holder, now, then in zip(holders, self.variables(), values, strict=True):
            if now is then or isinstance(now, int | float | str):
                continue
            changed = True
            if isinstance(holder, tuple):
                space, name = holder
                space.update({name: then}) if then is not _NOTHING else space.pop(name)
            elif then is _NOTHING:
                del holder.cell_contents
            else:
                holder.cell_contents = then
        return changed

    def _follow(self, value: object, objects: int) -> None:
        """Follow a value; an object's attributes are what it is for, those of its objects are another matter."""
        if id(value) in self._done or isinstance(value, _OPAQUE):
            return
        self._done[id(value)] = value
        if isinstance(value, functools.partial):
            self._all((value.func, *value.args, *value.keywords.values()), objects)
        elif isinstance(value, types.MethodType):
            self._all((value.__self__, value.__func__), objects)
        elif isinstance(value, types.FunctionType):
            self._function(value, objects)
        elif isinstance(value, (*CONTAINERS, tuple)):
            if not isinstance(value, tuple) and not holds_modules(value):
                self.containers[id(value)] = value
            self._all(value.values() if isinstance(value, dict) else value, objects)
        elif objects > 0 and hasattr(value, "__dict__") and _package(value) not in _NOT_KEPT_IN:
            self.containers[id(vars(value))] = vars(value)
            self._spaces.append(vars(value))
            self._all(vars(value).values(), objects - 1)

    def _all(self, values: Iterable[object], objects: int) -> None:
        for value in list(values):
            self._follow(value, objects)

    def _function(self, function: types.FunctionType, objects: int) -> None:
        for cell in function.__closure__ or ():
            value = content(cell)
            if not isinstance(value, nn.Module):
                self._cells[id(cell)] = cell
            self._follow(value, objects)
        space = function.__globals__
        for name in names_in(function.__code__) & space.keys():
            other = getattr(space[name], "__globals__", space)  # a function of another file keeps nothing of this model
            if other is space:
                self._follow(space[name], objects)
        for name in bound_by(function.__code__):
            self._names[id(space), name] = space
        self._all((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()), objects)
        if vars(function):
            self.containers[id(vars(function))] = vars(function)


@contextlib.contextmanager
def leading(led: list[Led]) -> Iterator[None]:
    """Within it the attributes are what `Reached.led` said."""
    before = [(space, name, space[name]) for space, name, _ in led if name in space]
    for space, name, value in led:
        space[name] = value
    try:
        yield
    finally:
        for space, name, value in before:
            space[name] = value


def _package(value: object) -> str:
    """The name of the package that a function's code, or an object's class, is from."""
    return (getattr(value, "__module__", None) or "").partition(".")[0]


def names_in(code: types.CodeType) -> set[str]:
    """The names that code, and functions within it, may look up in its file."""
    return set(code.co_names).union(*(names_in(x) for x in code.co_consts if inspect.iscode(x)))


def bound_by(code: types.CodeType) -> set[str]:
    """The names of its file that code, and functions within it, bind."""
    own = {x.argval for x in dis.get_instructions(code) if x.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")}
    return own.union(*(bound_by(x) for x in code.co_consts if inspect.iscode(x)))


def holds_modules(value: Iterable[object]) -> bool:
    """Whether a container holds modules or their methods, however deep; a dict may by its keys."""
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return any(
        isinstance(item, nn.Module)
        or isinstance(getattr(item, "__self__", None), nn.Module)
        or (isinstance(item, (*CONTAINERS, tuple)) and holds_modules(item))
        for item in items
    )


def modules_named_in(function: types.FunctionType, ours: set[int]) -> dict[str, nn.Module]:
    """The modules with these ids that a function looks up in its file."""
    space = function.__globals__
    found = {name: space[name] for name in names_in(function.__code__) & space.keys()}
    return {name: x for name, x in found.items() if isinstance(x, nn.Module) and id(x) in ours}


def leads_to_modules(value: object, ours: set[int], seen: set[int]) -> bool:
    """Whether what a function holds leads to modules."""
    if isinstance(value, types.FunctionType) and id(value) not in seen:
        seen.add(id(value))
        inside = [content(cell) for cell in value.__closure__ or ()]
        return any(leads_to_modules(x, ours, seen) for x in inside) or bool(modules_named_in(value, ours))
    if isinstance(value, functools.partial):
        return any(leads_to_modules(x, ours, seen) for x in (value.func, *value.args, *value.keywords.values()))
    if isinstance(value, types.MethodType):
        return isinstance(value.__self__, nn.Module)
    return isinstance(value, nn.Module) or (
        isinstance(value, CONTAINERS) and type(value) in CONTAINERS and holds_modules(value)
    )


class _Led(dict[str, Any]):
    """The names of a file, some of them led elsewhere."""

    def __init__(self, names: Space, under: Space) -> None:
        super().__init__(names)
        self._under = under

    def __missing__(self, name: str) -> object:
        return self._under[name]


def rebuilt(function: types.FunctionType, cells: Iterable[types.CellType], names: Space) -> types.FunctionType:
    """The same function with other variables, and other values for some names of its file."""
    space = _Led(names, function.__globals__) if names else function.__globals__
    new = types.FunctionType(function.__code__, space, function.__name__, function.__defaults__, tuple(cells))
    new.__kwdefaults__, new.__module__, new.__qualname__ = (
        function.__kwdefaults__,
        function.__module__,
        function.__qualname__,
    )
    new.__dict__ = function.__dict__
    return new


def content(cell: types.CellType, empty: object = None) -> object:
    """What a variable holds."""
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return empty
