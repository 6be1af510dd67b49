"""The result: maps and all that is needed to read, draw, save and compare them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradsight import imaging
from gradsight.checks import index as index_of
from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.neurons import Dissection, Neurons, ranked
from gradsight.results import storage
from gradsight.results.records import ImageRecord, RegionRecord, TargetRecord
from gradsight.results.shown import Shown
from gradsight.rules import Name
from gradsight.values import items_in

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


class Explanation(Shown):
    """Maps of n images and k targets from one method, at one layer, at several, or of the input itself.

    It never changes. What it can do is said in floors, each on top of the other: what it holds (`results.maps`), heat
    (`results.heat`), regions (`results.regions`), pictures (`results.pictures`), notebooks (`results.shown`).

    Attributes:
        maps: (n, k, *s) float32: raw and signed, at the layer's resolution.
        scores: (n, k) float32: the explained scores.
        targets: for each image its k targets, each with ``index`` and ``label``.
        layers: the names of the layers that the maps are of; empty where they are of the input itself.
        at: ``"layer"``: the maps are of one layer; ``"layers"``: of several at once; ``"input"``: of the input itself.
        layer: the layer's name, where there is exactly one; else None.
        method, model: their names.
        input_size: the positions of the model's input, such as (224, 224).
        predictions: for each image its best classes, the best first; empty where the model gives no class scores.
        target_notes: for each image and target what the reader must know: `Note`, with a code and a sentence.
        notes: the same as sentences that say which image and target they are about.
        photos: the original pictures; empty where arrays were given.
        placements: where the model's input lies on each photo.
        title: the method's name in its paper.
        alphas: (n, k, c) float32: the mean gradient of each channel of the layer over positions (Grad-CAM, eq. 1); None
            for a method that does not take this gradient (`Method.alphas`).
        channel_means: (n, c) float32: the mean activation of each channel over positions; None where ``alphas`` is.
        question: what the model was asked; empty if nothing.
        written: for each image what the model wrote, a caption or the answer; empty where it writes nothing.
        preprocess: how the photos were made the model's input, as plain values (`Preprocess.record`); ``"assumed"``
            says whether some of it was a guess, and ``"assumed_parts"`` which. None where arrays were given.
        channel_axis: which axis of one image, signal or volume of the batch holds its channels; 0 is the first.

    Images and targets are counted from 0 in every call; there are no negative numbers of them.

    Raises:
        InvalidArgument: values that do not fit each other, such as scores of fewer targets than there are maps.
        InvalidType: a field is of another type, such as a text that is none.

    >>> from gradsight.results.example import example
    >>> example()
    Explanation(method='gradcam', layer='layer4', maps=(1, 1, 2, 2), labels=(('tabby cat',),))
    """

    def neurons(
        self,
        k: int = 5,
        image: int = 0,
        target: int = 0,
        *,
        dissection: Dissection | None = None,
        least: float = 0.04,
        by: str = "alpha",
    ) -> Neurons:
        """The channels of the layer that matter most for one target in one image (Grad-CAM, textual explanations).

        Args:
            k: how many for it, and how many against it.
            image: which image.
            target: which of its targets.
            dissection: what ``explainer.dissect(concepts)`` gave for this layer; names the channels.
            least: the IoU that a channel is named from, in [0, 1]; the paper's is 0.04.
            by: ``"alpha"`` ranks as the paper does; ``"contribution"`` by alpha times the mean activation here. Behind
                a global average and a linear layer alpha is the class's weight, the same for every image.

        Returns:
            A `Neurons`, with ``positive``, ``negative`` and ``sentence``.

        Raises:
            InvalidArgument: the method left no alphas, or an argument is out of range.
        """
        if self.alphas is None or self.channel_means is None or self.layer is None:
            raise InvalidArgument(
                f"`neurons` needs the gradient at one layer, and {self.method!r} did not take it. "
                "Explain with method='gradcam'."
            )
        image, target = self._at(image, target)
        # Names of another layer's channels, or of another model's, would be wrong without any sign of it.
        if isinstance(dissection, Dissection):
            dissection.check(self.layer, self.model, self.alphas.shape[2])
        return ranked(
            self.alphas[image, target],
            self.channel_means[image],
            k=k,
            label=self.targets[image][target].label,
            layer=self.layer,
            dissection=dissection,
            least=least,
            by=by,
        )

    def record(self, image: int = 0, files: Sequence[str | None] = ()) -> ImageRecord:
        """One image's explanation as a record of plain values; positions in pixels of the original photo.

        Without a photo, positions are those of the model's input: pixels, samples of a signal, voxels of a volume.

        Args:
            image: which one.
            files: for each target the name of its drawn overlay, or None for one without; empty for none at all.

        Returns:
            An `ImageRecord`: its fields say what is what, and its ``to_dict()`` is for JSON.

        Raises:
            InvalidArgument: the map has other axes than the model's input, or there are not as many files as targets.

        >>> from gradsight.results.example import example
        >>> record = example().record()
        >>> record.size, record.targets[0].box
        ((40, 60), (20, 0, 40, 30))
        """
        image = index_of("image", image, len(self.maps))
        names, hot = _names_of_files(files, len(self.targets[image])), self._regions(image)
        size = self._size(image)
        best = self.predictions[image][0].label if self.predictions else None
        written = self.written[image] if self.written else None
        answer = written if self.written else best
        return ImageRecord(
            width=size[-1] if len(size) > 1 else None,
            height=size[-2] if len(size) > 1 else None,
            size=size,
            model=self.model,
            layers=self.layers,
            at=self.at,
            method=self.method,
            title=self.title or self.method,
            preprocess=None if self.preprocess is None else dict(self.preprocess),
            assumed=bool(self.preprocess and self.preprocess["assumed"]),
            question=self.question or None,
            # The best class answers a question only where one was asked; else it is a prediction as any other.
            answer=answer if self.question else None,
            caption=None if self.question else written,
            predictions=self.predictions[image] if self.predictions else (),
            targets=tuple(self._target_record(image, j, *one) for j, one in enumerate(zip(names, hot, strict=True))),
        )

    def _target_record(self, image: int, j: int, file: str | None, hot: imaging.Region | None) -> TargetRecord:
        target, region = self.targets[image][j], _region_record(hot)
        # Only where the sign means something: of an unsigned map the values under 0 are no evidence against the target.
        against = _region_record(self.region(image, j, against=True)) if target.signed else None
        # Of this one map alone: `self.scale` looks at the maps of all images.
        scale = imaging.display_max(self.maps[image, j][None, None], signed=target.signed, fine=self._fine)[0, 0]
        return TargetRecord(
            index=target.index,
            label=target.label,
            score=float(self.scores[image, j]),
            file=file,
            peak=region.peak,
            box=region.box,
            area=region.area,
            place=tuple(map(float, target.place)) or None,
            signed=target.signed,
            against=against,
            scale=float(scale),
            notes=self.target_notes[image][j] if self.target_notes else (),
        )

    def save(self, path: str | Path) -> None:
        """Write it to a file, in a folder that is made if need be.

        Args:
            path: ``"x.npz"`` holds everything, photos without loss, and is what `load` reads; ``"x.png"``, ``"x.jpg"``
                and ``"x.webp"`` are pictures of the `figure` of each image, one under the other.

        Raises:
            InvalidType: ``path`` is neither a text nor a path.
            InvalidArgument: the file cannot be written, or pictures are not written in its form, such as GIF.
        """
        path = taken("path", path, Name())
        if Path(path).suffix.lower() in imaging.NOT_WRITTEN:
            raise InvalidArgument(
                f"`path` must end in {', '.join(_PICTURES)} for a picture. {received(str(path))} Pass 'x.png', or "
                "'x.npz' for everything."
            )
        if Path(path).suffix.lower() in _PICTURES:
            imaging.save(imaging.stacked([self.figure(i) for i in range(len(self.maps))]), path)
            return
        storage.write(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read the ``.npz`` that `save` wrote; nothing in the file is executed.

        Raises:
            InvalidType: ``path`` is neither a text nor a path.
            InvalidArgument: there is no such file, or `save` did not write it.
        """
        return cls(**storage.read(taken("path", path, Name())))


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Explanations of single images, by the same method at the same layer, as one of all of them."""
    changed: dict[str, object] = {}
    for name, first in _by_image(parts[0]):
        values = [getattr(part, name) for part in parts]
        changed[name] = np.concatenate(values) if isinstance(first, np.ndarray) else sum(values, ())
    return replace(parts[0], **changed)  # type: ignore[arg-type]  # each value is of its field's type


def of_image(explanation: Explanation, i: int) -> Explanation:
    """Of an explanation of several images, that of image ``i``; `joined` makes one of them again."""
    own: dict[str, object] = {}
    for name, values in _by_image(explanation):
        part = values[i : i + 1]
        # A view would keep the arrays of all images in memory.
        own[name] = part.copy() if isinstance(part, np.ndarray) else part
    return replace(explanation, **own)  # type: ignore[arg-type]  # each value is of its field's type


def _by_image(explanation: Explanation) -> Iterator[tuple[str, NDArray[np.float32] | tuple[object, ...]]]:
    """The fields that have an entry for each image: every array, and every tuple that is not shared."""
    for field in fields(explanation):
        value = getattr(explanation, field.name)
        if isinstance(value, np.ndarray) or (isinstance(value, tuple) and field.name not in _SHARED):
            yield field.name, value


_SHARED = ("input_size", "layers")
"""Tuples that say something of all images, and not one thing of each."""


def _names_of_files(files: Sequence[str | None], count: int) -> list[str | None]:
    """The name of each target's file; None where there is none."""
    names = items_in(files, count)
    if names is None or len(names) not in (0, count) or not all(isinstance(name, str | None) for name in names):
        raise InvalidArgument(
            f"`files` must be the names of {count} file(s), one for each target, or None in the place of one. "
            f"{received(files)}"
        )
    return names or [None] * count


def _region_record(region: imaging.Region | None) -> RegionRecord:
    if region is None:
        return RegionRecord(peak=None, box=None, area=0.0)
    return RegionRecord(peak=region.peak, box=region.box, area=region.area)
