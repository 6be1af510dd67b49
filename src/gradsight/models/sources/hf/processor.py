"""The image processors of transformers as a `Preprocess`, which also knows the way back onto the photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.imaging import Preprocess
from gradsight.models.following.trial import Trial
from gradsight.models.following.ways import colours_of, ways_of
from gradsight.models.sources.hf.theirs import ImageProcessor

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}


def preprocess_of(processor: ImageProcessor) -> Preprocess | None:
    """The `Preprocess` that gives what an image processor gives; None where there is none.

    Processors say what they do in fields that each kind reads in its own way. So the fields only suggest ways, and the
    one is taken that gives the processor's own result, to one grey level, on pictures of several sizes. Where none of
    them does, those are tried that are read off marked pictures, as for any function (`follow`).
    """
    run = partial(_run, processor)
    try:
        colours = colours_of(run)
        trial = None if colours is None else Trial(run, colours)
    except Exception:  # it wants more than a picture, or gives patches: nothing that a map could be laid onto
        return None
    if colours is None or trial is None:
        return None
    for way in _ways(processor):
        made = replace(way, **colours.fields)
        if trial.same(made):
            return made
    best = trial.best(ways_of(run, colours.fields)[1])
    return None if best is None or not best.worst.same else best.way


def _run(processor: ImageProcessor, picture: Image.Image) -> NDArray[Any]:
    """What a processor makes of one picture: (height, width, channels)."""
    # float64, since ways are told apart by less than a grey level
    found = np.asarray(processor(images=picture, return_tensors="np")["pixel_values"], dtype=np.float64)
    if found.ndim != 4 or len(found) != 1 or found.shape[1] != 3:
        raise ValueError(found.shape)
    image: NDArray[Any] = found[0].transpose(1, 2, 0)
    return image


def _ways(processor: ImageProcessor) -> Iterator[Preprocess]:
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
        # no field says which of the two a processor does
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
