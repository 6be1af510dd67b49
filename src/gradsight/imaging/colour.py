"""Colour maps by name, from cmap's catalogue."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gradsight.checks import taken
from gradsight.errors import unknown
from gradsight.rules import Text

DEFAULT = "plasma"
"""Chosen by looking at overlays on dark, bright, red, green and blue photos, and by colour differences (CIE 1976)
between overlay and photo over the pixels of 128 COCO photos shrunk to 24 x 24. Of jet, turbo, inferno, magma, viridis,
cividis, hot and plasma it makes the hottest spot stand out best: in the worst 5 % of pixels by 54 (46 and 54 for
deuteranopes and protanopes); jet and turbo by 31 to 33 (11 to 13), because their dark red sinks into photos; inferno
and magma by 23 to 30, because their pale end vanishes on snow. Half the heat shows less: 22, not 30.
It is perceptually even and grows lighter all the way, so it survives grey printing; jet and turbo end as dark as they
begin, and their rings look like edges that the map does not have. Its dark end, hard to tell from shadows, is
transparent in an overlay whose opacity follows the value.
"""

NAME = Text("the name of a colour map")

DIVERGING = "bwr"
"""Blue to red, which colour-blind people tell apart. The perceptually even vik and balance end so dark that on dark
photos both signs look like shadows; the white middle is transparent in an overlay whose opacity follows the value.
"""

_RECOMMENDED = (DEFAULT, "inferno", "magma", "viridis", "cividis", "hot", "turbo", "jet", DIVERGING, "vik", "balance")


def colormaps() -> list[str]:
    """List the recommended names; every other name of cmap's catalogue works too."""
    return list(_RECOMMENDED)


def colormap(name: str) -> NDArray[np.float32]:
    """Look a colour map up.

    Args:
        name: a name of cmap's catalogue, such as ``"viridis"``, ``"viridis_r"`` (reversed) or ``"crameri:vik"``.

    Returns:
        Its table, read-only, of shape (n, 3): RGB in [0, 1] for values evenly spaced from 0 to 1.

    Raises:
        InvalidType: ``name`` is not a text.
        UnknownName: there is no such colour map.
    """
    # Checked outside of the cache, which cannot take a value that has no hash.
    return _table(taken("colormap", name, NAME, f"Pass {DEFAULT!r}."))


@lru_cache(maxsize=64)
def _table(name: str) -> NDArray[np.float32]:
    import cmap

    try:
        table = cmap.Colormap(name).lut()
    except Exception:  # a ValueError of most names, and others of those that look like a colour or a file
        choices = [*_RECOMMENDED, *cmap.Catalog().short_keys()]
        raise unknown("colour map", name, choices, "The catalogue: https://cmap-docs.readthedocs.io.") from None
    table = np.ascontiguousarray(table[:, :3], dtype=np.float32)
    # All callers share the one in the cache.
    table.flags.writeable = False
    return table


def colorize(values: NDArray[np.floating], name: str = DEFAULT) -> NDArray[np.float32]:
    """Colour values.

    Args:
        values: any shape, in [0, 1]; what lies outside is clipped, and NaN counts as 0.
        name: a colour map's name.

    Returns:
        (*values.shape, 3), RGB in [0, 1].
    """
    table = colormap(name)
    steps = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * (len(table) - 1)
    colours: NDArray[np.float32] = table.take(np.rint(steps).astype(np.intp), axis=0)
    return colours


_WORDS = {
    "red": (1.0, 0.0, 0.0),
    "dark red": (0.45, 0.0, 0.05),
    "orange": (1.0, 0.6, 0.1),
    "yellow": (0.95, 0.95, 0.15),
    "green": (0.1, 0.7, 0.2),
    "blue": (0.0, 0.0, 1.0),
    "dark blue": (0.0, 0.1, 0.4),
    "light blue": (0.4, 0.7, 1.0),
    "purple": (0.5, 0.1, 0.6),
    "pink": (1.0, 0.5, 0.75),
    "brown": (0.5, 0.3, 0.1),
    "black": (0.0, 0.0, 0.0),
    "grey": (0.5, 0.5, 0.5),
    "white": (1.0, 1.0, 1.0),
}


def ends(name: str) -> tuple[str, str]:
    """What to call the colours of the least and of the largest value of a colour map, for captions."""
    nearest = [
        min(_WORDS, key=lambda word: float(np.square(colour - np.array(_WORDS[word])).sum()))
        for colour in colormap(name)[[0, -1]]
    ]
    return nearest[0], nearest[1]
