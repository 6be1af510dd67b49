"""A private view of the user's model: new module objects around the same tensors.

The user's modules are never run, hooked or switched. Their copies are: in evaluation mode, uncompiled, and with
parameters that ask for no gradient, so that a forward pass records a graph only from a tapped layer on.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from gradsight.backends.snapshot import Snapshot
from gradsight.backends.torch.memory import example_of, same_memory, shares_memory
from gradsight.backends.torch.places import Place
from gradsight.backends.torch.reached import (
    CONTAINERS,
    Reached,
    content,
    has_hooks,
    hooks_everywhere,
    hooks_of,
    lead_everywhere,
    leading,
    leads_to_modules,
    modules_named_in,
    rebuilt,
)
from gradsight.errors import ModelError
from gradsight.generators import OwnNumbers
from gradsight.recent import Recent

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


class View:
    """The copy, and what tells that the original has changed since.

    Attributes:
        root: the copied model.
        modules: the copied modules by the names that the user knows them by.
        kinds: the names of their classes.
        was_training: some module was in training mode.
        like: a parameter, or else a buffer, for its device and precision.
        quantized: the kind of a quantized module in it, whose kernels have no gradient; empty where there is none.
        calls: how often modules ran in a pass, as far as known; it tells the last call of a module that runs again.
        places: by module and call, where its output is tapped, if that is not simply what its forward gives.
        is_learned: these were looked for.
        tails: traced tails, which hold this view's tensors and end with it.
        observed, changes_state, draws: what the first pass showed, see `guarded`.
    """

    def __init__(self, model: nn.Module) -> None:
        """Copy the shell of ``model``; its tensors are shared.

        Raises:
            ModelError: the model is TorchScript, whose modules cannot be tapped, or its parameters have no values yet.
        """
        model = unwrap(model)
        self._copies: dict[int, Any] = {}
        self._originals: list[Any] = []  # keeps every id in _copies taken
        self._aliases: list[tuple[torch.Tensor, torch.Tensor]] = []  # tensors with those that share their memory
        self._then = Snapshot()
        self._modules: list[nn.Module] = []
        self._kinds: list[type] = []  # which a user may replace: module.__class__ = Other
        registered = {id(x) for module in model.modules() for x in (module, unwrap(module))}
        self._registered = registered
        self._reached = Reached(hooks_of(model.modules()))
        self.has_hooks = any(map(has_hooks, model.modules()))
        self._then.leave_out(self._reached.containers)
        self._everywhere = hooks_everywhere()
        self.was_training = any(module.training for module in model.modules())
        with torch.inference_mode(False):
            self.root = self._copy(model)
        self.modules: dict[str, nn.Module] = dict(self.root.named_modules())
        self._led = self._reached.led(self._registered, self._swap)
        if self._everywhere:
            lead_everywhere(self.modules.values(), self._swap)
        self.kinds = {name: type(module).__qualname__ for name, module in self.modules.items()}
        self._written = [
            (holder, key)
            for module in self.modules.values()
            for holder in (module._buffers, module.__dict__)
            for key, value in holder.items()
            if isinstance(value, torch.Tensor)
        ]
        weights = (p for m in self.modules.values() for p in m._parameters.values() if p is not None)
        buffers = (b for m in self.modules.values() for b in m._buffers.values() if b is not None)
        self.like = example_of([*weights, *buffers])
        self._counting = [x for x in (*model.parameters(), *model.buffers()) if _counts(x)]
        quantized = (m for m in self.modules.values() if ".quantized" in type(m).__module__)
        self.quantized = next((m._get_name() for m in quantized), "")  # type: ignore[no-untyped-call]
        self.calls: dict[str, int] = {}
        self.tails: Recent[Any, Any] = Recent()
        self.places: dict[tuple[str, int], Place] = {}
        self.is_learned = False
        self.observed = self.changes_state = self.draws = False

    @property
    def keeps(self) -> bool:
        """Whether outputs may reach the rest of the model by another way than as what modules give."""
        return self.changes_state or self.has_hooks

    @property
    def is_shared(self) -> bool:
        """Whether its passes write where those of other views of the model do."""
        return bool(self._reached)

    def is_current(self) -> bool:
        """Whether the original still has the modules, tensors, hooks and attributes that were copied.

        A tensor may be the same object and yet lie in other memory, since ``tensor.data = other`` puts it there.
        """
        same_kinds = all(map(operator.is_, map(type, self._modules), self._kinds))
        same = same_kinds and self._everywhere == hooks_everywhere()
        return same and self._then.holds() and all(itertools.starmap(shares_memory, self._aliases))

    def stamp(self) -> list[tuple[int, int]]:
        """How often each of the model's tensors was written into, and where it lies."""
        return [(x._version, x.data_ptr()) for x in self._counting]

    def name_of(self, module: nn.Module) -> str | None:
        """What one of the user's own modules is called; None for the model itself and for what is not in it."""
        copy = self._copies.get(id(unwrap(module)))
        return next((name for name, known in self.modules.items() if name and known is copy), None)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep a forward pass from changing buffers and attributes, or the random state.

        The first pass is observed; what it did not change is not guarded in later ones, which then cost nothing.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(leading(self._led))
            numbers = stack.enter_context(OwnNumbers()) if not self.observed or self.draws else None
            if not self.observed or self.changes_state:
                stack.enter_context(self._own_state())
            yield
            self.draws |= numbers is not None and numbers.drew
        self.observed = True

    @contextlib.contextmanager
    def _own_state(self) -> Iterator[None]:
        """Let a pass write into buffers and attributes, and put them back: every pass starts from the user's."""
        originals: list[Any] = [holder[key] for holder, key in self._written]
        for (holder, key), original in zip(self._written, originals, strict=True):
            holder[key] = original.clone()
        before, variables = Snapshot(), self._reached.variables()
        for module in self.modules.values():
            before.add(module.__dict__)
        self._reached.add_to(before)
        given: list[Any] = [holder[key] for holder, key in self._written]
        try:
            yield
        finally:
            changed = not before.holds()
            if changed:
                before.restore()
            changed |= self._reached.put_back(variables)
            for (holder, key), original in zip(self._written, originals, strict=True):
                holder[key] = original
            if not self.observed:  # later passes may be traced, where tensors have no values to compare
                self.changes_state |= changed or not all(map(torch.equal, given, originals))

    def _copy(self, module: nn.Module) -> Any:
        module = unwrap(module)
        if id(module) in self._copies:
            return self._copies[id(module)]
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                "the model is TorchScript, whose layers cannot be tapped. Pass the Python module it was scripted "
                "from, or export it with torch.export.export and save a .pt2 file."
            )
        copy = object.__new__(type(module))
        self._copies[id(module)] = copy
        self._originals.append(module)
        inside = module.__dict__
        self._then.add(inside)
        self._modules.append(module)
        self._kinds.append(type(module))
        own = dict(inside)
        for name, value in inside.items():
            kinds = isinstance(value, dict) and type(value) not in CONTAINERS
            own[name] = value.copy() if kinds and id(value) not in self._reached.containers else value
        own["_parameters"] = {k: self._alias(p) for k, p in inside["_parameters"].items()}
        own["_buffers"] = {k: self._swap(b) for k, b in inside["_buffers"].items()}
        own["_modules"] = {k: None if m is None else self._copy(m) for k, m in inside["_modules"].items()}
        own["_compiled_call_impl"] = None
        if id(module) in self._registered:
            own["training"] = False
        copy.__dict__.update(own)
        for name, value in own.items():
            if name not in ("_parameters", "_buffers", "_modules"):
                copy.__dict__[name] = self._swap(value)
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
            self._aliases.append((parameter, self._copies[id(parameter)]))
        alias = self._copies[id(parameter)]
        return alias if isinstance(alias, torch.Tensor) else None

    def _swap(self, value: Any) -> Any:
        """``value`` with every reference to an original module or parameter led to its copy instead.

        Modules keep such references outside of their registered children: bound methods put in place of ``forward``
        (accelerate, peft), lists of blocks, flat weights of recurrent layers, closures.
        """
        if id(value) in self._reached.containers:
            return value
        if isinstance(value, nn.Module):
            return self._copy(value)
        if isinstance(value, torch.Tensor) and (
            isinstance(value, nn.Parameter) or value.requires_grad or value.is_inference()
        ):
            return self._alias(value)
        if isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module):
            return types.MethodType(value.__func__, self._copy(value.__self__))
        if isinstance(value, functools.partial):
            return self._swap_partial(value)
        if isinstance(value, types.FunctionType):
            return self._swap_function(value)
        if type(value) in CONTAINERS:
            return self._swap_container(value)
        if isinstance(value, tuple):
            swapped = [self._swap(item) for item in value]
            if not _differ(swapped, value):
                return value
            return type(value)(*swapped) if hasattr(value, "_fields") else type(value)(swapped)
        if isinstance(value, dict) and value:
            items = {key: self._swap(item) for key, item in value.items()}
            if _differ(items.values(), value.values()):
                value = value.copy()  # keeps the kind
                value.update(items)
        return value

    def _swap_container(self, value: Any) -> Any:
        """A container of the view's own, since a pass may write into it; shared by whatever shares the original."""
        if id(value) not in self._copies:
            own = self._copies[id(value)] = value.copy()
            self._originals.append(value)
            items = [self._swap(item) for item in (value.values() if isinstance(value, dict) else value)]
            keys = [self._swap(key) if isinstance(key, nn.Module) else key for key in value]
            own.clear()
            (own.extend if isinstance(own, list | deque) else own.update)(
                zip(keys, items, strict=True) if isinstance(value, dict) else items
            )
        return self._copies[id(value)]

    def _swap_partial(self, value: functools.partial[Any]) -> functools.partial[Any]:
        parts = [value.func, value.args, dict(value.keywords)]
        func, args, keywords = (self._swap(part) for part in parts)
        same = func is value.func and args is value.args and not _differ(keywords.values(), value.keywords.values())
        return value if same else functools.partial(func, *args, **keywords)

    def _swap_function(self, function: types.FunctionType) -> types.FunctionType:
        """A function whose variables and names lead to copies; it shares all others with those of the user."""
        if id(function) in self._copies:
            return self._copies[id(function)]  # type: ignore[no-any-return]
        self._originals.append(function)
        names = {name: self._copy(x) for name, x in modules_named_in(function, self._registered).items()}
        if not names and not leads_to_modules(function, self._registered, set()):
            self._copies[id(function)] = function
            return function
        cells = [(cell, self._cell(cell)) for cell in function.__closure__ or ()]
        new = self._copies[id(function)] = rebuilt(function, [own for _, own in cells], names)
        for cell, own in cells:
            if own is not cell and content(own) is None:
                own.cell_contents = self._swap(content(cell))
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        """A variable of the view's own where it leads to modules, to be filled; functions share it as they did."""
        if id(cell) not in self._copies:
            own = leads_to_modules(content(cell), self._registered, set())
            self._copies[id(cell)] = types.CellType() if own else cell
            self._originals.append(cell)
        return self._copies[id(cell)]  # type: ignore[no-any-return]


def _differ(new: Any, old: Any) -> bool:
    return any(a is not b for a, b in itertools.zip_longest(new, old))


def _counts(tensor: torch.Tensor) -> bool:
    """Whether a tensor counts how often it is written into, and has a place in memory."""
    return not tensor.is_inference() and tensor.layout == torch.strided and type(tensor) in (torch.Tensor, nn.Parameter)
