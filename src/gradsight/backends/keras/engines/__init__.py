"""The engines that Keras runs on, one file each, imported only where that engine runs.

An engine runs a body ``(inputs, start) -> outputs`` of a view. ``start(name, tensor)`` makes a tensor the start of
differentiation and gives what the body goes on with. It offers:

- ``plain(key, body, inputs)``: the outputs, without a gradient;
- ``each(body, several)``: the outputs of a body that runs for several inputs of one kind, one after the other;
- ``linearize(key, body, inputs)``: the outputs, the tensors held by name, and ``pull``: a list of cotangents (k, ...),
  one for each floating-point output, to gradients (k, ...) by name;
- ``tail(key, body, name, raw, forward, times)``: the outputs where ``raw`` stands in the place of what was held by a
  name, ``times`` rows for each row of ``forward.inputs``; what does not depend on ``raw`` is not computed again;
- ``slopes(function, tensors)``: values (n, k) of a list of tensors, and each column's sum by each tensor: (k, ...);
- ``along(function, tensors)``: the derivative of a tensor by ``tensors`` in the direction of themselves, within a body;
- ``curvature(function, leaf, direction)``: the Hessian of each column's sum by ``leaf``, times ``direction``;
- ``cuts(body, inputs)``: of all that was started, the names that every path from ``inputs[0]`` to the output, one
  scalar, passes;
- ``place()``: what is traced at the moment; another within a loop, where tensors are those of one step;
- ``aside()``: within it, numbers are computed at once, whatever is traced at the moment;
- ``activations``: the module of the engine's own activations.

``key`` names the body, for engines that compile; None for a body that runs once.
"""

from __future__ import annotations

from typing import Any

import keras

from gradsight.errors import ModelError


def engine_for(view: Any) -> Any:
    """The engine of this process, at work on a view.

    Raises:
        ModelError: Keras runs on something else.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        from gradsight.backends.keras.engines.tensorflow import TensorFlow

        return TensorFlow(view)
    if name == "torch":
        from gradsight.backends.keras.engines.torch import Torch

        return Torch(view)
    if name == "jax":
        from gradsight.backends.keras.engines.jax import Jax

        return Jax(view)
    raise ModelError(
        f"Keras runs on {name!r}, on which gradsight takes no gradients. Set KERAS_BACKEND to tensorflow, jax or torch."
    )
