"""The passes of a view: with some of its modules tapped, and nothing of the user's left changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

from gradsight.backends.torch import tap
from gradsight.backends.torch.checkpoint import called_plainly
from gradsight.backends.torch.gradients import with_gradient
from gradsight.backends.torch.inputs import TorchBatches
from gradsight.backends.torch.memory import tensors_of
from gradsight.backends.torch.reached import has_hooks
from gradsight.backends.torch.tap_points import TapSearch
from gradsight.backends.torch.view import View
from gradsight.contracts import Part
from gradsight.errors import ModelError, as_photos, unknown
from gradsight.foreign import Inputs, Outputs
from gradsight.layers import INPUT
from gradsight.locks import Lock

_shared = Lock()  # for models whose hooks keep outputs in objects of the user's own


class Ran(NamedTuple):
    """What a forward pass gave.

    Attributes:
        outputs: the model's.
        leaves: by layer, its output, where the graph starts.
        is_hooked: the model may have put hooks on tensors of its own, which may change their gradients.
    """

    outputs: Outputs
    leaves: dict[str, torch.Tensor]
    is_hooked: bool


_BESIDE_OTHERS = contextlib.nullcontext()


class Running:
    """One view of a model, and its passes. Threads may share it.

    Attributes:
        view: it.
        batches: what batches hold.
        parts: by module, which of its tensors it is explained at, if several could be maps.
        lock: whoever holds it is the only one to change what is known of the view.
    """

    def __init__(self, model: nn.Module, batches: TorchBatches, alter: Callable[[View], None] = lambda _: None) -> None:
        """Make a view of the model; nothing is run. ``alter`` may change the view's own tensors, not the model's."""
        self.view, self.batches = View(model), batches
        alter(self.view)
        self.parts: dict[str, Part] = {}
        self.lock = Lock()
        self._gated: set[str] = set()
        self._model, self._alter = model, alter

    def another(self) -> Running:
        """One with a view of its own: hooks on every module, even ones that sleep, would slow down all later passes."""
        return Running(self._model, self.batches, self._alter)

    def looking(self, inputs: Inputs) -> Running:
        """Another, to tap every module of, at the points that were learned with such inputs."""
        looking = self.another()
        self._learn(inputs)
        # Only those within the module itself: where all modules are tapped, each sees its own output.
        looking.view.tap_points = {key: x for key, x in self.view.tap_points.items() if key[0] == x.module}
        return looking

    def from_leaf(self, inputs: Inputs) -> tuple[torch.Tensor, Inputs]:
        """A leaf for the graph to start at, in the place of the image, and the inputs made from it."""
        leaf = self.batches.image(inputs).detach().clone().requires_grad_()
        return leaf, self.batches.with_image(inputs, leaf)

    def forward(self, inputs: Inputs, names: set[str]) -> Ran:
        """Run the model, with the named layers' outputs as leaves, where the graph starts.

        Raises:
            UnknownName: no such layer.
            ModelError: the model failed, or a layer did not run.
        """
        self._learn(inputs)
        result = self._forward(inputs, names)
        # A model may begin to keep outputs in its first pass, as a cache does: then where they are made is learned now.
        return self._forward(inputs, names) if self._learn(inputs) else result

    def _forward(self, inputs: Inputs, names: set[str]) -> Ran:
        whole = names & {INPUT.name}
        names = names - whole
        holder = tap.LeafTap(names, self.view.calls)
        self._install(holder.modules)
        if whole:
            holder.leaves[INPUT.name], inputs = self.from_leaf(inputs)
        hooks = RemovableHandle.next_id
        with contextlib.nullcontext() if names or whole else torch.no_grad():
            outputs = self.execute(inputs, dict.fromkeys(holder.modules, holder))
        self.view.calls.update(holder.calls)
        missing = sorted(names - set(holder.leaves))
        if missing:
            ran = holder.calls[missing[0].partition("#")[0]]
            raise ModelError(
                f"layer {missing[0]!r} was not reached: its module ran {ran} time(s) in this forward pass. "
                "Name another layer, or another call (name#0 is the first)."
            )
        # Of a graph there is no asking which hooks are on it. Those of another thread count too: it costs time alone.
        return Ran(outputs, holder.leaves, RemovableHandle.next_id != hooks)

    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""
        with torch.inference_mode(False):
            return self.execute(inputs, {})

    def ready(self, inputs: Inputs, names: Collection[str]) -> None:
        """Make modules ready to be tapped in passes of such inputs.

        Raises:
            UnknownName: no such layer.
        """
        self._learn(inputs)
        self._install(names)

    def replay(
        self, name: str, inputs: Inputs, raw: torch.Tensor, around: Callable[[tap.Tap], tap.Tap] = lambda put: put
    ) -> Outputs:
        """Run the model with ``raw`` in the place of a layer's output.

        Args:
            name: the layer.
            inputs: a batch.
            raw: the output.
            around: makes a tap of the one that puts it there.
        """
        module, _, call = name.partition("#")
        wanted = int(call) if call else self.view.calls[module] - 1
        return self.execute(inputs, {module: around(tap.replacing(raw, wanted))})

    def execute(self, inputs: Inputs, taps: Mapping[str, tap.Tap] | TapSearch) -> Outputs:
        """One forward pass of the view, with some of its modules tapped, or the search for points to tap.

        Raises:
            ModelError: the model failed.
        """
        now = taps if isinstance(taps, TapSearch) else tap.Pass(taps, self.view.tap_points, self.parts)
        # The model may write into what it is given, so that every pass is given tensors of its own.
        if isinstance(inputs, torch.Tensor):
            inputs = inputs.clone()
        else:
            inputs = pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, inputs)
        # Innermost is what takes a snapshot: it is of the state that the model itself meets.
        with self._alone(), called_plainly, tap.running(now), self.view.guarded():
            try:
                return _called(self.view.root, inputs)
            except Exception as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in tensors_of(inputs))
                raise ModelError(
                    f"the model failed on inputs of shape {shapes}: {type(error).__name__}: {error} "
                    "(`inputs` is a batch, as the model's own forward takes it; pass a single image as inputs[None], "
                    f"and arguments by their names as a dict){as_photos(tensors_of(inputs))}"
                ) from error

    def _alone(self) -> contextlib.AbstractContextManager[object]:
        """Where passes write, or may, one at a time: each starts from the user's state, and puts it back."""
        writes = not self.view.observed or self.view.changes_state
        if not writes and not self.view.is_shared:
            return _BESIDE_OTHERS
        stack = contextlib.ExitStack()
        for lock in [self.lock] * writes + [_shared] * self.view.is_shared:
            stack.enter_context(lock)
        return stack

    def _install(self, modules: Iterable[str]) -> None:
        modules = {*modules}
        if modules <= self._gated and not self.view.tap_points:
            return
        for name in modules:
            if name not in self.view.modules or not name:
                raise unknown("layer", name, filter(None, self.view.modules), "`gradsight layers` lists the good ones.")
        within = {point.module for (name, _), point in self.view.tap_points.items() if name in modules}
        with self.lock:
            tap.install(self.view.modules, {*modules, *within})
            self._gated |= modules

    def _learn(self, inputs: Inputs) -> bool:
        """Find out where outputs are made, once, if something may keep them; whether it is elsewhere than it seems."""
        if self.view.is_learned or not self.view.keeps:
            return False
        with self.lock, with_gradient():
            if self.view.is_learned or not self.view.keeps:
                return False
            looking = self.another()
            modules = {name: module for name, module in looking.view.modules.items() if name}
            hooked = [name for name, module in modules.items() if has_hooks(module)]
            tap.install(modules, modules)
            search = TapSearch(hooked, (x for module in modules.values() for x in module.parameters(recurse=False)))
            self.view.tap_points = search.points(looking.execute(self.from_leaf(inputs)[1], search))
            self.view.is_learned = True
            return bool(self.view.tap_points)


def _called(root: nn.Module, inputs: Inputs) -> Outputs:
    """What a model gives for inputs: a dict holds arguments by name, a tuple or list by position."""
    if isinstance(inputs, dict):
        return root(**inputs)
    return root(*inputs) if isinstance(inputs, list | tuple) else root(inputs)
