"""The gradients of one number, for engines that have them by a pass and its way back."""

from __future__ import annotations

from collections.abc import Container

import keras

from gradsight.backends.keras.engines.protocol import Body, Linearized, Start
from gradsight.foreign import Array, Inputs, Outputs


def starting_at(names: Container[str], body: Body) -> Body:
    """The same body, which starts at some of its tensors."""

    def fewer(inputs: Inputs, start: Start) -> Outputs:
        return body(inputs, lambda name, output: start(name, output) if name in names else output)

    return fewer


def slopes_of(linearized: Linearized) -> dict[str, Array]:
    """By leaf, the gradient of the one number that a pass gave."""
    number = linearized.outputs
    gradients = linearized.pull([keras.ops.ones((1,), number.dtype)])
    return {name: gradient[0] for name, gradient in gradients.items()}
