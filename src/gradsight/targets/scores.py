"""How class scores are read from the output of a model that does not simply give one row of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradsight.checks import taken
from gradsight.foreign import Array, Outputs
from gradsight.rules import Choice, Function, Text


@dataclass(frozen=True)
class Scores:
    """How class scores are read from the output of a model that does not simply give one row for each image.

    >>> import gradsight as gs
    >>> gs.Scores(lambda output: output["logits"], activation="sigmoid").activation
    'sigmoid'

    Attributes:
        function: from the model's own output to scores (n, classes), differentiable.
        activation: what makes probabilities of them: ``"softmax"``, ``"sigmoid"``, or empty where they have none, as
            those of a detector.
        missing: where they are none of classes, the text of the error when a class is asked for.
    """

    function: Callable[[Outputs], Array]
    activation: str = "softmax"
    missing: str = ""

    def __post_init__(self) -> None:
        taken("`function` of Scores", self.function, Function("outputs -> (n, classes)"))
        taken("`activation` of Scores", self.activation, Choice(("softmax", "sigmoid", ""), "activation"))
        taken("`missing` of Scores", self.missing, Text())
