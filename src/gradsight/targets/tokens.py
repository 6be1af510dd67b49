"""A word that a model writes, in an answer or a caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.foreign import Array, Outputs
from gradsight.rules import Whole
from gradsight.targets.context import OutputContext, TargetInfo
from gradsight.targets.labels import AClass, class_index, class_name
from gradsight.targets.resolved import ScoreSpec, of_function


@dataclass(frozen=True)
class Token:
    """The evidence for one word of an answer or a caption: its logit where the model writes it.

    For models that give the scores of the next word at each position of a text, (n, length, vocabulary), such as
    captioners that are fed the caption so far. A word of several tokens is a `Sum` of them.

    >>> import gradsight as gs
    >>> gs.Token(1037)  # the model's word number 1037, as its next one
    Token(which=1037, at=-1)

    Attributes:
        which: the word, an index in the vocabulary or a label; None for the one that the model would write there.
        at: the position in the output that scores it, which is that of the token before it; -1 for the last one.
    """

    which: int | str | None = None
    at: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", optional("`which` of Token", self.which, AClass()))
        object.__setattr__(self, "at", taken("`at` of Token", self.at, Whole()))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        scores = context.sequence(context.outputs)
        if scores is None:
            raise ModelError(
                "Token can be explained where the model gives scores of words at each position of a text, (n, length, "
                f"words); it gives {context.described}. Pass a class, or a function outputs -> (n,)."
            )
        length, words = scores.shape[1:]
        if not -length <= self.at < length:
            raise InvalidArgument(
                f"`at` of Token must be a position of the {length} that the model gives, {-length} to {length - 1}. "
                f"{received(self.at)}"
            )
        if self.which is None:
            # The word that the model would write here is asked for, image by image.
            indices = context.numpy(scores[:, self.at]).argmax(axis=1)
        else:
            indices = np.full(context.n, class_index(self.which, context.labels, int(words)))

        def score(outputs: Outputs) -> Array:
            values = context.sequence(outputs)[:, self.at]
            return context.ops.pick(values, np.tile(indices, values.shape[0] // context.n)[:, None])[:, 0]

        return of_function(score, [TargetInfo(int(i), class_name(int(i), context.labels)) for i in indices])
