"""That the fields of an explanation fit each other, whoever made it: a method, a file, a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, received
from gradsight.imaging import Placement
from gradsight.results.note import Note
from gradsight.rules import Array, Choice, Each, Instance, Rule, Text, Whole
from gradsight.targets import Prediction, TargetInfo

if TYPE_CHECKING:
    from gradsight.results.maps import Maps

_MAPS = Array((3, 4, 5), "an array (n, k, *positions) of one to three axes of positions")
_NAMED = Instance(TargetInfo, "a target with its name")
_PREDICTION = Instance(Prediction, "a class with its probability")
_NOTE = Instance(Note, "a gs.Note")
# None or any number of them: without such lengths, `Each` asks for one at least.
_MANY = range(1000)
_COUNTS = {"layer": range(1, 2), "layers": range(1, 1000), "input": range(1)}
"""How many layers there are by what the maps are of."""


def check(explanation: Maps) -> None:
    """Check that the fields of an explanation fit each other.

    Raises:
        InvalidArgument: values that do not fit each other, such as scores of fewer targets than there are maps.
        InvalidType: what must be a text is none, or ``preprocess`` is no dict.
    """
    n, k = check_maps(explanation.maps).shape[:2]
    _check_shapes(explanation, n, k)
    taken("input_size", explanation.input_size, Each(Whole(1), (1, 2, 3)))
    taken("channel_axis", explanation.channel_axis, Whole(0))
    _check_layers(explanation)
    for name in ("method", "model", "title", "question"):
        taken(name, getattr(explanation, name), Text())
    optional("preprocess", explanation.preprocess, Instance(Mapping, "a dict of plain values"))
    # None at all, or one for each image: a batch of arrays has no photos.
    photos = len(taken("photos", explanation.photos, Each(Instance(Image.Image, "a PIL image"), (n, 0))))
    rows: dict[str, Rule[object]] = {
        "targets": Each(Each(_NAMED, (k,)), (n,)),
        "placements": Each(Instance(Placement, "a gs.Placement"), (photos,)),
        "predictions": Each(Each(_PREDICTION, _MANY), (n, 0)),
        "target_notes": Each(Each(Each(_NOTE, _MANY), (k,)), (n, 0)),
        "written": Each(Text(), (n, 0)),
    }
    for name, rule in rows.items():
        taken(name, getattr(explanation, name), rule)


def check_maps(maps: object) -> NDArray[np.floating]:
    """Check that maps are an array of images, targets and one to three axes of positions.

    Raises:
        InvalidArgument: they are something else.
    """
    return taken("maps", maps, _MAPS)


def _check_layers(explanation: Maps) -> None:
    """See that there are as many layers as ``at`` says."""
    at = taken("at", explanation.at, Choice(tuple(_COUNTS), "place of maps"))
    counts, layers = _COUNTS[at], taken("layers", explanation.layers, Each(Text(), _MANY))
    if len(layers) not in counts:
        few = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} or more"
        raise InvalidArgument(f"`layers` must have {few} name(s) where `at` is {at!r}. {received(explanation.layers)}")


def _check_shapes(explanation: Maps, n: int, k: int) -> None:
    """Check that the other arrays have as many images and targets as the maps."""
    shapes: dict[str, tuple[int, ...]] = {"scores": (n, k)}
    if explanation.alphas is not None:
        # How many channels a layer has is not said by the maps, only by the alphas themselves.
        channels = taken("alphas", explanation.alphas, Array((3,), "an array (n, k, channels)")).shape[2]
        shapes |= {"alphas": (n, k, channels), "channel_means": (n, channels)}
    for name, shape in shapes.items():
        rule = Array((len(shape),), f"an array of shape {shape}, as the maps say")
        values = taken(name, getattr(explanation, name), rule)
        if values.shape != shape:
            raise InvalidArgument(f"`{name}` must be {rule.rule}. {received(values)}")
