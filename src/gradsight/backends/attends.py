"""What each framework adds to see attention: the part of `backend.ModelBackend` that methods of attention need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic

from gradsight.attention import Attended
from gradsight.backends.passes import ForwardT, ModelPass
from gradsight.foreign import Array, Inputs


class Attends(ABC, Generic[ForwardT]):
    """Passes in which attention is seen. A call is counted by when it ran in the pass, from 0."""

    @abstractmethod
    def attention(self, inputs: Inputs) -> Sequence[Array]:
        """The weights of every attention in one pass without a graph, as `attention.Attended` has them.

        Scaled dot products are computed in the open for it, softmax(q k^T) v, and a softmax over the last axis of an
        array (rows, heads, q, k) or (rows, q, k) is taken for an attention, whatever module it is in.
        """

    @abstractmethod
    def attend(self, shared: ModelPass[ForwardT], numbers: Sequence[int]) -> Attended:
        """Run a pass again with every attention seen, and differentiate its scores by the weights of some calls.

        The graph starts at the first of them, so that one call near the model's end costs little beyond the pass.

        Args:
            shared: the pass.
            numbers: the calls to differentiate by, ascending.

        Raises:
            ModelError: it gave other outputs than the pass, or an operator behind the calls has no derivative.
        """

    @abstractmethod
    def block_outputs(self, shared: ModelPass[ForwardT], like: Sequence[int], numbers: Sequence[int]) -> Sequence[str]:
        """By call, the layer that gives the output tokens of its block: the last cut between it and the next call.

        The last block's is a layer of the same kind as those before, so not the final normalisation.

        Args:
            shared: a pass.
            like: the shape of a layer's output whose tokens these are; theirs may differ in channels only.
            numbers: the calls, ascending.

        Raises:
            ModelError: there is no such layer.
        """

    @abstractmethod
    def formation_gradients(
        self, shared: ModelPass[ForwardT], axes: Sequence[int], numbers: Sequence[int], blocks: Sequence[str]
    ) -> Sequence[Array]:
        """By call, d s^l[:, j] / d weights: (j, *weights); see `attention.Attending.formation_gradients`.

        Args:
            shared: the pass.
            axes: of the blocks' outputs, the axis that counts images, and behind it those of the tokens, mostly one.
            numbers: the calls, ascending.
            blocks: by call, the layer that gives its block's output tokens; see `block_outputs`.

        Raises:
            ModelError: a block gave no output, or its output does not depend on the weights.
        """
