"""The image processors of transformers as a `Preprocess`, which also knows the way back onto the photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.imaging import Preprocess

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
_SIDES = ((97, 131), (150, 101))
"""(height, width) of pictures that tell ways of resizing and cutting apart: odd, wide and high."""


@dataclass(frozen=True)
class _Reversed:
    """What a processor that turns RGB into BGR does with a picture: `Preprocess.function`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        made: NDArray[Any] = (pixels[..., ::-1] / 255 - np.asarray(self.mean)) / np.asarray(self.std)
        return made


def preprocess_of(processor: Any) -> Preprocess | None:
    """The `Preprocess` that gives what an image processor gives; None where there is none.

    Processors say what they do in fields that each kind reads in its own way. So the fields only suggest ways, and the
    one is taken that gives the processor's own result, to one grey level, on two pictures. What it does with colours is
    read off black, white and red ones.
    """
    try:
        colours = _colours(processor)
        pictures = [_picture(sides) for sides in _SIDES]
        expected = [_run(processor, picture) for picture in pictures]
    except Exception:  # it wants more than a picture, or gives patches: nothing that a map could be laid onto
        return None
    for way in _ways(processor):
        made = replace(way, **colours)
        if all(_equal(made, picture, wanted) for picture, wanted in zip(pictures, expected, strict=True)):
            return made
    return None


def _run(processor: Any, picture: Image.Image) -> NDArray[Any]:
    """What a processor makes of one picture: (channels, height, width)."""
    found = np.asarray(processor(images=picture, return_tensors="np")["pixel_values"], dtype=np.float64)
    if found.ndim != 4 or len(found) != 1 or found.shape[1] != 3:
        raise ValueError(found.shape)
    image: NDArray[Any] = found[0]
    return image


def _picture(sides: tuple[int, int]) -> Image.Image:
    """Smooth colours that differ everywhere, so that a shift by a pixel is seen and the filter's rounding is not."""
    rows, columns = np.mgrid[: sides[0], : sides[1]] / max(sides)
    waves = [128 + 100 * np.sin(a * rows + b * columns) for a, b in ((9, 5), (3, 11), (13, 2))]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def _colours(processor: Any) -> dict[str, Any]:
    """Mean and std, as fields of `Preprocess`, by what becomes of pictures of one colour."""

    def middle(colour: tuple[int, int, int]) -> NDArray[Any]:
        found = _run(processor, Image.new("RGB", _SIDES[0], colour))
        value: NDArray[Any] = found[:, found.shape[1] // 2, found.shape[2] // 2]
        return value

    black, white, red = middle((0, 0, 0)), middle((255, 255, 255)), middle((255, 0, 0))
    std = 1 / (white - black)
    mean, spread = tuple(float(x) for x in -black * std), tuple(float(x) for x in std)
    shares = (red - black) * std
    if shares[2] > 0.5 > shares[0]:
        return {"function": _Reversed(mean, spread)}
    return {"mean": mean, "std": spread}


def _equal(made: Preprocess, picture: Image.Image, wanted: NDArray[Any]) -> bool:
    found = made(picture)
    if found.shape != wanted.shape:
        return False
    std = made.std if made.function is None else made.function.std  # type: ignore[attr-defined]
    grey = np.abs(found - wanted) * 255 * np.asarray(std)[:, None, None]
    return bool(grey.max() <= 1.01)


def _ways(processor: Any) -> Iterator[Preprocess]:
    """The ways to resize and cut that a processor's fields may mean."""
    given = getattr(processor, "size", None)
    size = {key: value for key, value in dict(given or {}).items() if value}
    crop = dict(getattr(processor, "crop_size", None) or {}) if getattr(processor, "do_center_crop", False) else {}
    filter_ = _FILTERS.get(int(getattr(processor, "resample", None) or 0), "bilinear")
    base = Preprocess(interpolation=filter_, rounding="down")
    cut = (int(crop["height"]), int(crop["width"])) if crop.get("height") and crop.get("width") else None
    short = size.get("shortest_edge")
    if "height" in size and "width" in size:
        whole = (int(size["height"]), int(size["width"]))
        yield replace(base, size=cut or whole, resize=min(whole) if cut else None, fit="squash")
    elif short and "longest_edge" in size:
        yield replace(base, size=(short, size["longest_edge"]), fit="keep")
    elif short:
        for resize in (short, int(short * 256 / 224)):  # the latter is LeViT's
            if cut:
                yield replace(base, size=cut, resize=resize)
        share = getattr(processor, "crop_pct", None)
        if share:
            yield replace(base, size=(short, short), resize=int(short / share))
        yield replace(base, size=(short, short), fit="squash")
        multiple = int(getattr(processor, "size_divisor", None) or 1)
        for most in (int(1333 / 800 * short), 100 * short):  # the proportions of COCO, or no limit
            for rounding in ("nearest", "down"):
                yield replace(base, size=(short, most), fit="keep", rounding=rounding, multiple=multiple)
