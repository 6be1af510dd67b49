"""Writes src/gradsight/data/cat_and_coffee.jpg from two CC0 photos that scikit-image carries.

Two things in one picture, so that the maps of two classes can be told apart at a glance.

    .venv/bin/python scripts/make_demo_photo.py
"""

from pathlib import Path

from PIL import Image
from skimage import data

OUT = Path(__file__).parents[1] / "src/gradsight/data/cat_and_coffee.jpg"


def photo() -> Image.Image:
    """Put the cat's face above the cup: 480 x 480 pixels, so that a centre crop keeps both."""
    cat = Image.fromarray(data.chelsea()).crop((0, 74, 451, 300))
    cup = Image.fromarray(data.coffee()).crop((30, 0, 570, 270))
    both = Image.new("RGB", (480, 480))
    for top, part in ((0, cat), (240, cup)):
        both.paste(part.resize((480, 240), Image.Resampling.LANCZOS), (0, top))
    return both


if __name__ == "__main__":
    photo().save(OUT, quality=92, optimize=True)
