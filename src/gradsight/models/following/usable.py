"""From what a user gives as a preprocess to one that also knows where its result lies on the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import InvalidType, received
from gradsight.foreign import Module
from gradsight.imaging import Preprocess
from gradsight.models.following.calling import Called, handed
from gradsight.models.following.follow import Followed, follow
from gradsight.models.following.pictures import SIDES, smooth
from gradsight.models.keras.backend import is_keras
from gradsight.models.keras.inputs import preprocess_of
from gradsight.models.model import PlacesPhotos


@dataclass(frozen=True)
class _OfPixels:
    """A function that leaves a picture as large as it is, as ``Preprocess.function`` takes it."""

    called: Called

    @property
    def func(self) -> Callable[..., Any]:
        """The function itself, as that of a partial."""
        return self.called.function

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.called(Image.fromarray(pixels.round().astype(np.uint8)))


def usable(given: object, source: object = None, model: Module = None) -> PlacesPhotos | None:
    """A preprocess that can place its result on the photo. A plain function is tried on test pictures (`follow`).

    Args:
        given: a `Preprocess`, an object with its method ``place``, a function of a photo, or None.
        source: the preprocessing that the model came with, if any. A function that leaves the photo's size to others
            takes the place of its mean and std; without one, photos keep their size.
        model: the model; one of Keras says its size, if it came with no preprocessing.

    Raises:
        InvalidType: it is none of these, or takes no photo, or gives no picture.
        InvalidArgument: a function that cannot be followed.
    """
    if given is None or isinstance(given, PlacesPhotos):
        return given
    if not callable(given):
        raise InvalidType(f"`preprocess` must be a gs.Preprocess or a function of a photo. {received(given)}")
    # A function that was followed is replaced as a whole: it has no parts that could stay.
    if isinstance(source, Followed) or not isinstance(source, Preprocess):
        source = preprocess_of(model) if is_keras(model) else None
    found = follow(given)
    if source is None:
        return found
    # It resizes by itself, and so replaces all that the source does.
    if found.fit != "none":
        return found.laid_out(source.channels_last)
    assert found.called is not None
    assumed = tuple(part for part in source.assumed if part not in ("mean", "std"))
    if len(source.mean) == 1 and keeps_pixels(given, source):
        return replace(source, function=given, assumed=assumed)
    return replace(source, function=_OfPixels(found.called), mean=(0.0,) * 3, std=(1.0,) * 3, assumed=assumed)


def keeps_pixels(function: Callable[..., Any], preprocess: object) -> bool:
    """Whether a function takes a fitted picture, float32 (h, w, channels) in 0..255, and gives one as large."""
    fitted = preprocess if isinstance(preprocess, Preprocess) else None
    grey = fitted is not None and len(fitted.mean) == 1
    for sides in (SIDES[0], *([fitted.size] if fitted is not None else [])):
        pixels = np.asarray(smooth(sides), dtype=np.float32)
        try:
            with handed():
                made = np.asarray(function(pixels[..., :1] if grey else pixels))
        except Exception:  # whatever a function raises that is for photos, or for pictures of one size
            continue
        return bool(made.shape[:2] == sides)
    return False
