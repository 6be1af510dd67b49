"""A small explanation without a model, for examples and for trying things out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gradsight.imaging import Placement
from gradsight.results.explanation import Explanation
from gradsight.targets import TargetInfo


def example() -> Explanation:
    """One grey photo of 60 x 40 pixels (width x height), and one map of 2 x 2 positions: hot at the lower left.

    >>> explanation = example()
    >>> explanation.maps[0, 0].tolist()
    [[-1.0, 1.0], [4.0, 0.0]]
    >>> explanation.photos[0].size, explanation.input_size
    ((60, 40), (20, 20))
    """
    return Explanation(
        maps=np.array([[[[-1, 1], [4, 0]]]], np.float32),
        scores=np.array([[7.5]], np.float32),
        targets=((TargetInfo(281, "tabby cat"),),),
        layers=("layer4",),
        at="layer",
        method="gradcam",
        model="example",
        input_size=(20, 20),
        photos=(Image.new("RGB", (60, 40), (128, 128, 128)),),
        placements=(Placement.whole((40, 60), (20, 20)),),
        title="Grad-CAM",
    )
