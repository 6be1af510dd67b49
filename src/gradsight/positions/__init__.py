"""How positions of the input reach positions of a layer, found by trial.

Noise is laid over an image: evenly, and then growing along one axis after the other. Where an element of a layer
answers the growing noise as it answers the even one, times r, it looks at the part of the image that lies at r, from 0
to 1, along that axis. That tells for every layout that its output could have whether the positions that the layout
gives to elements are those that they look at. Shapes are believed only where no element tells.
"""

from gradsight.positions.places import Call, Places
from gradsight.positions.settle import Positions, settle

__all__ = ["Call", "Places", "Positions", "settle"]
