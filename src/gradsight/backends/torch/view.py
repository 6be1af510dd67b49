"""A private view of the user's model: new module objects around the same tensors.

The user's modules are never run, hooked or switched. Their copies are: in evaluation mode, uncompiled, and with
parameters that ask for no gradient, so that a forward pass records a graph only from a tapped layer on.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from gradsight.backends.snapshot import Snapshot
from gradsight.backends.torch.copies import Copies, unwrap
from gradsight.backends.torch.in_parts import InParts
from gradsight.backends.torch.memory import example_of
from gradsight.backends.torch.reached import (
    Reached,
    has_hooks,
    hooks_everywhere,
    hooks_of,
    lead_everywhere,
    leading,
)
from gradsight.backends.torch.tail import Tail
from gradsight.backends.torch.tap_points import TapPoint
from gradsight.generators import OwnNumbers
from gradsight.recent import Recent

# Loops of Python's own: this is asked twice in a call, of every tensor of a model.
_VERSION: Callable[[torch.Tensor], int] = operator.attrgetter("_version")
_PLACE: Callable[[torch.Tensor], int] = torch.Tensor.data_ptr
_FEW = 8
"""So many tensors show whether a stamp is likely to hold."""

_UNGUARDED = contextlib.nullcontext()


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
        tap_points: by module and call, where its output is tapped, if that is not simply what its forward gives.
        is_learned: these were looked for.
        tails: traced tails, which hold this view's tensors and end with it.
        in_parts: takes gradients where most of their rows are zero.
        observed, changes_state, draws: what the first pass showed, see `guarded`.
    """

    def __init__(self, model: nn.Module) -> None:
        """Copy the shell of ``model``; its tensors are shared.

        Raises:
            ModelError: the model is TorchScript, whose modules cannot be tapped, or its parameters have no values yet.
        """
        model = unwrap(model)
        registered = {id(x) for module in model.modules() for x in (module, unwrap(module))}
        self._reached = Reached(hooks_of(model.modules()))
        self._copies = Copies(registered, self._reached)
        self.has_hooks = any(map(has_hooks, model.modules()))
        self._everywhere = hooks_everywhere()
        self.was_training = any(module.training for module in model.modules())
        # A caller in inference mode would else get a view whose tensors can be in no graph.
        with torch.inference_mode(False):
            self.root = self._copies.module(model)
        self.modules: dict[str, nn.Module] = dict(self.root.named_modules())
        self._led = self._reached.led(registered, self._copies.swap)
        if self._everywhere:
            lead_everywhere(self.modules.values(), self._copies.swap)
        self.kinds = {name: type(module).__qualname__ for name, module in self.modules.items()}
        self._written = _tensors_kept(self.modules.values())
        self.like = example_of(_weights(self.modules.values()))
        # Not those of the view: they share memory with the model's, but each counts its own writes.
        self._counting = [x for x in (*model.parameters(), *model.buffers()) if _counts(x)]
        self._placed = [x for x in self._counting if self._copies.is_shared(x)]
        self._stamp: list[int] | None = None
        quantized = (m for m in self.modules.values() if ".quantized" in type(m).__module__)
        self.quantized: str = next((m._get_name() for m in quantized), "")  # type: ignore[no-untyped-call]
        self.calls: dict[str, int] = {}
        self.tails: Recent[Hashable, Recent[Hashable, Tail | None]] = Recent()
        self.tap_points: dict[tuple[str, int], TapPoint] = {}
        self.in_parts = InParts()
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
        copies = self._copies
        same_kinds = all(map(operator.is_, map(type, copies.modules), copies.kinds))
        same = same_kinds and self._everywhere == hooks_everywhere()
        return same and copies.then.holds() and copies.share_memory()

    def stamp(self) -> list[int]:
        """How often each of the model's tensors was written into, and where those lie that the view shares.

        Of a parameter that is put elsewhere meanwhile the view has an alias, which is where it was.
        """
        stamp = self._stamp = [*map(_VERSION, self._counting), *map(_PLACE, self._placed)]
        return stamp

    def known_stamp(self) -> list[int] | None:
        """The last stamp, if it is likely to hold: of a few tensors, of which a step of training changes some."""
        stamp, step = self._stamp, max(1, len(self._counting) // _FEW)
        likely = (
            stamp is not None and list(map(_VERSION, self._counting[::step])) == stamp[: len(self._counting) : step]
        )
        return stamp if likely else None

    def name_of(self, module: nn.Module) -> str | None:
        """What one of the user's own modules is called; None for the model itself and for what is not in it."""
        copy = self._copies.known(module)
        return next((name for name, known in self.modules.items() if name and known is copy), None)

    def guarded(self) -> contextlib.AbstractContextManager[None]:
        """Keep a forward pass from changing buffers and attributes, or the random state.

        The first pass is observed; what it did not change is not guarded in later ones, which then cost nothing.
        """
        quiet = self.observed and not (self.draws or self.changes_state or self._led)
        return _UNGUARDED if quiet else self._guarded()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(leading(self._led))
            # Seeing each operator costs time, so that only a model that was seen to draw is watched for it again.
            numbers = stack.enter_context(OwnNumbers()) if not self.observed or self.draws else None
            if not self.observed or self.changes_state:
                stack.enter_context(self._own_state())
            yield
            self.draws |= numbers is not None and numbers.drew
        self.observed = True

    @contextlib.contextmanager
    def _own_state(self) -> Iterator[None]:
        """Let a pass write into buffers and attributes, and put them back: every pass starts from the user's."""
        originals: list[torch.Tensor] = [holder[key] for holder, key in self._written]
        for (holder, key), original in zip(self._written, originals, strict=True):
            holder[key] = original.clone()
        before, variables = Snapshot(), self._reached.variables()
        for module in self.modules.values():
            before.add(module.__dict__)
        self._reached.add_to(before)
        clones: list[torch.Tensor] = [holder[key] for holder, key in self._written]
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
                self.changes_state |= changed or not all(map(torch.equal, clones, originals))


def _tensors_kept(modules: Iterable[nn.Module]) -> list[tuple[dict[str, Any], str]]:
    """Where modules keep tensors that a pass may write into: their buffers, and plain attributes."""
    return [
        (holder, key)
        for module in modules
        for holder in (module._buffers, module.__dict__)
        for key, value in holder.items()
        if isinstance(value, torch.Tensor)
    ]


def _weights(modules: Collection[nn.Module]) -> list[torch.Tensor]:
    """The parameters of modules, and their buffers behind them."""
    parameters = [p for module in modules for p in module._parameters.values() if p is not None]
    return [*parameters, *(b for module in modules for b in module._buffers.values() if b is not None)]


def _counts(tensor: torch.Tensor) -> bool:
    """Whether a tensor counts how often it is written into, and has a place in memory."""
    return not tensor.is_inference() and tensor.layout == torch.strided and type(tensor) in (torch.Tensor, nn.Parameter)
