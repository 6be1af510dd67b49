"""Which part of the image each element of a layer depends on, found by trial, and the layout that follows from it.

The trial adds noise to an image: first evenly, then growing from 0 to 1 along one axis after the other. If an element
changes r times as much by the growing noise as by the even noise, it depends on the part of the image at r along that
axis: this is its location. A layout gives each element a position. The layout is right if these positions agree with
the locations. The shape of an output alone is used only where no element has a clear location.
"""

from gradsight.positions.locations import Call, Locations
from gradsight.positions.resolve import Positions, resolve_layouts

__all__ = ["Call", "Locations", "Positions", "resolve_layouts"]
