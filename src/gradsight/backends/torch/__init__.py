"""PyTorch: any `torch.nn.Module`, and nothing of it is touched (see `view`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import array_api_compat.torch as array_api
import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from gradsight.backends.parts import Part
from gradsight.backends.probe import ModelPass, logits_in
from gradsight.backends.reading import NOTHING, Framework, Known, Reader
from gradsight.backends.torch import probe, tap
from gradsight.backends.torch.biases import Biases
from gradsight.backends.torch.checkpoint import called_plainly
from gradsight.backends.torch.gradients import with_gradient
from gradsight.backends.torch.inputs import image_in, prepared, repeated, with_marks
from gradsight.backends.torch.memory import tensors_of
from gradsight.backends.torch.outputs import private, with_leaves
from gradsight.backends.torch.places import Trial
from gradsight.backends.torch.probe import Forward, pick
from gradsight.backends.torch.reached import has_hooks
from gradsight.backends.torch.rectify import Rectified
from gradsight.backends.torch.tail import Tail, checked_tail, has_rows
from gradsight.backends.torch.trace import record
from gradsight.backends.torch.variation import vary
from gradsight.backends.torch.view import View
from gradsight.backends.trial import Trials
from gradsight.backends.unchanged import unchanged
from gradsight.contracts import Reads, Rows
from gradsight.errors import ModelError, as_photos, unknown
from gradsight.foreign import Inputs, Module, Ops, Outputs
from gradsight.layers import INPUT, Layer, Seen
from gradsight.layouts import Layout, forced_layout, image_layout, layouts
from gradsight.locks import Lock
from gradsight.positions import Positions
from gradsight.recent import PASSES, Recent
from gradsight.targets import ScoreSpec

_shared = Lock()  # for models whose hooks keep outputs in objects of the user's own


def is_torch(model: Module) -> bool:
    """Whether a model is PyTorch's."""
    return isinstance(model, torch.nn.Module)


class TorchModel:
    """`contracts.UserModel` for one `torch.nn.Module`. Threads may share it."""

    def __init__(self, model: torch.nn.Module, known: Known = NOTHING) -> None:
        """Keep the model, and what is known of its scores; nothing is run or copied yet."""
        self._model, self._known = model, known
        self._lock = Lock()
        self._kept: TorchBackend | None = None

    def backend(self) -> TorchBackend:
        """The backend of the model as it is now: the last one, or a new one when the model has changed since."""
        with self._lock:
            if self._kept is None or not self._kept.view.is_current():
                self._kept = TorchBackend(self._model, self._known)
            return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}  # a copy makes its own view, of its own model


