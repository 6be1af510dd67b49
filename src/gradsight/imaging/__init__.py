"""Pictures: read them, fit them to a model, place a map back on them, draw it. Signals and volumes: draw them.

NumPy and Pillow only, no framework.
"""

from gradsight.imaging.colour import DEFAULT, DIVERGING, NAME, colorize, colormap, colormaps, ends
from gradsight.imaging.fit import PARTS, Preprocess, name_of
from gradsight.imaging.grid import Row, grid
from gradsight.imaging.hottest import regions
from gradsight.imaging.legend import Legend, draw_legend, with_legends
from gradsight.imaging.overlay import MAX_SIDE, OPACITY, Paint, dimmed, draw, outlined, overlay, shrunk, transparent
from gradsight.imaging.panel import HEIGHT, stacked, strip
from gradsight.imaging.placement import Placement
from gradsight.imaging.read import SUFFIXES, read_image, read_marked, read_opacity
from gradsight.imaging.region import Region, areas, display_max, hot, hot_rows, nan_to_zero, region, smoothed
from gradsight.imaging.resample import Floats, resize, stretched
from gradsight.imaging.signal import signal
from gradsight.imaging.slices import slices
from gradsight.imaging.sweep import overlaps, swept
from gradsight.imaging.write import NOT_WRITTEN, encoded, format_of, save

__all__ = [
    "DEFAULT",
    "DIVERGING",
    "HEIGHT",
    "MAX_SIDE",
    "NAME",
    "NOT_WRITTEN",
    "OPACITY",
    "PARTS",
    "SUFFIXES",
    "Floats",
    "Legend",
    "Paint",
    "Placement",
    "Preprocess",
    "Region",
    "Row",
    "areas",
    "colorize",
    "colormap",
    "colormaps",
    "dimmed",
    "display_max",
    "draw",
    "draw_legend",
    "encoded",
    "ends",
    "format_of",
    "grid",
    "hot",
    "hot_rows",
    "name_of",
    "nan_to_zero",
    "outlined",
    "overlaps",
    "overlay",
    "read_image",
    "read_marked",
    "read_opacity",
    "region",
    "regions",
    "resize",
    "save",
    "shrunk",
    "signal",
    "slices",
    "smoothed",
    "stacked",
    "stretched",
    "strip",
    "swept",
    "transparent",
    "with_legends",
]
