"""Small sets of pictures for ``--synthetic``, drawn by Pillow and NumPy: the same pictures at each call.

What decides a class is a thing with a place (a lesion, a window, a bird), so that it can be seen whether a map is
right. They are no test of a method: they let each example run at once, without a download.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = 160
_FINE = 2 * SIZE
"""Drawn twice as large and then shrunk, so that edges are smooth."""

Colour = tuple[int, int, int]
Random = np.random.Generator


def beans(folder: Path, each: int = 40, seed: int = 0) -> Path:
    """Leaves on soil: FOLDER/CLASS/0.jpg; lesions with corners, rust in small round spots, or nothing."""
    for kind in ("angular_leaf_spot", "bean_rust", "healthy"):
        _write(folder / kind, each, seed, lambda rng, kind=kind: _leaf(rng, kind))
    return folder


def scenes(folder: Path, train: int = 24, test: int = 10, pred: int = 3, seed: int = 0) -> Path:
    """Six scenes as the Intel set comes: seg_train/seg_train/CLASS, seg_test/seg_test/CLASS, seg_pred/seg_pred."""
    for kind, draw in _SCENES.items():
        _write(folder / f"seg_train/seg_train/{kind}", train, seed, draw)
        _write(folder / f"seg_test/seg_test/{kind}", test, seed + 1, draw)
        _write(folder / "seg_pred/seg_pred", pred, seed + 2, draw, first=1 + pred * list(_SCENES).index(kind))
    return folder


def cutouts(folder: Path, each: int = 30, seed: int = 0) -> Path:
    """objects/CLASS/0.png, transparent around the thing, and backgrounds/CLASS/0.jpg, which go with the class."""
    for kind, (thing, behind) in {"bird": (_bird, _branches), "boat": (_boat, _water)}.items():
        _write(folder / "objects" / kind, each, seed, thing, suffix="png")
        _write(folder / "backgrounds" / kind, each, seed + 1, behind)
    return folder


def chests(folder: Path, train: int = 40, test: int = 24, seed: int = 0) -> Path:
    """Grey pictures in the manner of chest X-rays: FOLDER/{train,test}/{NORMAL,PNEUMONIA}/0.jpg."""
    for part, each, start in (("train", train, seed), ("test", test, seed + 1)):
        for kind in ("NORMAL", "PNEUMONIA"):
            _write(folder / part / kind, each, start, lambda rng, kind=kind: _chest(rng, kind == "PNEUMONIA"))
    return folder


def _write(
    folder: Path, count: int, seed: int, draw: Callable[[Random], Image.Image], first: int = 0, suffix: str = "jpg"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # By its name too: each class has random numbers of its own, whatever is drawn before it.
    rng = np.random.default_rng([seed, first, *folder.name.encode()])
    for i in range(first, first + count):
        draw(rng).resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(folder / f"{i}.{suffix}", quality=92)


# Textures


def _clouds(rng: Random, coarse: int, size: int = _FINE) -> np.ndarray:
    """Smooth noise in [0, 1], in which things are a `coarse`-th of the picture large."""
    small = Image.fromarray(rng.integers(0, 256, (coarse, coarse), np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), float) / 255


def _ground(rng: Random, dark: Colour, light: Colour, coarse: int = 12) -> Image.Image:
    """A background between two colours, coarse and fine."""
    mix = 0.6 * _clouds(rng, coarse) + 0.4 * _clouds(rng, 8 * coarse)
    mix = mix[..., None] * np.array(light) + (1 - mix[..., None]) * np.array(dark)
    return Image.fromarray(np.clip(mix, 0, 255).astype(np.uint8))


def _sky(rng: Random) -> Image.Image:
    top, low = np.array([90, 140, 205]) + rng.integers(-25, 25, 3), np.array([215, 225, 235])
    down = np.linspace(0, 1, _FINE)[:, None, None]
    sky = np.broadcast_to(top * (1 - down) + low * down, (_FINE, _FINE, 3))
    cloud = np.clip(1.8 * _clouds(rng, 5) - 0.8, 0, 1)[..., None]
    return Image.fromarray(np.clip(sky * (1 - cloud) + 245 * cloud, 0, 255).astype(np.uint8))


def _shade(rng: Random, colour: Colour, by: int = 20) -> Colour:
    red, green, blue = (int(np.clip(value + rng.integers(-by, by + 1), 0, 255)) for value in colour)
    return red, green, blue


def _ragged(rng: Random, y: float, rough: float, step: int = 10) -> list[tuple[float, float]]:
    """An uneven line from left to right."""
    return [(x, y + rng.normal(0, rough)) for x in range(-step, _FINE + 2 * step, step)]


def _turned(points: np.ndarray, angle: float, centre: tuple[float, float]) -> list[tuple[float, float]]:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return [(float(x), float(y)) for x, y in points @ turn.T + centre]


# Leaves


def _leaf(rng: Random, kind: str) -> Image.Image:
    picture = _ground(rng, (110, 105, 100), (175, 168, 158))
    centre, angle = (_FINE * rng.uniform(0.44, 0.56), _FINE * rng.uniform(0.44, 0.56)), rng.uniform(0, 2 * np.pi)
    along = np.linspace(-1, 1, 40)
    wide = _FINE * 0.27 * (1 - along**2) ** 0.7 * (1 - 0.25 * along)
    long = _FINE * 0.44 * along
    outline = np.concatenate([np.stack([long, wide], 1), np.stack([long, -wide], 1)[::-1]])
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon(_turned(outline, angle, centre), fill=255)
    leaf = _ground(rng, _shade(rng, (50, 105, 40), 12), _shade(rng, (90, 155, 70), 12), 6)
    draw = ImageDraw.Draw(leaf)
    for at in np.linspace(-0.7, 0.7, 8):
        for side in (-1, 1):
            vein = np.array([[at * _FINE * 0.42, 0], [(at + 0.22) * _FINE * 0.42, side * _FINE * 0.24]])
            draw.line(_turned(vein, angle, centre), fill=(125, 175, 100), width=2)
    draw.line(_turned(outline[[0, 39]], angle, centre), fill=(145, 190, 115), width=4)
    # Lesions lie together in one part of the leaf, so that a map has somewhere to point.
    middle = rng.uniform(-0.35, 0.35, 2) * np.array([_FINE * 0.6, _FINE * 0.25])
    count = {"angular_leaf_spot": 7, "bean_rust": 26, "healthy": 0}[kind]
    for spot in middle + rng.normal(0, 0.06 * _FINE, (count, 2)):
        (spot_at,) = _turned(spot[None], angle, centre)
        if kind == "bean_rust":
            _disc(draw, spot_at, 8, (205, 170, 60))
            _disc(draw, spot_at, 5, _shade(rng, (170, 80, 25)))
        else:
            corners = np.sort(rng.uniform(0, 2 * np.pi, 5))
            patch = np.stack([np.cos(corners), np.sin(corners)], 1) * rng.uniform(14, 24)
            draw.polygon(_turned(patch, 0, spot_at), fill=_shade(rng, (85, 50, 30), 12), outline=(50, 30, 20))
    return Image.composite(leaf, picture, mask)


def _disc(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: float, colour: Colour) -> None:
    draw.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)


# Scenes


def _buildings(rng: Random) -> Image.Image:
    picture = _sky(rng)
    draw = ImageDraw.Draw(picture)
    left = -20
    while left < _FINE:
        wide, top = int(rng.integers(60, 110)), int(rng.integers(40, 170))
        draw.rectangle((left, top, left + wide, _FINE), fill=_shade(rng, (150, 130, 120), 40), outline=(70, 65, 65))
        for y in range(top + 14, _FINE, 26):
            for x in range(left + 10, left + wide - 14, 22):
                draw.rectangle((x, y, x + 11, y + 15), fill=_shade(rng, (60, 75, 95), 15))
        left += wide + int(rng.integers(0, 12))
    # A road in front of some.
    if rng.random() < 0.25:
        picture.paste(_street(rng).crop((0, int(_FINE * 0.6), _FINE, _FINE)), (0, int(_FINE * 0.75)))
    return picture


def _forest(rng: Random) -> Image.Image:
    picture = _ground(rng, (25, 60, 25), (95, 140, 70))
    draw = ImageDraw.Draw(picture)
    for x in np.sort(rng.uniform(0, _FINE, 9)):
        thick = rng.uniform(5, 13)
        draw.rectangle((x - thick, rng.uniform(0, 40), x + thick, _FINE * 0.93), fill=_shade(rng, (85, 65, 45), 15))
        for _ in range(14):
            _disc(
                draw, (x + rng.normal(0, 30), rng.uniform(0, 130)), rng.uniform(8, 22), _shade(rng, (45, 100, 40), 25)
            )
    return picture


def _ridge(rng: Random, picture: Image.Image, top: float, rock: tuple[Colour, Colour], snow: float) -> None:
    """A jagged ridge with snow down to a share of its height."""
    peaks = np.sort(rng.uniform(0, _FINE, 5))
    line: list[tuple[float, float]] = [(-40, _FINE * 0.75)]
    for x in peaks:
        line += [(float(x), float(_FINE * rng.uniform(top, top + 0.2))), (float(x) + 30, float(_FINE * (top + 0.35)))]
    outline = [*line, (_FINE + 40, _FINE * 0.7), (_FINE + 40, _FINE), (-40, _FINE)]
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    picture.paste(_ground(rng, *rock), mask=mask)
    white = Image.new("L", picture.size)
    ImageDraw.Draw(white).polygon([*_ragged(rng, _FINE * snow, 14), (_FINE, 0), (0, 0)], fill=255)
    picture.paste(_ground(rng, (205, 215, 228), (250, 250, 252)), mask=ImageChops.darker(white, mask))


def _mountain(rng: Random) -> Image.Image:
    picture = _sky(rng)
    # Some are in snow, and look like a glacier: a set without doubtful pictures has no confusions to explain.
    snowed = rng.random() < 0.25
    _ridge(rng, picture, 0.15, ((75, 65, 60), (135, 120, 105)), 0.75 if snowed else rng.uniform(0.25, 0.4))
    if snowed:
        return picture
    green = Image.new("L", picture.size)
    ImageDraw.Draw(green).polygon([*_ragged(rng, _FINE * 0.82, 6), (_FINE, _FINE), (0, _FINE)], fill=255)
    picture.paste(_ground(rng, (45, 80, 40), (110, 140, 80)), mask=green)
    return picture


def _glacier(rng: Random) -> Image.Image:
    picture = _sky(rng)
    _ridge(rng, picture, 0.1, ((60, 60, 65), (110, 110, 115)), 0.5)
    ice = Image.new("L", picture.size)
    edge = 0.9 if rng.random() < 0.25 else 0.5
    ImageDraw.Draw(ice).polygon([*_ragged(rng, _FINE * edge, 8), (_FINE, _FINE), (0, _FINE)], fill=255)
    picture.paste(_ground(rng, (165, 205, 225), (245, 250, 252)), mask=ice)
    draw = ImageDraw.Draw(picture)
    # Crevasses: thin, blue, and one under the other.
    for y in np.arange(edge + 0.05, 0.98, 0.042):
        x = rng.uniform(0, _FINE * 0.5)
        crack = [(x + step, _FINE * y + rng.normal(0, 4)) for step in range(0, int(rng.uniform(90, 200)), 14)]
        draw.line(crack, fill=_shade(rng, (55, 125, 175), 15), width=int(rng.integers(3, 7)))
    return picture


def _sea(rng: Random) -> Image.Image:
    picture = _sky(rng)
    picture.paste(_water(rng), (0, int(_FINE * rng.uniform(0.35, 0.5))))
    return picture


def _street(rng: Random) -> Image.Image:
    picture = _sky(rng)
    draw = ImageDraw.Draw(picture)
    flat, middle = _FINE * 0.55, _FINE * rng.uniform(0.4, 0.6)
    for side in (0, 1):
        for near in (0.45, 0.7, 1.0):
            edge, top = middle + (2 * side - 1) * _FINE * 0.42 * near, flat - _FINE * 0.42 * near
            box = (
                (0, top, edge - _FINE * 0.1, _FINE * 0.8)
                if side == 0
                else (edge + _FINE * 0.1, top, _FINE, _FINE * 0.8)
            )
            if box[0] < box[2]:
                draw.rectangle(box, fill=_shade(rng, (165, 125, 95), 35), outline=(80, 65, 55))
    picture.paste(_ground(rng, (70, 70, 75), (125, 125, 128)).crop((0, 0, _FINE, int(_FINE - flat))), (0, int(flat)))
    draw.polygon([(middle, flat), (_FINE * 0.08, _FINE), (-40, _FINE), (-40, flat)], fill=(170, 160, 150))
    draw.polygon([(middle, flat), (_FINE * 0.92, _FINE), (_FINE + 40, _FINE), (_FINE + 40, flat)], fill=(170, 160, 150))
    for y in (0.08, 0.22, 0.45, 0.75):
        y0, y1 = flat + (_FINE - flat) * y, flat + (_FINE - flat) * (y + 0.16 * (0.4 + y))
        x0, x1 = (middle + (_FINE / 2 - middle) * (each - flat) / (_FINE - flat) for each in (y0, y1))
        draw.polygon([(x0 - 8 * y, y0), (x0 + 8 * y, y0), (x1 + 10 * y, y1), (x1 - 10 * y, y1)], fill=(245, 245, 235))
    return picture


# Things and what is behind them


def _water(rng: Random) -> Image.Image:
    picture = _ground(rng, _shade(rng, (25, 80, 125), 12), _shade(rng, (55, 125, 165), 12), 6)
    draw = ImageDraw.Draw(picture)
    for y in np.sort(rng.uniform(0, _FINE, 26)):
        x, wide = rng.uniform(0, _FINE), rng.uniform(20, 70)
        draw.arc((x - wide, y - 5, x + wide, y + 9), 190, 350, fill=_shade(rng, (185, 215, 230), 15), width=3)
    return picture


def _branches(rng: Random) -> Image.Image:
    picture = _ground(rng, (110, 145, 95), (190, 205, 170))
    draw = ImageDraw.Draw(picture)
    for y in rng.uniform(0, _FINE, 4):
        ends = [(-10, y), (_FINE * 0.5, y + rng.normal(0, 25)), (_FINE + 10, y + rng.normal(0, 60))]
        draw.line(ends, fill=_shade(rng, (90, 65, 45), 12), width=int(rng.integers(6, 14)), joint="curve")
        for _ in range(12):
            x = rng.uniform(0, _FINE)
            leaf = np.stack([np.cos(np.linspace(0, 6.28, 12)) * 20, np.sin(np.linspace(0, 6.28, 12)) * 8], 1)
            at = (x, y + rng.normal(0, 22))
            draw.polygon(_turned(leaf, rng.uniform(0, 6.28), at), fill=_shade(rng, (60, 125, 45), 25))
    return picture


def _bird(rng: Random) -> Image.Image:
    picture = Image.new("RGBA", (_FINE, _FINE))
    draw = ImageDraw.Draw(picture)
    body, wing = _shade(rng, (190, 60, 45), 30), _shade(rng, (110, 40, 40), 20)
    draw.polygon([(60, 150), (10, 105), (5, 160), (70, 190)], fill=wing)
    draw.ellipse((45, 110, 230, 240), fill=body)
    draw.ellipse((190, 60, 285, 155), fill=body)
    draw.polygon([(278, 95), (318, 110), (278, 122)], fill=(240, 180, 40))
    draw.polygon([(80, 150), (180, 140), (200, 185), (110, 215)], fill=wing)
    draw.ellipse((235, 85, 253, 103), fill=(245, 245, 245))
    draw.ellipse((240, 90, 250, 100), fill=(10, 10, 10))
    for x in (120, 160):
        draw.line([(x, 235), (x + 5, 285), (x + 25, 290)], fill=(90, 70, 40), width=7)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture


def _boat(rng: Random) -> Image.Image:
    picture = Image.new("RGBA", (_FINE, _FINE))
    draw = ImageDraw.Draw(picture)
    hull, sail = _shade(rng, (175, 75, 50), 30), _shade(rng, (225, 215, 195), 25)
    draw.line([(160, 20), (160, 230)], fill=(80, 55, 40), width=8)
    draw.polygon([(168, 25), (168, 205), (280, 205)], fill=sail)
    draw.polygon([(150, 50), (150, 205), (60, 205)], fill=_shade(rng, sail, 15))
    draw.polygon([(20, 225), (300, 225), (255, 295), (70, 295)], fill=hull)
    draw.line([(30, 240), (290, 240)], fill=(240, 235, 225), width=6)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture


# Chests


def _chest(rng: Random, ill: bool) -> Image.Image:
    y, x = np.mgrid[:_FINE, :_FINE] / _FINE
    x, y = x - rng.normal(0.5, 0.015), y - rng.normal(0.5, 0.015)
    grey = 165 - 150 * np.clip(np.hypot(x / 0.5, y / 0.62) - 0.8, 0, 0.6)
    scale = rng.normal(1, 0.04)
    inside = np.zeros_like(grey)
    for side in (-1, 1):
        lung = np.hypot((x - 0.2 * side) / (0.155 * scale), (y + 0.02) / (0.33 * scale))
        inside = np.maximum(inside, 1 / (1 + np.exp(14 * (lung - 1))))
    grey = grey - 105 * inside
    # Ribs, spine, heart: what is dense is light.
    grey += 16 * inside * np.clip(np.sin(40 * (y + 0.55 * np.abs(x) ** 1.5)), 0, 1)
    grey += 45 * np.exp(-((x / 0.035) ** 2)) + 70 * np.exp(-(np.hypot((x - 0.06) / 0.12, (y - 0.14) / 0.14) ** 4))
    if ill:
        # Clouds in one or both lungs.
        for side in rng.choice([-1, 1], int(rng.integers(1, 3)), replace=False):
            at = (0.2 * side + rng.normal(0, 0.02), rng.uniform(-0.12, 0.2))
            spread = np.exp(-(np.hypot((x - at[0]) / 0.11, (y - at[1]) / 0.13) ** 2))
            grey += 75 * inside * spread * (0.55 + 0.45 * _clouds(rng, 14))
    grey += 7 * (_clouds(rng, 60) - 0.5) + rng.normal(0, 4, grey.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))


_SCENES = {
    "buildings": _buildings,
    "forest": _forest,
    "glacier": _glacier,
    "mountain": _mountain,
    "sea": _sea,
    "street": _street,
}