class TorchBackend:
    """`contracts.Backend` for one `torch.nn.Module` as it was when this was made. Threads may share it."""

    ops: Ops = SimpleNamespace(**{**vars(array_api), "pick": pick, "private": private})
    channels_last = False
    # What `backends.probe` asks of a framework, where it is no matter of the model.
    no_gradient = staticmethod(torch.no_grad)
    with_gradient = staticmethod(with_gradient)
    detached = staticmethod(torch.Tensor.detach)
    full_precision = staticmethod(probe.full_precision)
    gradients = staticmethod(probe.gradients)
    curvature = staticmethod(probe.curvature)

    def __init__(self, model: torch.nn.Module, known: Known = NOTHING) -> None:
        """Make a view of the model; nothing is run. ``known``: what is known of its scores."""
        self.view = View(model)
        self.rows: Recent[Any, Rows] = Recent()
        self._trials = Trials()
        self.left_out = known.left_out
        self.reader = Reader(Framework(self.ops, self.numpy, lambda: known.left_out), known)
        self.reading, self.scores_in = self.reader.reading, self.reader.scores
        self.dense_in, self.sequence_in = self.reader.dense, self.reader.sequence
        self._model = model
        self._parts: dict[str, Part] = {}
        self._lock = Lock()

    @property
    def was_training(self) -> bool:
        """Whether some part of the user's model is in training mode (it is explained in evaluation mode)."""
        return self.view.was_training

    @property
    def draws(self) -> bool:
        """Whether the model drew random numbers in the passes so far."""
        return self.view.draws

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""
        return unchanged(self.view.stamp)

    def prepare(self, inputs: Inputs) -> Any:
        """Move a batch to the model's device and precision; NumPy arrays become tensors.

        Raises:
            InvalidType: there is no array in ``inputs``.
            InvalidArgument: there is one without values.
        """
        return prepared(inputs, self.view.like)

    def names(self) -> Mapping[str, str]:
        """The names of the model's modules, and the kind of each."""
        return self.view.kinds

    def name_of(self, layer: Any) -> str | None:
        """What a module of the user's is called; of a name the one that the model inside of wrappers has for it.

        Wrappers such as DataParallel put names of their own in front: ``module.0`` is ``0``.
        """
        if not isinstance(layer, str):
            return self.view.name_of(layer) if isinstance(layer, nn.Module) else None
        name, mark, call = layer.partition("#")
        if name in self.view.modules:
            return layer
        wrapped = dict(self._model.named_modules(remove_duplicate=False)).get(name)
        found = None if wrapped is None else self.view.name_of(wrapped)
        return layer if found is None else found + mark + call

    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""
        return self._parts.get(layer.partition("#")[0])

    def count(self, inputs: Inputs) -> int:
        """How many images a batch holds."""
        return len(self.image(inputs))

    def size(self, inputs: Inputs) -> tuple[int, ...]:
        """The image's positions, such as (224, 224).

        Raises:
            ModelError: no input has positions.
        """
        return self.image_layout(inputs).grid

    def channel_axis(self, inputs: Inputs) -> int:
        """Which axis of one image of a batch, without that of the batch, holds its channels."""
        return self.image_layout(inputs).axes[1] - 1

    def image(self, inputs: Inputs) -> torch.Tensor:
        """The image among the inputs, which maps are drawn on: of those with most axes the first.

        Raises:
            ModelError: no input has positions, or the one that has most does not hold floating-point numbers.
        """
        return image_in(inputs)

    def image_layout(self, inputs: Inputs) -> Layout:
        """How the image is laid out, see `layouts.image_layout`."""
        return image_layout(self.image(inputs).shape)

    def kind(self, inputs: Inputs) -> tuple[Any, Any]:
        """What tells inputs apart, whatever the number of rows: how they are nested, in which order, and shapes."""
        leaves, spec = pytree.tree_flatten(inputs)
        return spec, tuple(x.shape[1:] if isinstance(x, torch.Tensor) else type(x) for x in leaves)

    def extras(self, inputs: Inputs) -> tuple[int, ...]:
        """Which tensors beside the image have as many rows, counted in their order."""
        image = self.image(inputs)
        leaves = enumerate(pytree.tree_leaves(inputs))
        return tuple(i for i, x in leaves if x is not image and has_rows(x, len(image)))

    def by_image(self, inputs: Inputs, shared: frozenset[int] | None = None) -> tuple[bool, ...]:
        """Which leaves of the inputs have a row for each image, but for those that are the same for every one."""
        if shared is None:
            found = self.rows.get(self.kind(inputs))
            shared = frozenset() if found is None else found.shared
        n = self.count(inputs)
        return tuple(i not in shared and has_rows(x, n) for i, x in enumerate(pytree.tree_leaves(inputs)))

    def with_image(
        self, inputs: Inputs, image: torch.Tensor, times: int = 1, *, shared: frozenset[int] | None = None
    ) -> Any:
        """The inputs with another image, and ``times`` times as often whatever is by image."""
        old = self.image(inputs)

        def change(x: Any, by_image: bool) -> Any:
            return image.to(x.dtype) if x is old else repeated(x, times) if by_image else x

        return with_marks(change, inputs, self.by_image(inputs, shared))

    def row(self, inputs: Inputs, i: int, times: int = 1, *, shared: frozenset[int] | None = None) -> Any:
        """A batch of image ``i`` and what belongs to it, ``times`` times."""

        def change(x: Any, by_image: bool) -> Any:
            return repeated(x[i : i + 1], times) if by_image else x

        return with_marks(change, inputs, self.by_image(inputs, shared))

    def more(self, inputs: Inputs, times: int) -> Any:
        """The inputs, ``times`` times as often whatever is by image."""
        return self.with_image(inputs, repeated(self.image(inputs), times), times)

    def from_leaf(self, inputs: Inputs) -> tuple[torch.Tensor, Any]:
        """A leaf for the graph to start at, in the place of the image, and the inputs made from it."""
        leaf = self.image(inputs).detach().clone().requires_grad_()
        return leaf, self.with_image(inputs, leaf)

    def forward(self, inputs: Inputs, names: set[str]) -> tuple[Any, dict[str, torch.Tensor]]:
        """Run the model and hold the named layers' outputs, where the graph starts.

        Raises:
            UnknownName: no such layer.
            ModelError: the model failed, or a layer did not run.
        """
        self._learn(inputs)
        found = self._forward(inputs, names)
        return self._forward(inputs, names) if self._learn(inputs) else found

    def _forward(self, inputs: Inputs, names: set[str]) -> tuple[Any, dict[str, torch.Tensor]]:
        whole = names & {INPUT.name}
        names = names - whole
        holder = tap.Holder(names, self.view.calls)
        self._install(holder.modules)
        if whole:
            holder.held[INPUT.name], inputs = self.from_leaf(inputs)
        with contextlib.nullcontext() if names or whole else torch.no_grad():
            outputs = self._execute(inputs, dict.fromkeys(holder.modules, holder))
        self.view.calls.update(holder.calls)
        missing = sorted(names - set(holder.held))
        if missing:
            ran = holder.calls[missing[0].partition("#")[0]]
            raise ModelError(
                f"layer {missing[0]!r} was not reached: its module ran {ran} time(s) in this forward pass. "
                "Name another layer, or another call (name#0 is the first)."
            )
        return outputs, holder.held

    def outputs(self, inputs: Inputs) -> Any:
        """Run the model."""
        with torch.inference_mode(False):
            return self._execute(inputs, {})

    def varied(self, inputs: Inputs, seed: int) -> Any:
        """What the model gives for another first image by other weights; None where it fails by them."""
        with torch.inference_mode(False):
            return vary(TorchBackend(self._model), inputs, seed)

    def run(
        self, inputs: Inputs, layers: Sequence[Layer], targets: Any, batch_size: int = 32, *, rule: str | None = None
    ) -> ModelPass:
        """Push a batch through; see `contracts.Backend.run`.

        ``targets`` may be `ScoreSpec` already; ``rule`` says how gradients pass rectifiers, see `rectify.Rectified`.
        """
        with with_gradient():
            with contextlib.nullcontext() if rule is None else Rectified(rule) as rectified:
                outputs, held = self.forward(inputs, {layer.name for layer in layers})
            if rectified is not None:
                rectified.check(self.view.quantized)
            found = {layer.name: self.layout(layer, held[layer.name].shape, inputs) for layer in layers}
            return ModelPass(self, Forward(inputs, outputs, held, found, rule, batch_size), targets)

    def biases(self, shared: ModelPass) -> Biases:
        """See a pass again, with every innermost module's own contribution."""
        with with_gradient():
            looking = TorchBackend(self._model)  # its own hooks and settings, see `trace`
            _, inputs = self.from_leaf(shared.inputs)
            positions = self.positions(shared.inputs)
            return Biases(
                looking.view.modules,
                lambda: shared.score(looking._execute(inputs, {})),
                lambda name, shape: positions.layouts_of(name, shape, self.count(inputs), self.size(inputs)),
                self.count(inputs),
                self.size(inputs),
                self.ops,
            )

    def trace(self, inputs: Inputs, targets: Any) -> list[Seen]:
        """Run the first image once, with every module seen; ``targets`` settles the score as in `run`."""
        with with_gradient():
            first = self.row(inputs, 0)
            source, fed = self.from_leaf(first)
            looking = self._looking(first)
            settled: list[Any] = []  # by the image itself, for the others that it may be compared with

            def run(taps: dict[str, tap.Tap], image: torch.Tensor) -> torch.Tensor:
                outputs = looking._execute(fed if image is source else self.with_image(fed, image), taps)
                settled.append(settled[0] if settled else targets(logits_in(self, first, outputs), outputs))
                score: torch.Tensor = settled[0].scores(outputs, self.scores_in(outputs), self.ops)[:, 0]
                return score.sum()

            return record(looking.view, run, source, self.positions(inputs).layouts)

    def positions(self, inputs: Inputs) -> Positions:
        """How the layers' outputs are laid out, found out by a trial, once for each kind of inputs."""
        return self._trials.of(self, inputs)

    def _looking(self, inputs: Inputs) -> TorchBackend:
        """A backend to tap every module of: a hook on each, even one that sleeps, would slow down all later passes."""
        looking = TorchBackend(self._model)
        self._learn(inputs)
        looking.view.places = {key: x for key, x in self.view.places.items() if key[0] == x.module}
        return looking

    def watch(self, several: Sequence[Any], see: Callable[[int, str, torch.Tensor | None], None]) -> None:
        """Run several inputs one after the other; ``see(number, call, output)`` sees what each call of modules gave."""
        looking = self._looking(several[0])
        refused = {name for (name, _), place in looking.view.places.items() if place.refused}
        names = [name for name in looking.view.modules if name and name not in refused]
        tap.install(looking.view.modules, names)
        with torch.inference_mode(False), torch.no_grad():
            for number, inputs in enumerate(several):
                looking._execute(inputs, dict.fromkeys(names, tap.numbered(partial(see, number))))

    def usual(self, _call: str, shape: tuple[int, ...], inputs: Inputs) -> Sequence[Layout]:
        """The layouts that a call's output of ``shape`` would have by its shape, for one image."""
        return layouts(shape, 1, self.size(inputs))

    def layout(self, layer: Layer, shape: Sequence[int], inputs: Inputs) -> Layout:
        """How a layer's output is laid out: as the user says, as was found, or as its shape tells."""
        if layer.name == INPUT.name:
            return self.image_layout(inputs)
        if layer.order is not None or layer.grid is not None:
            return forced_layout(shape, layer.order, layer.grid)
        if layer.layout is not None:
            return layer.layout
        return self.positions(inputs).layout(layer.name, shape, self.count(inputs), self.size(inputs))

    def tail(
        self, name: str, raw: torch.Tensor, axis: int, forward: Forward, times: int, *, traced: bool = True
    ) -> Any:
        """The model's output where layer ``name`` gives ``raw``, ``times`` rows for each image of ``forward``.

        A graph of the tail alone runs, traced once. Where there is none, and if not ``traced``, the whole model runs
        with the layer's output replaced, its attention the plain one that has a second derivative.
        """
        raw = raw.contiguous()
        with torch.inference_mode(False):
            if not traced:
                with sdpa_kernel(SDPBackend.MATH):
                    return self._replay(name, self.more(forward.inputs, times), raw.clone())
            if name not in forward.tails:
                with torch.no_grad():
                    forward.tails[name] = self._believed(name, axis, forward)
            believed = forward.tails[name]
            if believed is None:
                return self._replay(name, self.more(forward.inputs, times), raw.clone())
            tail, bypasses = believed
            return tail(raw, bypasses, times)

    @staticmethod
    def numpy(array: torch.Tensor) -> np.ndarray[Any, Any]:
        """Copy to NumPy: float64 stays, everything else becomes float32."""
        array = array.detach()
        return (array if array.dtype == torch.float64 else array.float()).cpu().numpy()

    def reads(self, outputs: Outputs, resolved: ScoreSpec) -> Reads:
        """Which tensors of an output targets read; see `contracts.Backend.reads`."""
        if resolved.of_classes:
            return "classes"
        with with_gradient():
            fresh, leaves = with_leaves(outputs)
            scores = resolved.scores(fresh, self.scores_in(fresh), self.ops)
            grads = torch.autograd.grad(scores.sum(), leaves, allow_unused=True) if scores.requires_grad else ()
        return tuple((i, _reaches(grad)) for i, grad in enumerate(grads) if grad is not None)

    def _install(self, modules: Any) -> None:
        for name in modules:
            if name not in self.view.modules or not name:
                raise unknown("layer", name, filter(None, self.view.modules), "`gradsight layers` lists the good ones.")
        within = {place.module for (name, _), place in self.view.places.items() if name in modules}
        with self._lock:
            tap.install(self.view.modules, {*modules, *within})

    def _learn(self, inputs: Inputs) -> bool:
        """Find out where outputs are made, once, if something may keep them; whether it is elsewhere than it seems."""
        with self._lock, with_gradient():
            if self.view.is_learned or not self.view.keeps:
                return False
            looking = TorchBackend(self._model)
            modules = {name: module for name, module in looking.view.modules.items() if name}
            hooked = [name for name, module in modules.items() if has_hooks(module)]
            tap.install(modules, modules)
            trial = Trial(hooked, (x for module in modules.values() for x in module.parameters(recurse=False)))
            self.view.places = trial.places(looking._execute(self.from_leaf(inputs)[1], trial))
            self.view.is_learned = True
            return bool(self.view.places)

    def _execute(self, inputs: Inputs, taps: Any) -> Any:
        """One forward pass of the view, with some of its modules tapped, or a trial.

        The model may write into what it is given, so that every pass is given tensors of its own.
        """
        now = taps if isinstance(taps, Trial) else tap.Pass(taps, self.view.places, self._parts)
        inputs = pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, inputs)
        with contextlib.ExitStack() as stack:
            if not self.view.observed or self.view.changes_state:
                stack.enter_context(self._lock)
            if self.view.is_shared:
                stack.enter_context(_shared)
            stack.enter_context(called_plainly())
            stack.enter_context(tap.running(now))
            stack.enter_context(self.view.guarded())
            try:
                if isinstance(inputs, dict):
                    return self.view.root(**inputs)
                return self.view.root(*inputs) if isinstance(inputs, list | tuple) else self.view.root(inputs)
            except Exception as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in tensors_of(inputs))
                raise ModelError(
                    f"the model failed on inputs of shape {shapes}: {type(error).__name__}: {error} "
                    "(`inputs` is a batch, as the model's own forward takes it; pass a single image as inputs[None], "
                    f"and arguments by their names as a dict){as_photos(tensors_of(inputs))}"
                ) from error

    def _replay(self, name: str, inputs: Inputs, raw: torch.Tensor) -> Any:
        module, _, call = name.partition("#")
        wanted = int(call) if call else self.view.calls[module] - 1
        return self._execute(inputs, {module: tap.replacing(raw, wanted)})

    def _believed(self, name: str, axis: int, forward: Forward) -> tuple[Tail, tuple[torch.Tensor, ...]] | None:
        """The traced tail, which gives this pass's outputs again, with what bypasses it; None where there is none."""
        held = forward.held[name]
        if held.shape[axis] != self.count(forward.inputs):
            return None  # rows are frames: how many belong to an image is no matter of the tail alone
        device = held.device.type
        precision = (held.dtype, device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        sizes = tuple(x.shape[1:] for x in tensors_of(forward.inputs))
        key = (name, axis, tuple(s for i, s in enumerate(held.shape) if i != axis), sizes, *precision)
        with self._lock:
            tails = self.view.tails.of(sizes, partial(Recent, PASSES))
            kept = tails.get(key)
            if kept is not None:
                bypasses = kept.bypasses(forward.inputs, held)
                if kept.gives(forward.outputs, held, bypasses):
                    return kept, bypasses
            if kept is not None or key not in tails:
                tails[key] = kept = checked_tail(
                    lambda fed, z: self._replay(name, fed, z),
                    forward.inputs,
                    forward.outputs,
                    held,
                    axis,
                    self.by_image(forward.inputs),
                )
            return None if kept is None else (kept, kept.bypasses(forward.inputs, held))


def _reaches(gradient: torch.Tensor) -> bool:
    """Whether more than one channel of an output has a gradient."""
    if gradient.ndim < 2:
        return False
    return int(torch.count_nonzero(gradient.movedim(1, 0).flatten(1).any(1))) > 1
