"""Copies of the user's modules: new objects around the same tensors, with all that leads to them led elsewhere."""

from __future__ import annotations

import functools
import itertools
import types
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch
from torch import nn

from gradsight.backends.snapshot import Snapshot
from gradsight.backends.torch.memory import same_memory, shares_memory
from gradsight.backends.torch.reached import (
    CONTAINERS,
    Reached,
    content,
    leads_to_modules,
    modules_named_in,
    rebuilt,
)
from gradsight.errors import ModelError

Value = TypeVar("Value")

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside wrappers for compiling, several devices or precisions: hooks fire there, on one device."""
    while True:
        inner = getattr(module, "_orig_mod", None) or getattr(module, "_forward_module", None)  # or Lightning's Fabric
        if isinstance(module, _WRAPPERS):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


class Copies:
    """What was copied of a model.

    Attributes:
        then: what the originals held when they were copied.
        modules: the original modules.
        kinds: their classes, which a user may replace: ``module.__class__ = Other``.
    """

    def __init__(self, registered: set[int], reached: Reached) -> None:
        """Nothing is copied.

        Args:
            registered: the ids of the model's modules: others, that they only refer to, keep their training mode.
            reached: what hooks reach, which is not copied.
        """
        self.then = Snapshot()
        self.modules: list[nn.Module] = []
        self.kinds: list[type] = []
        # The original parameters, and the tensors that share their memory.
        self._parameters: list[torch.Tensor] = []
        self._shared: list[torch.Tensor] = []
        self._registered, self._reached = registered, reached
        self._copies: dict[int, Any] = {}
        self._originals: list[object] = []  # keeps every id in _copies taken
        self.then.leave_out(reached.containers)

    def share_memory(self) -> bool:
        """Whether the aliases still are the same numbers in the same memory as the original parameters."""
        try:
            # In one loop of Python's own: a model has hundreds of them, and this is asked in each call.
            return all(map(torch.Tensor.is_set_to, self._parameters, self._shared))
        except (RuntimeError, TypeError):  # some are of a kind without memory of its own
            return all(map(shares_memory, self._parameters, self._shared))

    def is_shared(self, tensor: torch.Tensor) -> bool:
        """Whether the copies hold a tensor itself, and no alias of it."""
        return self._copies.get(id(tensor), tensor) is tensor

    def known(self, module: nn.Module) -> nn.Module | None:
        """The copy of a module; None where there is none."""
        copy: nn.Module | None = self._copies.get(id(unwrap(module)))
        return copy

    def module(self, module: nn.Module) -> nn.Module:
        """The copy of a module, made at its first use."""
        module = unwrap(module)
        copy: nn.Module | None = self._copies.get(id(module))
        if copy is not None:
            return copy
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                "the model is TorchScript, whose layers cannot be tapped. Pass the Python module it was scripted "
                "from, or export it with torch.export.export and save a .pt2 file."
            )
        copy = object.__new__(type(module))
        self._copies[id(module)] = copy
        self._originals.append(module)
        inside = module.__dict__
        self.then.add_attributes(module)
        self.modules.append(module)
        self.kinds.append(type(module))
        own = dict(inside)
        # Nothing is run to make a copy, neither ``__init__`` nor ``__deepcopy__``: they are the user's, and may do
        # anything. Dicts of a kind of their own (PyTorch's of hooks) are copied as they are.
        for name, value in inside.items():
            kinds = isinstance(value, dict) and type(value) not in CONTAINERS
            own[name] = value.copy() if kinds and id(value) not in self._reached.containers else value
        own["_parameters"] = {k: self._alias(p) for k, p in inside["_parameters"].items()}
        own["_buffers"] = {k: self.swap(b) for k, b in inside["_buffers"].items()}
        own["_modules"] = {k: None if m is None else self.module(m) for k, m in inside["_modules"].items()}
        own["_compiled_call_impl"] = None  # a compiled module calls no hooks
        if id(module) in self._registered:
            own["training"] = False
        copy.__dict__.update(own)
        for name, value in own.items():
            if name not in ("_parameters", "_buffers", "_modules"):
                copy.__dict__[name] = self.swap(value)
        return copy

    def _alias(self, parameter: torch.Tensor | None) -> torch.Tensor | None:
        """The same memory without a gradient: a graph that starts at the tapped layer then holds no weight's input."""
        if parameter is None:
            return None
        if id(parameter) not in self._copies:
            if nn.parameter.is_lazy(parameter):
                raise ModelError("the model has parameters that are not initialised yet. Run it once on a real batch.")
            self._copies[id(parameter)] = same_memory(parameter)
            self._originals.append(parameter)
            self._parameters.append(parameter)
            self._shared.append(self._copies[id(parameter)])
        alias = self._copies[id(parameter)]
        return alias if isinstance(alias, torch.Tensor) else None

    def swap(self, value: Value) -> Value:
        """``value`` with every reference to an original module or parameter led to its copy instead.

        Modules keep such references outside of their registered children: bound methods put in place of ``forward``
        (accelerate, peft), lists of blocks, flat weights of recurrent layers, closures.
        """
        # What hooks reach stays the user's own: the rest of the model may read there what a hook kept.
        return value if id(value) in self._reached.containers else cast(Value, self._swapped(value))

    def _swapped(self, value: object) -> object:
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, torch.Tensor):
            # A plain tensor is an attribute like any other; those that ask for a gradient would start graphs of theirs.
            weight = isinstance(value, nn.Parameter) or value.requires_grad or value.is_inference()
            return self._alias(value) if weight else value
        if isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module):
            return types.MethodType(value.__func__, self.module(value.__self__))
        if isinstance(value, functools.partial):
            return self._swap_partial(value)
        if isinstance(value, types.FunctionType):
            return self._swap_function(value)
        if type(value) in CONTAINERS:
            return self._swap_container(value)
        if isinstance(value, tuple):
            return self._swap_tuple(value)
        return self._swap_mapping(value) if isinstance(value, dict) else value

    def _swap_tuple(self, value: tuple[object, ...]) -> object:
        swapped = [self.swap(item) for item in value]
        if not _differ(swapped, value):
            return value
        kind: Any = type(value)
        return kind(*swapped) if hasattr(value, "_fields") else kind(swapped)

    def _swap_mapping(self, value: dict[Any, object]) -> dict[Any, object]:
        items = {key: self.swap(item) for key, item in value.items()}
        if not _differ(items.values(), value.values()):
            return value
        own = value.copy()  # keeps the kind
        own.update(items)
        return own

    def _swap_container(self, value: Any) -> Any:
        """A container of the view's own, since a pass may write into it; shared by whatever shares the original."""
        if id(value) not in self._copies:
            own = self._copies[id(value)] = value.copy()
            self._originals.append(value)
            items = [self.swap(item) for item in (value.values() if isinstance(value, dict) else value)]
            keys = [self.swap(key) if isinstance(key, nn.Module) else key for key in value]
            own.clear()
            (own.extend if isinstance(own, list | deque) else own.update)(
                zip(keys, items, strict=True) if isinstance(value, dict) else items
            )
        return self._copies[id(value)]

    def _swap_partial(self, value: functools.partial[Any]) -> functools.partial[Any]:
        func, args, keywords = self.swap(value.func), self.swap(value.args), self.swap(dict(value.keywords))
        same = func is value.func and args is value.args and not _differ(keywords.values(), value.keywords.values())
        return value if same else functools.partial(func, *args, **keywords)

    def _swap_function(self, function: types.FunctionType) -> types.FunctionType:
        """A function whose variables and names lead to copies; it shares all others with those of the user."""
        known: types.FunctionType | None = self._copies.get(id(function))
        if known is not None:
            return known
        self._originals.append(function)
        names = {name: self.module(x) for name, x in modules_named_in(function, self._registered).items()}
        if not names and not leads_to_modules(function, self._registered, set()):
            self._copies[id(function)] = function
            return function
        cells = [(cell, self._cell(cell)) for cell in function.__closure__ or ()]
        new = self._copies[id(function)] = rebuilt(function, [own for _, own in cells], names)
        for cell, own in cells:
            if own is not cell and content(own) is None:
                own.cell_contents = self.swap(content(cell))
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        """A variable of the view's own where it leads to modules, to be filled; functions share it as they did."""
        if id(cell) not in self._copies:
            own = leads_to_modules(content(cell), self._registered, set())
            self._copies[id(cell)] = types.CellType() if own else cell
            self._originals.append(cell)
        variable: types.CellType = self._copies[id(cell)]
        return variable


def _differ(new: Iterable[object], old: Iterable[object]) -> bool:
    return any(a is not b for a, b in itertools.zip_longest(new, old))
