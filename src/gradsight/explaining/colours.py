"""Black and white as a model gets them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.cases import ends
from gradsight.cases.scoring import Level
from gradsight.explaining.inputs import Batch, for_backend
from gradsight.explaining.passes import Passes
from gradsight.models.model import PlacesPhotos


def colours(passes: Passes, batch: Batch) -> tuple[Level, Level]:
    """Black and white as a preprocessing of photos makes them."""
    backend = batch.backend
    preprocess = for_backend(passes.preprocess, backend, "photos")
    return ends(_OnArrays(preprocess), backend.size(batch.inputs), backend.channel_axis(batch.inputs))


@dataclass(frozen=True)
class _OnArrays:
    """A preprocessing of photos, for arrays."""

    preprocess: PlacesPhotos

    # The preprocessing of a user takes pictures, as `Preprocess.place` does, and no arrays.
    def place(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.floating], object]:
        return self.preprocess.place(Image.fromarray(image))
