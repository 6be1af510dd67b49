"""How far what a model gets of a JPEG moves, in grey levels of 255, where it is decoded at a part of its size.

    PYTHONPATH=src python benchmarks/draft.py              pictures of text, of noise and of fine colours
    PYTHONPATH=src python benchmarks/draft.py PHOTO...     those, and photos enlarged to twelve megapixels, with grain

Each is written as JPEG in several forms, decoded in full and at a half, a quarter and an eighth, and resized by each
filter as `gradsight.Preprocess` does, the smaller ones from the very same region. Told is, by how much they were still
to be shrunk behind the decoder, the largest difference, and in how many cases none was over one level.
"""

from __future__ import annotations

import io
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gradsight.imaging.cut import FILTERS
from gradsight.imaging.modes import to_rgb

FORMS = {
    "4:2:0 q75": {"quality": 75, "subsampling": 2},
    "4:4:4 q75": {"quality": 75, "subsampling": 0},
    "4:4:4 q95": {"quality": 95, "subsampling": 0},
    "progressive": {"quality": 85, "progressive": True},
    "grey": {"quality": 85},
    "CMYK": {"quality": 85},
}
MODES = {"grey": "L", "CMYK": "CMYK"}
SHORTER = (64, 256)
"""To which sides pictures are resized."""

BANDS = (1, 2, 4, 6, 10, 20, 1000)


def text(size: int, width: int = 4096, height: int = 3072) -> Image.Image:
    drawn = random.Random(size)
    picture = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for row in range(0, height, size + 4):
        line = "".join(drawn.choices("abcdefghijklmnopqrstuvwxyz WMN#0123", k=2 * width // size))
        pen.text((5, row), line, fill="black", font=font)
    return picture


def noise(black: float, channels: int, width: int = 4096, height: int = 3072) -> Image.Image:
    drawn = np.random.default_rng(0).random((height, width, channels)) >= black
    return Image.fromarray(np.broadcast_to(drawn * np.uint8(255), (height, width, 3)).astype(np.uint8))


def enlarged(path: str, grain: float, width: int = 4032) -> Image.Image:
    photo = Image.open(path).convert("RGB")
    photo = photo.resize((width, round(photo.height * width / photo.width)), Image.Resampling.LANCZOS)
    rough = np.asarray(photo) + np.random.default_rng(0).normal(0, grain, (photo.height, width, 1))
    return Image.fromarray(rough.clip(0, 255).astype(np.uint8))


def pictures(photos: list[str]) -> Iterator[Image.Image]:
    makers: list[Callable[[], Image.Image]] = [lambda: text(12), lambda: text(40), lambda: noise(0.1, 1)]
    makers += [lambda: noise(0.5, 3)]
    makers += [lambda path=path, grain=grain: enlarged(path, grain) for path in photos for grain in (0, 12)]  # type: ignore[misc]
    return (make() for make in makers)


def decoded(content: bytes, part: int) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.draft(picture.mode, (picture.width // part, picture.height // part))
    picture.load()
    return to_rgb(picture)


def differences(picture: Image.Image) -> Iterator[tuple[str, float, int]]:
    """The filter, by how much is still to be shrunk, and the largest difference."""
    for form, options in FORMS.items():
        file = io.BytesIO()
        picture.convert(MODES.get(form, "RGB")).save(file, "JPEG", **options)
        full = decoded(file.getvalue(), 1)
        for part in (2, 4, 8):
            small = decoded(file.getvalue(), part)
            # The last blocks reach beyond the picture where its sides are no multiples.
            box = (0, 0, full.width / part, full.height / part)
            for shorter in SHORTER:
                left = min(full.size) / part / shorter
                size = (round(full.width * shorter / min(full.size)), round(full.height * shorter / min(full.size)))
                for name, resample in FILTERS.items():
                    if left >= 1 and name != "nearest":
                        ours = np.asarray(full.resize(size, resample)).astype(int)
                        other = np.asarray(small.resize(size, resample, box)).astype(int)
                        yield name, left, int(abs(ours - other).max())


def main(photos: list[str]) -> None:
    found = defaultdict(list)
    for picture in pictures(photos):
        for name, left, largest in differences(picture):
            band = max(bound for bound in BANDS if bound <= left)
            found[name, band].append(largest)
    print(f"{'filter':10}{'left to shrink':>16}{'cases':>7}{'median':>8}{'largest':>9}{'within 1':>10}")
    for (name, band), values in sorted(found.items()):
        upper = BANDS[BANDS.index(band) + 1]
        within = sum(value <= 1 for value in values) / len(values)
        reach = f"{band} to {upper}" if upper < BANDS[-1] else f"{band} or more"
        print(f"{name:10}{reach:>16}{len(values):7}{int(np.median(values)):8}{max(values):9}{within:10.0%}")


if __name__ == "__main__":
    main(sys.argv[1:])
