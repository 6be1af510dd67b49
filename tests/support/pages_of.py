"""A page that is served in this process, for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import gradsight as gs
from gradsight.pages.limits import Limits
from gradsight.pages.serving import Address, Shown, served
from gradsight.photos import bundled_photo


@contextmanager
def demo_page(folder: Path, address: Address | None = None, **limits: int | float) -> Iterator[str]:
    """A page of the demo model in two versions, with a run of five pictures and an evaluation; its address."""
    demo = gs.Explainer(gs.load_model("demo"), name="demo")
    whole = gs.Explainer(gs.load_model("demo", fit="letterbox"), name="letterboxed")
    run = gs.run(crops(folder / "photos"), model=demo, out=folder / "run")
    from gradsight.evaluating.example import example

    shown = Shown([("demo", demo), ("letterboxed", whole)], run, example(), Limits(**limits))  # type: ignore[arg-type]
    with served(shown, address) as page:
        yield page


@contextmanager
def plain_page(address: Address | None = None) -> Iterator[str]:
    """A page of one small network, with nothing else; its address."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    explainer = gs.Explainer(net.eval(), preprocess=gs.Preprocess(64), labels=["ant", "bee", "cow", "dog"])
    with served(Shown([("net", explainer)]), address) as page:
        yield page


def crops(folder: Path) -> Path:
    """Parts of the bundled photo, and one of it turned, in folders that are classes."""
    content = bundled_photo().source
    assert isinstance(content, bytes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "whole.jpg").write_bytes(content)
    from gradsight.imaging import read_image

    photo = read_image(content)
    boxes = {
        "Egyptian cat/face": (0, 0, 480, 240),
        "espresso/cup": (60, 230, 420, 480),
        "tabby/eye": (100, 0, 300, 200),
    }
    for name, box in boxes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        photo.crop(box).save(folder / f"{name}.png")
    os.unlink(folder / "whole.jpg")
    (folder / "espresso" / "broken.jpg").write_bytes(b"no photo")
    return folder


def recognised(number: int, side: int = 96) -> Image.Image:
    """A photo that is known again by its width: no other number has it."""
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 255, (side, side + number, 3), dtype=np.uint8))
