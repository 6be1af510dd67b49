"""A PyTorch model as it is now."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from gradsight.attention import Attended
from gradsight.backends.ablation import Ablation
from gradsight.backends.backend import ModelBackend
from gradsight.backends.passes import ModelPass, Targets, logits_in
from gradsight.backends.reading import NOTHING, Known
from gradsight.backends.torch import attention, derivatives, tap
from gradsight.backends.torch.ablated import ablated_rows
from gradsight.backends.torch.biases import Biases
from gradsight.backends.torch.derivatives import TorchForward
from gradsight.backends.torch.gradients import ClassGradients, with_gradient
from gradsight.backends.torch.inputs import TorchBatches, prepared
from gradsight.backends.torch.linear import is_piecewise_linear
from gradsight.backends.torch.ops import OPS, full_precision, numpy_of
from gradsight.backends.torch.outputs import with_leaves
from gradsight.backends.torch.precision import is_coarse
from gradsight.backends.torch.randomising import holders, randomise
from gradsight.backends.torch.rectify import Rectifiers
from gradsight.backends.torch.running import Running
from gradsight.backends.torch.tails import Tails
from gradsight.backends.torch.trace import record
from gradsight.backends.torch.variation import vary
from gradsight.backends.trial import See
from gradsight.backends.unchanged import Value, of_one_moment, unchanged
from gradsight.contracts import TRUE, Floats, Part, Resolve
from gradsight.foreign import Array, Inputs, Module, Outputs
from gradsight.layers import INPUT, Layer, Seen
from gradsight.layouts import Layout, layouts
from gradsight.targets import ScoreSpec


class TorchBackend(ModelBackend[TorchForward]):
    """`contracts.Backend` for one `torch.nn.Module` as it was when this was made. Threads may share it."""

    ops = OPS
    channels_last = False
    one_graph = True
    mark = "."
    numpy = staticmethod(numpy_of)
    full_precision = staticmethod(full_precision)
    is_coarse = staticmethod(is_coarse)
    detached = staticmethod(torch.Tensor.detach)
    no_gradient = staticmethod(torch.no_grad)
    with_gradient = staticmethod(with_gradient)
    curvature = staticmethod(derivatives.curvature)

    def __init__(self, model: nn.Module, known: Known = NOTHING) -> None:
        """Make a view of the model; nothing is run. ``known``: what is known of its scores."""
        batches = TorchBatches()
        super().__init__(batches, known, lambda: known.left_out)
        self.running = Running(model, batches)
        self.view = self.running.view
        self._model, self._left_out = model, known.left_out
        self._tails = Tails(self.running)

    @property
    def was_training(self) -> bool:
        """Whether some part of the user's model is in training mode (it is explained in evaluation mode)."""
        return self.view.was_training

    @property
    def draws(self) -> bool:
        """Whether the model drew random numbers in the passes so far."""
        return self.view.draws

    @property
    def left_out(self) -> str:
        """The activation at the model's end that its source has left out to have logits; empty if none."""
        return self._left_out

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the model's weights within it; else a `ModelError` says so."""
        return unchanged(self.view.stamp)

    def of_one_moment(self, make: Callable[[], Value]) -> Value:
        """What ``make()`` gives, of weights that stayed as they are while it ran; see `unchanged.of_one_moment`."""
        return of_one_moment(make, self.view.stamp, self.view.known_stamp())

    def prepare(self, inputs: Inputs) -> Inputs:
        """Move a batch to the model's device and precision; NumPy arrays become tensors.

        Raises:
            InvalidType: there is no array in ``inputs``.
            InvalidArgument: there is one without values.
        """
        return prepared(inputs, self.view.like)

    def names(self) -> Mapping[str, str]:
        """The names of the model's modules, and the kind of each."""
        return self.view.kinds

    def name_of(self, layer: str | Module) -> str | None:
        """What a module of the user's is called; of a name the one that the model inside of wrappers has for it.

        Wrappers such as DataParallel put names of their own in front: ``module.0`` is ``0``.
        """
        if not isinstance(layer, str):
            return self.view.name_of(layer) if isinstance(layer, nn.Module) else None
        name, mark, call = layer.partition("#")
        if name in self.view.modules:
            return layer
        wrapped = dict(self._model.named_modules(remove_duplicate=False)).get(name)
        inside = None if wrapped is None else self.view.name_of(wrapped)
        return layer if inside is None else inside + mark + call

    def part(self, layer: str) -> Part | None:
        """Of a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""
        return self.running.parts.get(layer.partition("#")[0])

    def call_of(self, layer: str) -> str:
        """The name that the positions know a layer by: its own."""
        return layer

    def usual(self, _call: str, shape: tuple[int, ...], inputs: Inputs) -> Sequence[Layout]:
        """The layouts that a call's output of ``shape`` would have by its shape, for one image."""
        return layouts(shape, 1, self.size(inputs))

    def outputs(self, inputs: Inputs) -> Outputs:
        """Run the model."""
        return self.running.outputs(inputs)

    def varied(self, inputs: Inputs, seed: int) -> Outputs | None:
        """What the model gives for another first image by other weights; None where it fails by them."""
        with torch.inference_mode(False):
            return vary(self.running.another(), inputs, seed)

    def holders(self) -> Sequence[str]:
        """The names of the modules that hold weights of their own; ``""`` for the model itself."""
        return holders(self.view)

    def randomised(self, layers: Collection[str], seed: int) -> TorchBackend:
        """The same model with other weights in some layers; see `contracts.Probe.randomised`."""
        other = copy.copy(self)  # but for the view: all else is a matter of how the model is built
        other.running = Running(self._model, self.running.batches, lambda view: randomise(view, layers, seed))
        other.view, other._tails = other.running.view, Tails(other.running)
        other.view.calls.update(self.view.calls)
        return other

    def run(
        self,
        inputs: Inputs,
        layers: Sequence[Layer],
        targets: Targets,
        batch_size: int = 32,
        *,
        rule: str | None = None,
    ) -> ModelPass[TorchForward]:
        """Push a batch through; see `contracts.Backend.run`.

        Targets may be resolved already; ``rule`` says how gradients pass rectifiers, see `rectify.Rectifiers`; with
        one the graph starts at the image.
        """
        wanted, rectifiers = {layer.name for layer in layers}, None
        if rule is not None:
            wanted, rectifiers = {*wanted, INPUT.name}, Rectifiers()
        with with_gradient():
            with rectifiers or contextlib.nullcontext():
                outputs, leaves, is_hooked = self.running.forward(inputs, wanted)
            if rectifiers is not None and rule not in (None, TRUE):
                rectifiers.check(self.view.quantized, str(rule))
            source = leaves.pop(INPUT.name) if INPUT.name in leaves and len(leaves) > 1 else None
            laid_out = {
                layer.name: self.layout(layer, leaves[layer.name].shape, inputs)
                for layer in layers
                if layer.name in leaves
            }
            by_class = ClassGradients(None if is_hooked else self.view.in_parts)
            forward = TorchForward(
                inputs, outputs, leaves, laid_out, rule, batch_size, by_class, source=source, rectifiers=rectifiers
            )
            return ModelPass(self, forward, targets)

    def from_input(self, shared: ModelPass[TorchForward]) -> ModelPass[TorchForward]:
        """A pass, differentiated from the input on: along the graph that it has, where that starts there."""
        forward = shared.forward
        if forward.source is None:
            return super().from_input(shared)
        layouts = {INPUT.name: self.batches.image_layout(shared.inputs)}
        return self._other(shared, replace(forward, leaves={INPUT.name: forward.source}, layouts=layouts, source=None))

    def ruled(self, shared: ModelPass[TorchForward], layer: Layer, rule: str) -> ModelPass[TorchForward]:
        """A pass with gradients that pass rectifiers by a rule: the same graph, where its rectifiers were noted."""
        rectifiers = shared.forward.rectifiers
        if rectifiers is None:
            return super().ruled(shared, layer, rule)
        rectifiers.check(self.view.quantized, rule)
        seen = shared if layer.name in shared.leaves else shared.from_input
        return self._other(seen, replace(seen.forward, rule=rule))

    def _other(self, shared: ModelPass[TorchForward], forward: TorchForward) -> ModelPass[TorchForward]:
        """The same targets, looked at in another way."""
        with with_gradient():
            return ModelPass(self, replace(forward, by_class=ClassGradients()), shared.targets)

    def gradients(self, shared: ModelPass[TorchForward]) -> dict[str, Array]:
        """By leaf of a pass, d scores[:, k] / d output: (k, *output)."""
        forward = shared.forward
        with contextlib.nullcontext() if forward.rectifiers is None else forward.rectifiers.by(forward.rule):
            return derivatives.gradients(shared, self.view.quantized)

    def is_piecewise_linear(self, shared: ModelPass[TorchForward], leaf: str) -> bool:
        """Whether the scores of a pass have no second derivative by a leaf other than zero, as far as is known."""
        return leaf in shared.leaves and is_piecewise_linear(shared.graph, shared.leaves[leaf])

    def tail(
        self, name: str, raw: torch.Tensor, axis: int, forward: TorchForward, times: int, *, traced: bool = True
    ) -> Outputs:
        """The model's output where a layer gives ``raw``; see `tails.Tails`."""
        return self._tails.outputs(name, raw, axis, forward, times, traced=traced)

    def ablated(self, name: str, ablations: Iterable[Ablation], shared: ModelPass[TorchForward]) -> Iterator[Array]:
        """The scores (m * n, k) of a pass where channels of a layer are off, by ablation."""
        for ablation, rows in ablated_rows(ablations):
            outputs = self.tail(name, rows, ablation.axis, shared.forward, len(ablation.groups))
            yield shared.score(outputs)  # gathered or stacked: no part of the rows, that are written into again

    def output_slopes(self, function: Callable[[Outputs], Array], outputs: Outputs) -> list[Floats | None]:
        """The gradient of ``function(outputs)``, summed, by each floating-point tensor; None where it reads none."""
        with with_gradient():
            fresh, leaves = with_leaves(outputs)
            scores = function(fresh)
            grads = torch.autograd.grad(scores.sum(), leaves, allow_unused=True) if scores.requires_grad else ()
        return [None if grad is None else numpy_of(grad) for grad in grads]

    def biases(self, shared: ModelPass[TorchForward]) -> Biases:
        """See a pass again, with every innermost module's own contribution."""
        with with_gradient():
            # A view of its own, whose hooks end with it: even hooks that were removed leave modules slower.
            looking = self.running.another()
            _, inputs = self.running.from_leaf(shared.inputs)
            positions, count, size = self.positions(shared.inputs), self.count(inputs), self.size(inputs)
            return Biases(
                looking.view.modules,
                lambda: shared.score(looking.execute(inputs, {})),
                lambda name, shape: positions.layouts_of(name, shape, count, size),
                count,
                size,
                self.ops,
            )

    def trace(self, inputs: Inputs, targets: Resolve) -> list[Seen]:
        """Run the first image once, with every module seen; ``targets`` resolves the score as in `run`."""
        with with_gradient():
            first = self.row(inputs, 0)
            source, fed = self.running.from_leaf(first)
            looking = self.running.looking(first)
            resolved: list[ScoreSpec] = []  # by the image itself, for the others that it may be compared with

            def run(taps: Mapping[str, tap.Tap], image: torch.Tensor) -> torch.Tensor:
                # The image itself is a leaf; others, that it is compared with, need no graph.
                batch = fed if image is source else self.batches.with_image(fed, image)
                outputs = looking.execute(batch, taps)
                resolved[:] = resolved or [targets(logits_in(self, first, outputs), outputs)]
                score: torch.Tensor = resolved[0].scores(outputs, self.scores_in(outputs), self.ops)[:, 0]
                return score.sum()

            return record(looking.view, run, source, self.positions(inputs).layouts)

    def attention(self, inputs: Inputs) -> list[torch.Tensor]:
        """The weights of every attention in one pass without a graph."""
        return attention.seen(self.running, inputs)

    def attend(self, shared: ModelPass[TorchForward], numbers: Sequence[int]) -> Attended:
        """Run a pass again with every attention seen; see `attends.Attends.attend`."""
        return attention.attend(self.running, shared, numbers)

    def block_outputs(
        self, shared: ModelPass[TorchForward], like: Sequence[int], numbers: Sequence[int]
    ) -> Sequence[str]:
        """By call, the layer that gives the output tokens of its block; see `attends.Attends.block_outputs`."""
        return attention.block_outputs(self, shared, like, numbers)

    def formation_gradients(
        self, shared: ModelPass[TorchForward], axes: Sequence[int], numbers: Sequence[int], blocks: Sequence[str]
    ) -> Sequence[torch.Tensor]:
        """By call, d s^l[:, j] / d weights; see `attends.Attends.formation_gradients`."""
        return attention.formation_gradients(self, shared, axes, numbers, blocks)

    def watch(self, several: Sequence[Inputs], see: See) -> None:
        """Run several inputs one after the other; ``see(number, call, output)`` sees what each call of modules gave."""
        looking = self.running.looking(several[0])
        refused = {name for (name, _), point in looking.view.tap_points.items() if point.refused}
        names = [name for name in looking.view.modules if name and name not in refused]
        tap.install(looking.view.modules, names)
        with torch.inference_mode(False), torch.no_grad():
            for number, inputs in enumerate(several):
                looking.execute(inputs, dict.fromkeys(names, tap.numbered(partial(see, number))))
