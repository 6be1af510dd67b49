"""Photos passed through a model to one layer, for what its channels detect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gradsight.errors import InvalidArgument, received
from gradsight.explaining.layer_choice import Layers, names_of, several
from gradsight.explaining.passes import Passes
from gradsight.locks import whole
from gradsight.neurons import ActivationFn, Activations
from gradsight.targets import TargetLike, Top
from gradsight.targets.labels import plain


def activations_at(passes: Passes, layer: Layers, targets: TargetLike | None) -> ActivationFn:
    """What passes a few photos through the model to one layer.

    Args:
        passes: of the model.
        layer: its name, or the module; None for the best one.
        targets: what the layer is chosen for.

    Raises:
        InvalidArgument: it is more than one.
    """
    chosen = several(layer, "layer")
    if len(chosen) != 1:
        raise InvalidArgument(f"`layer` must be one layer here. {received(chosen)} Name one of them.")
    # One entry for each image of another batch says nothing about these.
    wanted = Top() if isinstance(plain(targets), list | tuple) else targets

    # As each call of an Explainer: a fork in the middle would leave the child with locks that nobody opens.
    @whole()
    def look(photos: Sequence[Image.Image]) -> Activations:
        batch = passes.batch(list(photos))
        with batch.backend.unchanged():
            probes = passes.probes_at(batch, names_of(chosen, batch.backend)[0], wanted)
            # Several probes where images of a batch influence each other, each then of one image.
            values = np.concatenate([batch.backend.numpy(probe.activations) for probe in probes])
        return Activations(probes[0].name, values.astype(np.float32), batch.placements)

    return look
