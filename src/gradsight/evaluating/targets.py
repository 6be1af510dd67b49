"""The targets of a batch whose photos each have classes of their own."""

from __future__ import annotations

from dataclasses import dataclass

from gradsight.errors import ModelError
from gradsight.targets import OutputContext, ScoreSpec, TargetLike, resolve

Choices = tuple[tuple[int, ...], ...]
"""For each target of a photo the classes that are meant, of which the most probable one is explained."""


@dataclass(frozen=True)
class BestOfEach:
    """For each target of each image the class that the model finds most probable of those that are meant.

    A word such as "bird" means many classes of a model, and a map is of one. Which one, the pass itself says.

    Attributes:
        choices: for each image of the batch, equally many targets.
    """

    choices: tuple[Choices, ...]

    def resolved(self, context: OutputContext) -> ScoreSpec:
        """See `targets.resolve`."""
        if context.logits is None:
            raise ModelError(context.missing or "this model gives no scores of classes, and labels are of classes.")
        # Of images that this output is not of any class will do: they are not looked at.
        chosen: list[TargetLike] = [[classes[0] for classes in row] for row in self.choices]
        for i, logits in enumerate(context.logits):
            row = self.choices[context.first + i]
            # One that the model does not have is left for the check that says so.
            chosen[context.first + i] = [
                max(classes, key=lambda one: logits[one] if one < len(logits) else float("inf")) for classes in row
            ]
        return resolve(chosen, context)
