"""What is seen of a model's attention in a pass: its calls, which tokens the scores read, and how tokens fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gradsight.errors import ModelError
from gradsight.foreign import Array

TOKENS = 0
"""The sequence of the layer's tokens, as `AttentionCall` counts sequences."""


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention in a pass.

    Sequences are counted: 0 is that of the layer's tokens, others (the words of a text, the queries of a decoder or of
    a pool) have the next numbers. Where ``queries`` and ``keys`` are one sequence, it is self-attention.

    Attributes:
        weights: (n, heads, q, k), float32 (float64 where the model is); every row sums to 1.
        queries: the sequence that asks, of q tokens.
        keys: the sequence that is asked, of k tokens.
        number: which of the pass's calls it is, from 0; those that say nothing of the layer's tokens count too.
    """

    weights: Array
    queries: int
    keys: int
    number: int

    @property
    def is_of_tokens(self) -> bool:
        """Whether it is self-attention over the layer's tokens."""
        return self.queries == self.keys == TOKENS


class NoAttention(ModelError):
    """The model has no attention over the layer's tokens, or not over them alone."""


class Attending(Protocol):
    """How the layer's tokens reach the scores of a pass by attention. All is computed at first use and then kept.

    n images, k targets, t tokens of the layer: those of its grid, and class, register and distillation tokens, in the
    order of its output.

    Raises:
        NoAttention: of every property that runs the model: it has no attention, or its tokens are not the layer's.
    """

    @property
    def calls(self) -> Sequence[AttentionCall]:
        """The calls between the layer's tokens and the scores, in the order they ran.

        All self-attention over the layer's tokens, from the model's first block on. If other sequences ask them
        (cross attention, an attention pool), their calls too. A tower that never asks them, as CLIP's text tower, has
        none here.
        """

    @property
    def gradients(self) -> Sequence[Array]:
        """By call, d scores[n, k] / d weights[n]: (n, k, heads, q, keys); one more pass, one batched backward pass."""

    @property
    def read(self) -> Array:
        """Which tokens of the last call's ``queries`` the scores read, as shares: (n, k, q), of sum 1.

        Found out by a trial: where the gradient of a score by a row of the last call's weights is not zero, its token
        is read. So it is the class token; class and distillation token; all, where the model takes a mean; the word
        of a text that is explained. Tokens that are read have equal shares. All zero if a score has no gradient.
        """

    @property
    def formation_gradients(self) -> Sequence[Array]:
        """By self-attention over the layer's tokens, d s^l[n, k] / d weights^l[n]: (n, k, heads, t, t).

        s^l is the score where each of the last block's output tokens is replaced by the mean over tokens of block l's
        output (LeGrad, arXiv:2404.03214, section 3.2).
        """

    @property
    def is_sequence(self) -> bool:
        """Whether the layer's output is a sequence of tokens that fold to a picture, not a map with axes of its own."""

    @property
    def extra(self) -> Sequence[int]:
        """Which of the layer's tokens are no positions: class, register and distillation tokens, words."""

    def fold(self, tokens: Array) -> Array:
        """Values of the layer's tokens (n, k, t) on its grid, extra tokens left out: (n, k, *s)."""


@dataclass(frozen=True)
class Attended:
    """What a backend saw of one pass's attention.

    Attributes:
        weights: of every call, in the order they ran, without a graph, as the model has them: (rows, heads, q, k), or
            (rows, q, k) where rows hold the heads of an image one after the other.
        gradients: of the calls that were asked for, in the order they were asked for, d scores[:, j] / d weights:
            (j, *weights); zero where a score does not depend on them.
    """

    weights: Sequence[Array]
    gradients: Sequence[Array] = ()
