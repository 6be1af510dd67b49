"""Layouts: which axis of a layer's output is what, and how tokens fold to their grid."""

from gradsight.layouts.by_shape import layouts, proportional
from gradsight.layouts.layout import (
    MIXED_ROWS,
    ORDERS,
    AmbiguousLayout,
    Grid,
    Layout,
    forced_layout,
    image_layout,
    only_layout,
)

__all__ = [
    "MIXED_ROWS",
    "ORDERS",
    "AmbiguousLayout",
    "Grid",
    "Layout",
    "forced_layout",
    "image_layout",
    "layouts",
    "only_layout",
    "proportional",
]
