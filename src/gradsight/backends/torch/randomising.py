"""A view whose layers have other weights than the model's, which stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from gradsight.backends import randomising
from gradsight.backends.torch.view import View


def holders(view: View) -> list[str]:
    """The names of the modules that hold weights of their own; ``""`` for the model itself."""
    return [name for name in view.modules if any(True for _ in _weights(view, name))]


def randomise(view: View, layers: Collection[str], seed: int) -> None:
    """Give layers of a view other weights; see `backends.randomising.randomised`.

    Args:
        view: it must be made for this alone, and nothing of it have run.
        layers: the names of modules that hold weights.
        seed: of the numbers.
    """
    done: set[int] = set()
    with torch.inference_mode(False), torch.no_grad():
        for layer in layers:
            for key, weight in _weights(view, layer):
                # Of weights that two modules share one draws.
                if id(weight) in done:
                    continue
                done.add(id(weight))
                values = weight.detach().to("cpu", torch.promote_types(weight.dtype, torch.float32)).numpy()
                drawn = randomising.randomised(values, seed, f"{layer}.{key}")
                # The view's tensor is led to other memory: whatever holds it, such as the flat weights of a recurrent
                # layer, goes on with the new numbers.
                weight.data = torch.from_numpy(drawn).to(weight)


def _weights(view: View, layer: str) -> Iterator[tuple[str, torch.Tensor]]:
    for key, weight in view.modules[layer]._parameters.items():
        if weight is not None and weight.is_floating_point() and weight.numel():
            yield key, weight
