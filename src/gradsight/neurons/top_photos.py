"""The photos with the highest activations of a channel, and where in them these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gradsight.checks import optional, taken
from gradsight.errors import ImageError, InvalidArgument, UnknownName, received
from gradsight.imaging import Placement, Row, grid, overlay, read_image
from gradsight.neurons.activations import ActivationFn, Batches
from gradsight.rules import Each, Instance, Name, Text, Whole

_DRAWN = 400
"""The longer side of a drawn photo, in pixels."""


_CHANNELS = Each(Whole(0), words="numbers of channels, from 0, at least one")
_LINES = Each(Text(), range(100), "lines of text, in a list")
_ANY = range(1 << 20)


@dataclass(frozen=True, eq=False)
class Example:
    """A photo with a high activation of a channel.

    Attributes:
        path: the photo.
        activation: the channel's largest value in it.
        mean: its mean over positions.
        peak: (row, column) of that position's centre, in pixels of the photo.
        map: (h, w) float32: the channel at all positions.
        placement: where the model's input lies on the photo.
    """

    path: Path
    activation: float
    mean: float
    peak: tuple[int, int]
    map: NDArray[np.float32]
    placement: Placement

    def drawn(self, scale: float) -> Image.Image:
        """The part of the photo that the model sees, under the channel's activation; ``scale`` is full heat."""
        photo, (top, left, bottom, right) = read_image(self.path), self.placement.seen
        # Drawn small: a table of photos of 12 megapixels would take seconds and gigabytes.
        shrunk = min(1.0, _DRAWN / max(bottom - top, right - left))
        size = (max(1, round(photo.width * shrunk)), max(1, round(photo.height * shrunk)))
        by = (size[1] / photo.height, size[0] / photo.width) * 2
        box = tuple(value * factor for value, factor in zip(self.placement.box, by, strict=True))
        small = Placement((size[1], size[0]), self.placement.input_size, box)  # type: ignore[arg-type]
        drawn = overlay(photo.resize(size, Image.Resampling.LANCZOS), small.to_image(self.map / scale).clip(0, 1))
        top, left, bottom, right = small.seen
        return shaped(drawn.crop((left, top, right, bottom)), self.placement)


@dataclass(frozen=True, eq=False)
class TopActivating:
    """For each channel the photos with its highest activations, as ``explainer.top_activating`` finds them.

    >>> import pathlib, tempfile
    >>> import torch
    >>> from PIL import Image
    >>> import gradsight as gs
    >>> features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> model = torch.nn.Sequential(features, torch.nn.Flatten(), torch.nn.Linear(144, 2)).eval()
    >>> explainer = gs.Explainer(model, layer="0", preprocess=gs.Preprocess(size=8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [pathlib.Path(folder) / f"{colour}.png" for colour in ("red", "blue")]
    ...     for path in paths:
    ...         Image.new("RGB", (8, 8), path.stem).save(path)
    ...     explainer.top_activating(paths, [0, 3], k=1).layer
    '0'

    Attributes:
        examples: by channel, the photo with the highest activation first; fewer where the channel is over 0 in fewer.
        layer: whose channels they are.
        failed: for each photo that could not be read, why.
    """

    examples: Mapping[int, tuple[Example, ...]]
    layer: str
    failed: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for channel, examples in taken("examples", self.examples, Instance(Mapping, "a dict by channel")).items():
            taken("examples", channel, Whole(0))
            taken("examples", examples, Each(Instance(Example, "photos of a channel"), _ANY))
        taken("layer", self.layer, Text())
        taken("failed", self.failed, Each(Text(), _ANY))

    def __getitem__(self, channel: int) -> tuple[Example, ...]:
        """The examples of one channel.

        Raises:
            UnknownName: it is none of those that were asked for.
        """
        number = Whole().read(channel)
        if number is None or number not in self.examples:
            known = ", ".join(map(str, self.examples))
            raise UnknownName(
                f"There is no such channel among these. {received(channel)} Choose from: {known or '(none)'}."
            )
        return self.examples[number]

    def figure(
        self,
        photo: Image.Image | None = None,
        about: Sequence[str] = (),
        *,
        channels: Sequence[int] | None = None,
        remarks: Mapping[int, Sequence[str]] | None = None,
        height: int | None = None,
    ) -> Image.Image:
        """Draw a row of photos for each channel, its activation over them; a row's heat is scaled by its largest.

        Args:
            photo: drawn above in the shape of the others, such as what the model saw of the photo it decided about.
            about: lines beside it.
            channels: which of them, in which order; all by default.
            remarks: lines under a channel's number.
            height: of each photo in pixels.

        Raises:
            InvalidArgument: there are no channels, or an argument is none of these.
            UnknownName: one of the channels is none of those that were asked for.
            ImageError: a photo can no longer be read.
        """
        optional("photo", photo, Instance(Image.Image, "a PIL image"))
        about = taken("about", about, _LINES)
        chosen = list(self.examples) if channels is None else taken("channels", channels, _CHANNELS)
        said = optional("remarks", remarks, Instance(Mapping, "a dict of channel to lines of text")) or {}
        columns = max((len(self[channel]) for channel in chosen), default=0) or 1
        rows = [self._row(channel, columns, taken("remarks", said.get(channel, ()), _LINES)) for channel in chosen]
        heading = [["most exciting"], *([""] for _ in range(columns - 1))]
        return grid(photo, about or [f"Layer {self.layer}"], heading, rows, height=height)

    def _row(self, channel: int, columns: int, remarks: Sequence[str]) -> Row:
        examples = self.examples[channel]
        if not examples:
            return Row(f"channel {channel}", remarks, failure="No photo excites it: it is over 0 nowhere.")
        cells = [
            (example.drawn(examples[0].activation), f"{example.activation:.3g}  {example.path.name}")
            for example in examples
        ]
        blank = Image.new("RGB", cells[0][0].size, "white")
        return Row(f"channel {channel}", remarks, [*cells, *[(blank, "")] * (columns - len(cells))])


