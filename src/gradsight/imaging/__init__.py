"""Pictures: read them, fit them to a model, place a map back on them, draw it. NumPy and Pillow only, no framework."""

from gradsight.imaging.colour import DEFAULT, DIVERGING, colorize, colormap, colormaps
from gradsight.imaging.fit import Preprocess
from gradsight.imaging.overlay import overlay
from gradsight.imaging.panel import strip
from gradsight.imaging.placement import Placement
from gradsight.imaging.read import read_image
from gradsight.imaging.region import Region, region
from gradsight.imaging.resample import resize

__all__ = [
    "DEFAULT",
    "DIVERGING",
    "Placement",
    "Preprocess",
    "Region",
    "colorize",
    "colormap",
    "colormaps",
    "overlay",
    "read_image",
    "region",
    "resize",
    "strip",
]
