"""Pictures to look at by numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture(height: int, width: int) -> Image.Image:
    """Random colours in patches: what resizing makes of it shows which filter it was, and where it was cut."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 2, width // 2, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def where(picture: Image.Image, colour: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of each area of about a colour, from the top down and left to right."""
    from scipy import ndimage

    close = np.abs(np.asarray(picture).astype(int) - colour).max(axis=2) < 60
    found = ndimage.find_objects(ndimage.label(close)[0])
    return sorted((r.start, c.start, r.stop, c.stop) for r, c in found if r.stop - r.start > 10)
