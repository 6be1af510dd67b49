"""Pictures: read them, fit them to a model, place a map back on them, draw it. Signals and volumes: draw them.

NumPy and Pillow only, no framework.
"""

from gradsight.imaging.colour import DEFAULT, DIVERGING, NAME, colorize, colormap, colormaps, ends
from gradsight.imaging.fit import PARTS, Preprocess, name_of
from gradsight.imaging.grid import Row, grid
from gradsight.imaging.legend import Legend, draw_legend, stacked
from gradsight.imaging.overlay import OPACITY, draw, outlined, overlay
from gradsight.imaging.panel import HEIGHT, strip
from gradsight.imaging.placement import Placement
from gradsight.imaging.read import SUFFIXES, read_image, read_opacity
from gradsight.imaging.region import Region, display_max, nan_to_zero, region, smoothed
from gradsight.imaging.resample import resize
from gradsight.imaging.signal import signal
from gradsight.imaging.slices import slices
from gradsight.imaging.write import encoded, format_of, save

__all__ = [
    "DEFAULT",
    "DIVERGING",
    "HEIGHT",
    "NAME",
    "OPACITY",
    "PARTS",
    "SUFFIXES",
    "Legend",
    "Placement",
    "Preprocess",
    "Region",
    "Row",
    "colorize",
    "colormap",
    "colormaps",
    "display_max",
    "draw",
    "draw_legend",
    "encoded",
    "ends",
    "format_of",
    "grid",
    "name_of",
    "nan_to_zero",
    "outlined",
    "overlay",
    "read_image",
    "read_opacity",
    "region",
    "resize",
    "save",
    "signal",
    "slices",
    "smoothed",
    "stacked",
    "strip",
]