def shaped(picture: Image.Image, placement: Placement) -> Image.Image:
    """A picture in the shape of the model's input, filled up with white: the pictures of a table have one shape."""
    height, width = placement.input_size
    scale = max(picture.width / width, picture.height / height)
    return ImageOps.pad(picture, (max(1, round(width * scale)), max(1, round(height * scale))), color="white")


def top_activating(
    forward: ActivationFn, photos: Sequence[str | Path], channels: Sequence[int], *, k: int = 4, batch_size: int = 32
) -> TopActivating:
    """Find the photos that excite channels most, by the largest activation over positions.

    Of equal ones the larger mean comes first: many channels of a network with ReLU6 reach 6 in many photos.

    Args:
        forward: the forward pass of a few photos, to the layer.
        photos: their paths.
        channels: which channels, from 0.
        k: how many photos for each of them.
        batch_size: how many photos are in memory at once; of the others only their ``k`` best maps are.

    Raises:
        ImageError: none of the photos can be read.
        InvalidArgument: an argument is empty or out of range.
        InvalidType: ``photos`` are no paths.
    """
    paths = _paths(photos)
    k = taken("k", k, Whole(1), "Pass k=4.")
    best: dict[int, list[Example]] = {channel: [] for channel in taken("channels", channels, _CHANNELS)}
    failed: list[ImageError] = []
    layer = ""
    for which, activations in Batches(forward, paths, batch_size, failed.append):
        layer, count = activations.layer, activations.values.shape[1]
        # Known only after the first pass; before it nobody knows how many channels the layer has.
        if max(best) >= count:
            raise InvalidArgument(f"`channels` of layer {layer!r} are 0 to {count - 1}. {received(max(best))}")
        for i, values, placement in zip(which, activations.values, activations.placements, strict=True):
            for channel, kept in best.items():
                _keep(kept, k, paths[i], values[channel], placement)
    if len(failed) == len(paths):
        raise failed[0]
    examples = {channel: tuple(kept) for channel, kept in best.items()}
    return TopActivating(examples, layer, tuple(str(error) for error in failed))


def _paths(photos: Sequence[str | Path]) -> list[Path]:
    if isinstance(photos, list | tuple) and not photos:
        raise InvalidArgument("`photos` must hold at least one path. Received: nothing.")
    way_out = "Pass sorted(folder.glob('*.jpg'))."
    return [Path(photo) for photo in taken("photos", photos, Each(Name(), words="a list of paths"), way_out)]


def _keep(kept: list[Example], k: int, path: Path, values: NDArray[np.float32], placement: Placement) -> None:
    """Add a photo to the k best of a channel, if it is one of them. Of equal ones the first stays first."""
    highest, mean = float(values.max()), float(values.mean())
    # After a ReLU 0 means silent: a photo in which the channel is silent is no example of it.
    if highest <= 0 or (len(kept) == k and (highest, mean) <= (kept[-1].activation, kept[-1].mean)):
        return
    at = np.unravel_index(int(values.argmax()), values.shape)
    # The centre of the cell, on the input and from there on the photo.
    on_input = [(at[i] + 0.5) * placement.input_size[i] / values.shape[i] - 0.5 for i in range(2)]
    on_photo = zip(placement.to_pixel(*on_input), placement.image_size, strict=True)
    row, column = (min(max(round(value), 0), side - 1) for value, side in on_photo)
    # A copy: a view would keep the activations of the whole batch in memory.
    kept.append(Example(path, highest, mean, (row, column), values.copy(), placement))
    kept.sort(key=lambda example: (-example.activation, -example.mean))
    del kept[k:]
