"""Writes docs/steps.png: the steps of Grad-CAM on the bundled photo, with the figures that the embedded model gave.

.venv/bin/python scripts/make_steps_picture.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import gradsight as gs
from gradsight.imaging.colour import colorize

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "src/gradsight/data/cat_and_coffee.jpg"
SIDE, GAP, TEXT, SHOWN = 190, 14, 44, 3
FONT = ImageFont.load_default(size=15)


def kept(target: str) -> tuple[gs.Explanation, NDArray[Any], NDArray[Any]]:
    """The explanation, with the activations (c, h, w) and the mean gradients (c,) that it was made of."""
    seen: list[Any] = []

    def gradcam(probe: Any, ops: Any) -> Any:
        seen[:] = probe.activations[0].numpy(), probe.alphas[0, 0].numpy()
        return ops.sum(probe.alphas[:, :, :, None, None] * probe.activations[:, None], axis=2)

    explanation = gs.Explainer("demo", method=gradcam)(PHOTO, targets=target)
    return explanation, seen[0], seen[1]


def tile(values: NDArray[Any], signed: bool = False) -> Image.Image:
    """A map as squares, the largest magnitude at full strength."""
    unit = values / np.abs(values).max()
    colours = colorize(unit / 2 + 0.5, "bwr") if signed else colorize(np.maximum(unit, 0), "inferno")
    picture = Image.fromarray((np.asarray(colours)[..., :3] * 255).round().astype(np.uint8))
    return picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def row(tiles: list[tuple[Image.Image, str]], canvas: Image.Image, top: int) -> None:
    """Pictures side by side, each over its words."""
    draw = ImageDraw.Draw(canvas)
    for column, (picture, words) in enumerate(tiles):
        left = GAP + column * (SIDE + GAP)
        canvas.paste(picture, (left, top))
        draw.multiline_text((left, top + SIDE + 5), words, fill="black", font=FONT, spacing=3)


def channels(activations: NDArray[Any], alphas: NDArray[Any]) -> list[tuple[Image.Image, str]]:
    """The channels that raise the score most, and the one that lowers it most."""
    parts = alphas * activations.mean(axis=(1, 2))
    order = np.argsort(parts)
    chosen = [*order[::-1][:SHOWN], order[0]]
    return [(tile(activations[k]), f"channel {k}\nweight {alphas[k]:+.3f}") for k in chosen]


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """The part of the photo that the model saw: a square in the middle."""
    width, height = picture.size
    side = round(share * min(width, height))
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))


if __name__ == "__main__":
    explanation, activations, alphas = kept("Egyptian cat")
    raw = explanation.maps[0, 0]
    share = gs.load_model("demo").preprocess.record()["crop"]
    photo = cropped(explanation.photos[0], share)
    canvas = Image.new("RGB", (GAP + 5 * (SIDE + GAP), 2 * (SIDE + TEXT + GAP) + GAP), "white")
    row([(photo, "the photo, as the\nmodel sees it"), *channels(activations, alphas)], canvas, GAP)
    under = [
        (tile(raw, signed=True), f"the weighted sum of\nall {len(alphas)} channels"),
        (tile(raw), "its positive part:\nthe map, 7 x 7"),
        (cropped(explanation.overlay(), share), "enlarged, and laid\non the photo"),
    ]
    row(under, canvas, 2 * GAP + SIDE + TEXT)
    canvas.save(ROOT / "docs/steps.png", optimize=True)
