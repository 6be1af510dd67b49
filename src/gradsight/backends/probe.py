"""What methods see of one layer in a pass, on any framework."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradsight.backends.ablation import Ablation
from gradsight.backends.attention import LayerAttending
from gradsight.backends.pieces import pieces, scores
from gradsight.cached import cached_property
from gradsight.foreign import Array, Inputs
from gradsight.layers import INPUT, Layer
from gradsight.layouts import Layout
from gradsight.targets import ScoreSpec

if TYPE_CHECKING:
    from gradsight.backends.backend import ModelBackend
    from gradsight.backends.passes import ModelPass


class LayerProbe:
    """One layer of a pass. The properties are those of `contracts.Probe`.

    Attributes:
        leaf: the layer's name among the leaves of passes.
        layout: how its output is laid out.
    """

    def __init__(self, shared: ModelPass[Any], leaf: str, layout: Layout) -> None:
        """See a layer, whose output is laid out as ``layout``, in a pass."""
        self._pass, self.leaf, self.layout = shared, leaf, layout
        self._backend, self._ops = shared.backend, shared.backend.ops
        self.name = "input" if leaf == INPUT.name else leaf
        self.scores, self.targets, self.logits = shared.scores, shared.targets, shared.logits
        self.spatial = tuple(range(-len(layout.grid), 0))

    @property
    def batch_size(self) -> int:
        """How many rows may go through the model at once; one, where rows influence each other."""
        return 1 if self._pass.rows.apart else self._pass.forward.batch_size

    @property
    def _raw(self) -> Array:
        """The layer's output as the model lays it out."""
        leaf = self._pass.leaves.get(self.leaf)
        # Of the input there is a leaf only where a gradient was asked for: its activations are the image in any case.
        return self._backend.batches.image(self._pass.inputs) if leaf is None else self._backend.detached(leaf)

    @cached_property
    def activations(self) -> Array:
        """The layer's output: (n, c, *s)."""
        return self._backend.full_precision(self.layout.fold(self._raw, self._ops))

    @property
    def _raw_gradients(self) -> Array:
        """d scores[:, k] / d output, as the model lays it out: (k, *output)."""
        shared = self._pass if self.leaf in self._pass.leaves else self._pass.from_input
        return shared.gradients[self.leaf]

    @cached_property
    def gradients(self) -> Array:
        """d scores[n, k] / d activations[n]: (n, k, c, *s)."""
        folded = self.layout.fold(self._raw_gradients, self._ops)
        return self._backend.full_precision(self._ops.moveaxis(folded, 0, 1))

    @cached_property
    def alphas(self) -> Array:
        """The mean of the gradients over positions: (n, k, c)."""
        return self._over_positions(self._ops.mean)

    @property
    def highest(self) -> Array:
        """The highest gradient of each channel over positions: (n, k, c)."""
        return self._over_positions(self._ops.max)

    def _over_positions(self, reduced: Callable[..., Array]) -> Array:
        if not self.layout.is_channels_last:
            return reduced(self.gradients, axis=self.spatial)
        # As they are laid out: of many targets a copy with the channels first takes longer than their mean.
        raw = self._backend.full_precision(self._raw_gradients)
        return self._ops.moveaxis(reduced(raw, axis=tuple(range(2, raw.ndim - 1))), 0, 1)

    def tail(self, activations: Array, *, traced: bool = True) -> Array:
        """Scores of other activations: (m, c, *s) -> (m, k); row j belongs to image j % n."""
        with self._backend.no_gradient():
            return self._tail(activations, traced=traced)

    def _tail(self, activations: Array, *, traced: bool = True) -> Array:
        raw, shared, backend = self._raw, self._pass, self._backend
        times = self._times(activations)
        axis = self.layout.axes[0]
        # Tokens that are no position stay those of each image; a layout without any needs no copies to take them from.
        like = self._ops.concat([raw] * times, axis=axis) if self.layout.extra else raw
        value = self.layout.unfold(self._ops.astype(activations, raw.dtype), like, self._ops)
        if self.leaf == INPUT.name:
            return scores(shared, backend.batches.with_image(shared.inputs, value, times))
        return shared.score(backend.tail(self.leaf, value, axis, shared.forward, times, traced=traced))

    def without_channels(self, groups: NDArray[np.intp]) -> Array:
        """Scores where some channels are 0: numbers of channels (m, g) -> (m * n, k); row j belongs to image j % n."""
        ops, n = self._ops, len(self.scores)
        if self.leaf == INPUT.name:
            folded = Ablation(self.activations, None, 0, 1, groups)
            return ops.concat([self.tail(x.rows(ops)) for x in folded.by_round(n, self.batch_size)], axis=0)
        # In the layer's own layout: what is laid out otherwise would be copied in each round.
        ablation = Ablation.of(self._raw, self.activations, self.layout, groups, ops)
        with self._backend.no_gradient():
            rounds = ablation.by_round(n, self.batch_size)
            return ops.concat(list(self._backend.ablated(self.leaf, rounds, self._pass)), axis=0)

    def _times(self, rows: Array) -> int:
        n = len(self._pass.scores)
        times, rest = divmod(len(rows), n)
        if rest:
            raise ValueError(f"further rows must be a multiple of the batch's {n} rows. Received: {len(rows)}.")
        return times

    def curvature(self, direction: Array) -> Array:
        """The Hessian of each score times ``direction``: (n, c, *s) -> (n, k, c, *s)."""
        if self._backend.is_piecewise_linear(self._pass, self.leaf):
            zero = self._ops.zeros_like(direction)[:, None]
            return self._ops.broadcast_to(zero, (len(zero), self.scores.shape[1], *direction.shape[1:]))
        return self._backend.curvature(self._tail, self.activations, direction, self.name)

    @cached_property
    def attending(self) -> LayerAttending:
        """How the layer's tokens reach the scores by attention."""
        return LayerAttending(self._pass, self.leaf, self._raw.shape, self.layout)

    @property
    def attention(self) -> tuple[Array, ...]:
        """The weights of each self-attention over the layer's tokens, in the order they ran: (n, heads, t, t)."""
        return tuple(call.weights for call in self.attending.calls if call.is_of_tokens)

    @property
    def attention_gradients(self) -> tuple[Array, ...]:
        """By block, d scores[n, k] / d attention[n]: (n, k, heads, t, t)."""
        gradients = self.attending.gradients  # first: the pass that gives them gives the weights too
        return tuple(x for x, call in zip(gradients, self.attending.calls, strict=True) if call.is_of_tokens)

    @property
    def image(self) -> LayerProbe:
        """The model's input, seen as a layer."""
        return self._pass.image

    @property
    def layers(self) -> Sequence[LayerProbe]:
        """The probes of all the layers of this pass."""
        return self._pass.probes

    def with_images(self, images: Array) -> LayerProbe:
        """The same layer and targets for other images; row j belongs to image j % n."""
        shared, inputs = self._pass, self._inputs(images)
        times = self._times(images)
        return self._same_in(shared.again(self._seen, inputs=inputs, times=times, rule=shared.forward.rule))

    def in_pieces(self, images: Array) -> Iterator[LayerProbe]:
        """The same as `with_images`, as many rows at a time as pass the model quickest, in their order."""
        return self._in_pieces(self._backend, self._inputs(images))

    def _inputs(self, images: Array) -> Inputs:
        """The inputs with other images, (m, c, *positions)."""
        image = self._pass.image
        raw = image.layout.unfold(images, image._raw, self._ops)
        return self._backend.batches.with_image(self._pass.inputs, raw, self._times(images))

    def _in_pieces(self, backend: ModelBackend[Any], inputs: Inputs) -> Iterator[LayerProbe]:
        size, rule = self._pass.forward.batch_size, self._pass.forward.rule
        for piece in pieces(self._pass, inputs):
            yield self._same_in(backend.run(piece.inputs, self._seen, piece.targets, size, rule=rule))

    @property
    def weighted(self) -> tuple[tuple[str, ...], ...]:
        """By layer, as they run, the names of all whose weights it uses."""
        return self._backend.weighted(self._pass.inputs)

    def randomised(self, layers: Collection[str], seed: int) -> LayerProbe:
        """The same layer, images and targets, where some layers have lost what they learned."""
        shared = self._pass
        other = self._backend.randomised(layers, seed)
        size, rule = shared.forward.batch_size, shared.forward.rule
        return self._same_in(other.run(shared.inputs, self._seen, shared.targets, size, rule=rule))

    def randomised_in_pieces(self, layers: Collection[str], seed: int) -> Iterator[LayerProbe]:
        """The same as `randomised`, some rows at a time."""
        return self._in_pieces(self._backend.randomised(layers, seed), self._pass.inputs)

    @property
    def _seen(self) -> list[Layer]:
        """All layers of the pass, since a method may go on to ask for `layers`.

        With the layouts that are known, so that no trial is made of other images.
        """
        known = [Layer(probe.leaf, layout=probe.layout) for probe in (*self.layers, self)]
        return list({layer.name: layer for layer in known}.values())

    def _same_in(self, again: ModelPass[Any]) -> LayerProbe:
        """This layer in another pass."""
        return next((probe for probe in again.probes if probe.leaf == self.leaf), again.image)

    def with_targets(self, targets: ScoreSpec) -> LayerProbe:
        """The same forward pass, with other targets explained."""
        shared = self._pass.with_targets(targets)
        return next((probe for probe in shared.probes if probe.leaf == self.leaf), shared.image)

    def rectified(self, rule: str) -> LayerProbe:
        """The same, where gradients pass rectifiers by another rule."""
        ruled = self._pass.ruled(Layer(self.leaf, layout=self.layout), rule)
        return next(probe for probe in ruled.probes if probe.leaf == self.leaf)

    def bias_terms(self, target: int) -> Iterator[Array]:
        """What each module adds by itself to the score of one target, (n, c, *s), module by module."""
        return self._pass.biases.terms(target)
