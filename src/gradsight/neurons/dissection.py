"""Network Dissection (arXiv:1704.05796): which concept each channel of a layer detects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradsight import contents, npz
from gradsight.checks import index, taken
from gradsight.errors import InvalidArgument, received
from gradsight.neurons.activations import ActivationFn, Batches
from gradsight.neurons.concepts import Concepts
from gradsight.neurons.overlaps import Overlaps, thresholds_of
from gradsight.rules import Array, Each, Instance, Name, Number, Text, Whole

LEAST = Number(0, 1)
"""A channel gets a name if its IoU is over this."""


@dataclass(frozen=True, eq=False)
class Dissection:
    """How well each channel of a layer detects each concept, as ``explainer.dissect(concepts)`` finds it.

    >>> import numpy as np
    >>> import gradsight as gs
    >>> found = gs.Dissection(
    ...     iou=np.array([[0.01, 0.3], [0.02, 0.03]]), concepts=("fur", "sky"), categories=("", ""),
    ...     thresholds=np.ones(2), areas=np.full(2, 0.2), counts=np.array([12, 15]),
    ...     quantile=0.005, photos=27, layer="layer4", model="mine",
    ... )
    >>> found.name(0), found.name(1), found.best(1)
    ('sky', None, ('sky', 0.03))

    Attributes:
        iou: (channels, concepts) float32 in [0, 1]: where the channel is over its threshold and where the concept is,
            intersection over union, over all photos that are labelled in the concept's category.
        concepts: their names.
        categories: of each concept; ``""`` for none.
        thresholds: (channels,) float32: what a channel is over at ``quantile`` of all positions of all photos.
        areas: (concepts,) float32: the concept's share of its category's photos, as far as the model sees them; 0 for
            a concept that no channel could have been found for.
        counts: (concepts,) how many photos show each; the paper leaves out what fewer than ten show.
        quantile: the share of positions.
        photos: how many there were in all.
        layer, model: their names.
    """

    iou: NDArray[np.float32]
    concepts: tuple[str, ...]
    categories: tuple[str, ...]
    thresholds: NDArray[np.float32]
    areas: NDArray[np.float32]
    counts: NDArray[np.integer]
    quantile: float
    photos: int
    layer: str
    model: str

    def __post_init__(self) -> None:
        iou = taken("iou", self.iou, Array((2,), "an array (channels, concepts)"))
        texts = Each(Text(), (iou.shape[1],))
        for name in ("concepts", "categories"):
            object.__setattr__(self, name, taken(name, getattr(self, name), texts))
        for name, count in (("thresholds", iou.shape[0]), ("areas", iou.shape[1]), ("counts", iou.shape[1])):
            values = taken(name, getattr(self, name), Array((1,), f"an array ({count},)"))
            if len(values) != count:
                raise InvalidArgument(f"`{name}` must have {count} values, as `iou` has. {received(values)}")
        taken("quantile", self.quantile, Number(0, 1))
        taken("photos", self.photos, Whole(0))
        taken("layer", self.layer, Text())
        taken("model", self.model, Text())

    def best(self, channel: int) -> tuple[str, float]:
        """The concept that a channel detects best, and its IoU, however low.

        Raises:
            InvalidArgument: there is no such channel.
        """
        channel = index("channel", channel, len(self.iou))
        concept = int(self.iou[channel].argmax())
        return self.concepts[concept], float(self.iou[channel, concept])

    def name(self, channel: int, least: float = 0.04) -> str | None:
        """The concept that a channel detects; None where its best IoU is not over ``least`` (the paper's: 0.04)."""
        least = taken("least", least, LEAST, "It is an IoU; pass 0.04.")
        name, iou = self.best(channel)
        return name if iou > least else None

    def check(self, layer: str, model: str, channels: int) -> None:
        """Check that it belongs to the explained layer.

        Raises:
            InvalidArgument: it is of another layer or model.
            InvalidType: a name is none.
        """
        layer, model = taken("layer", layer, Text()), taken("model", model, Text())
        channels = taken("channels", channels, Whole(0))
        # A dissection of another layer would name channels wrongly, and nothing would look wrong.
        if (self.layer, len(self.iou)) != (layer, channels):
            raise InvalidArgument(
                f"`dissection` must be of the explained layer, {layer!r} with {channels} channels. Received: one of "
                f"{self.layer!r} with {len(self.iou)}. Call explainer.dissect(concepts, layer={layer!r})."
            )
        if self.model != model:
            raise InvalidArgument(
                f"`dissection` must be of the explained model, {model!r}. Received: one of {self.model!r}. Dissect "
                f"with the same Explainer; if both are one model, give both one name: Explainer(name={self.model!r})."
            )

    def save(self, path: str | Path) -> None:
        """Write it to an ``.npz`` file.

        Raises:
            InvalidType: ``path`` is none.
            InvalidArgument: it cannot be written.
        """
        path = taken("path", path, Name())
        about = {name: getattr(self, name) for name in (*_TEXTS, *_ROWS)}
        npz.pack(path, about, {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | Path) -> Dissection:
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            InvalidArgument: the file is none of ours.
        """
        return npz.unpack(taken("path", path, Name()), _made, "a dissection", "Dissection.save")

    def __repr__(self) -> str:
        named = sum(self.name(channel) is not None for channel in range(len(self.iou)))
        return (
            f"Dissection(layer={self.layer!r}, model={self.model!r}: {named} of {len(self.iou)} channels detect one of "
            f"{len(self.concepts)} concepts)"
        )


_ARRAYS, _ROWS = ("iou", "thresholds", "areas", "counts"), ("concepts", "categories")
_TEXTS = ("quantile", "photos", "layer", "model")


def _made(about: object, arrays: Mapping[str, NDArray[np.float32]]) -> Dissection:
    about = contents.fields(about, "what is said about it", (*_TEXTS, *_ROWS))
    # The file may come from anyone: each value is checked before an object is made of it.
    names = contents.texts(about["concepts"], "concepts")
    if not names:
        raise ValueError("concepts must be one or more")
    iou = contents.floats(arrays, "iou", (None, len(names)))
    areas = contents.floats(arrays, "areas", (len(names),))
    if not all(((values >= 0) & (values <= 1 + 1e-6)).all() for values in (iou, areas)):
        raise ValueError("`iou` and `areas` must lie in [0, 1]")
    return Dissection(
        iou=iou,
        concepts=names,
        categories=contents.texts(about["categories"], "categories", len(names)),
        thresholds=contents.floats(arrays, "thresholds", (len(iou),)),
        areas=areas,
        counts=contents.array(arrays, "counts", (len(names),), "iu"),
        quantile=contents.number(about["quantile"], "quantile"),
        photos=contents.whole(about["photos"], "photos", least=1),
        layer=contents.text(about["layer"], "layer"),
        model=contents.text(about["model"], "model"),
    )


def dissect(
    forward: ActivationFn, concepts: Concepts | str | Path, *, model: str, batch_size: int, quantile: float = 0.005
) -> Dissection:
    """Compare where each channel of a layer is strongly active with where each concept is (section 2.2 of the paper).

    A channel's threshold T is the lowest of its values that at most ``quantile`` of them are over, P(a > T), over all
    positions of all photos. Its map is enlarged to the masks' resolution by bilinear interpolation, the centre of a
    cell at the centre of the area it stands for, and its mask M is where that is over T. (The paper writes "at least
    T"; its code takes "over", without which a channel that is silent nearly always, T = 0, would be on everywhere.)
    A channel that reaches its largest value at more positions than that, as behind ReLU6, is active at all of them.
    With the concept's masks L, IoU = sum |M & L| / sum |M | L|, both sums over the photos labelled in the concept's
    category. Padding around a photo is compared with nothing.

    Args:
        forward: the forward pass of a few photos, to the layer.
        concepts: the photos, or their folder.
        model: its name.
        batch_size: how many photos are in memory at once.
        quantile: the paper's is 0.005.

    Raises:
        InvalidArgument: ``quantile`` is out of range (0, 0.5], or the photos have too few positions for it.
        ImageError: a photo or mask cannot be read.
    """
    concepts = Concepts.read(concepts) if isinstance(concepts, str | Path) else concepts
    concepts = taken("concepts", concepts, Instance(Concepts, "gs.Concepts, or a folder of them"))
    quantile = taken("quantile", quantile, Number(above=0, most=0.5), "Pass 0.005.")
    batches = Batches(forward, [photo.path for photo in concepts.photos], batch_size)
    # Twice through the photos: a threshold is known only when all of them were seen.
    thresholds, layer = thresholds_of(batches, len(concepts.photos), float(quantile))
    counts = Overlaps(concepts, len(thresholds))
    for which, activations in batches:
        for i, values, placement in zip(which, activations.values, activations.placements, strict=True):
            counts.add(concepts.photos[i], values, placement, thresholds)
    return Dissection(
        iou=counts.iou(),
        concepts=concepts.names,
        categories=concepts.categories,
        thresholds=thresholds,
        areas=counts.areas(),
        counts=counts.photos,
        quantile=float(quantile),
        photos=len(concepts.photos),
        layer=layer,
        model=model,
    )
