"""How similar the picture is to something else, as the model sees it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight import rules
from gradsight.checks import optional
from gradsight.errors import InvalidArgument, ModelError, received
from gradsight.foreign import Array, Inputs, Outputs
from gradsight.rules import Text
from gradsight.targets.context import OutputContext, TargetInfo
from gradsight.targets.resolved import ScoreSpec, of_function


@dataclass(frozen=True, eq=False)
class Similarity:
    """What makes the picture similar to another one, to a text, or to an embedding: the cosine of the embeddings.

    For models that give an embedding of each image, (n, d): metric learning, CLIP and its kin, or a classifier without
    its last layer. Of two pictures each has a map: explain both with ``targets=[gs.Similarity(image=b),
    gs.Similarity(image=a)]``.

    >>> import torch
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> model = torch.nn.Sequential(features, torch.nn.AvgPool2d(6), torch.nn.Flatten()).eval()
    >>> one, other = torch.rand(2, 1, 3, 8, 8)
    >>> gs.Explainer(model, layer="0")(one, targets=gs.Similarity(image=other)).labels
    (('like another image',),)

    Attributes:
        image: a photo (path, bytes, PIL image), or a batch of one as the model takes it.
        text: for models that read texts beside pictures.
        embedding: (d,) numbers.

    Raises:
        InvalidArgument: not exactly one of them, or an embedding that is none.
        InvalidType: the text is none.
    """

    image: Inputs = None
    text: str | None = None
    embedding: Array = None

    def __post_init__(self) -> None:
        given = [name for name in ("image", "text", "embedding") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidArgument(
                f"Similarity takes one of image, text and embedding. Received: {' and '.join(given) or 'nothing'}."
            )
        optional("`text` of Similarity", self.text, Text())
        numbers = rules.Array((1, 2), "an embedding: an array of numbers, (d,)", "fiu")
        object.__setattr__(self, "embedding", optional("`embedding` of Similarity", self.embedding, numbers))

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `resolve`."""
        own = context.embedding(context.outputs)
        if own is None:
            raise ModelError(
                "Similarity can be explained where the model gives an embedding of each image, (n, d); it gives "
                f"{context.described}. Pass `embedding=` to Explainer, a function from the output to embeddings."
            )
        other = self._other(context)
        if other.shape[-1] != own.shape[-1] or other.size != other.shape[-1]:
            raise InvalidArgument(
                f"Similarity compares one embedding of {own.shape[-1]} numbers, as this model gives. {received(other)}"
            )
        # In float64 and of length 1, so that the score is the cosine and does not depend on the size of the other.
        direction = other.reshape(1, -1).astype(np.float64)
        length = np.linalg.norm(direction)
        if not length > 0 or not np.isfinite(length):
            raise InvalidArgument("the embedding of Similarity must be finite and not zero: it has no direction.")
        # One row for each image, as all values that targets keep: `each` tiles them for further passes.
        rows = np.repeat(direction / length, context.n, axis=0)

        def score(outputs: Outputs) -> Array:
            own = context.embedding(outputs)
            squares = context.ops.sum(own * own, axis=1)
            return context.ops.sum(own * context.each(rows, own), axis=1) / context.ops.sqrt(squares)

        return of_function(score, [TargetInfo(None, self._name())] * context.n)

    def _other(self, context: OutputContext) -> NDArray[np.floating]:
        """What is compared with, as NumPy."""
        other = self.embedding if self.embedding is not None else self._embedded(context)
        return np.asarray(other) if isinstance(other, list | tuple | np.ndarray) else context.numpy(other)

    def _embedded(self, context: OutputContext) -> Array:
        if self.text is None:
            return context.embed(self.image)
        if context.embed_text is None:
            raise ModelError(
                "Similarity to a text can be explained where the model reads texts (CLIP and its kin). Give an image= "
                "or embedding=, or pass `embed_text=` to Explainer, a function from a text to its embedding (1, d)."
            )
        return context.embed_text(self.text)

    def _name(self) -> str:
        if self.text is not None:
            return f"like {self.text!r}"
        if isinstance(self.image, str | os.PathLike):
            return f"like {os.path.basename(self.image)}"
        return "similarity" if self.image is None else "like another image"
