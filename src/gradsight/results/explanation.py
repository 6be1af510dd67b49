"""The result: maps and all that is needed to read, draw, save and compare them."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradsight import imaging
from gradsight.checks import index as index_of
from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, printable, received
from gradsight.limits import PIXELS
from gradsight.neurons import Dissection, Neurons, ranked
from gradsight.results import consistency, drawing, storage
from gradsight.rules import Choice, Either, Flag, Name, Number, Rule, Sides
from gradsight.targets import Prediction, TargetInfo
from gradsight.values import items_in


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of n images and k targets from one method at one layer.

    Attributes:
        maps: (n, k, *s) float32: raw and signed, at the layer's resolution.
        scores: (n, k) float32: the explained scores.
        targets: for each image its k targets, each with ``index`` and ``label``.
        layer, method, model: their names.
        input_size: the positions of the model's input, such as (224, 224).
        predictions: for each image its best classes, the best first; empty where the model gives no class scores.
        target_notes: for each image and target what the reader must know.
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
        InvalidType: a text or a row that is none.
    """

    maps: Any
    scores: Any
    targets: tuple[tuple[TargetInfo, ...], ...]
    layer: str
    method: str
    model: str
    input_size: tuple[int, ...]
    predictions: tuple[tuple[Prediction, ...], ...] = ()
    target_notes: tuple[tuple[tuple[str, ...], ...], ...] = ()
    photos: tuple[Image.Image, ...] = ()
    placements: tuple[imaging.Placement, ...] = ()
    title: str = ""
    alphas: Any = None
    channel_means: Any = None
    question: str = ""
    written: tuple[str, ...] = ()
    preprocess: Mapping[str, Any] | None = None
    channel_axis: int = 0

    def __post_init__(self) -> None:
        consistency.check(self)

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The name of each target of each image: n tuples of k."""
        return tuple(tuple(target.label for target in row) for row in self.targets)

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything the reader must know, in sentences that say which image and target they are about."""
        found: dict[str, list[str]] = {}
        for i, row in enumerate(self.target_notes):
            for target, notes in zip(self.targets[i], row, strict=True):
                for note in notes:
                    found.setdefault(note, []).append(f"image {i}, {target.label}")
        count = sum(len(row) for row in self.targets)
        return tuple(note if len(where) == count else f"{'; '.join(where)}: {note}" for note, where in found.items())

    @property
    def scale(self) -> Any:
        """(n, k): the raw value from which on a map is drawn as hot as can be; 0 where there is nothing to draw.

        It is the map's maximum, or its largest magnitude where its target is signed. A map as fine as the model's input
        is noisy, and divided by its maximum, which one pixel holds, it could not be seen: there it is the value that
        99 % of those over 0 stay below, and the strongest 1 % are drawn alike.
        """
        return self._scale(self._signed(None))

    def _scale(self, signed: Any) -> Any:
        return imaging.display_max(self.maps, signed=signed, fine=self._fine)

    @property
    def _fine(self) -> bool:
        """Whether the maps are of single pixels, whatever made them."""
        return tuple(self.maps.shape[2:]) == tuple(self.input_size)

    def _signed(self, signed: bool | None) -> Any:
        """(n, k): which maps are drawn with both signs."""
        signed = optional("signed", signed, Flag())
        if signed is not None:
            return np.full(self.maps.shape[:2], signed)
        return np.array([[target.signed for target in row] for row in self.targets]).reshape(self.maps.shape[:2])

    def heatmaps(
        self, *, size: int | Sequence[int] | None = None, scale: float | str = "own", signed: bool | None = None
    ) -> Any:
        """Maps in [0, 1] for the eye: divided by a scale, cut at 1, and resized; negative values are cut to 0.

        Args:
            size: positions of the result, one length for each axis of the maps, or a number for all of them: 8 is a
                square of 8 x 8. The input's size by default.
            scale: ``"own"`` divides each map by its own `scale`, ``"shared"`` all by the largest one, so that a weak
                map stays weak beside a strong one; or a number, for maps of several explanations.
            signed: keep negative values, in [-1, 1]; by default where the target says so, as ``gs.Contrast`` does.
                Both signs are divided by one number, so that 0 stays 0 and the stronger side is seen to be stronger.

        Returns:
            (n, k, *size) float32.

        Raises:
            InvalidArgument: a scale or a size that breaks these rules.
            UnknownName: a scale of another name.
        """
        positions = tuple(self.maps.shape[2:])
        way_out = f"The positions of the maps are {positions}."
        found = optional("size", size, Sides(len(positions)), way_out) or self._matching_input()
        count = math.prod((*self.maps.shape[:2], *found))
        PIXELS.check(count, f"`size` is too large: {count:,} pixels in {math.prod(self.maps.shape[:2])} map(s)")
        return imaging.resize(self._heat(scale, self._signed(signed)), found).astype(np.float32)

    def _matching_input(self) -> tuple[int, ...]:
        """The input's positions, which those of the maps lie on."""
        positions, size = tuple(self.maps.shape[2:]), tuple(self.input_size)
        if len(positions) != len(size):
            raise InvalidArgument(
                f"a map must have as many axes as the model's input to lie on it, which has the positions {size}. "
                f"Received: maps of the positions {positions}. Explain another layer, or pass `layout=` and `grid=` to "
                "Explainer where it is these axes that were misread; `maps` holds the values as they are."
            )
        return size

    @property
    def _lies_on_photo(self) -> bool:
        """Positions are those of a photo, and not of the model's input."""
        return len(self._matching_input()) == 2 and bool(self.photos)

    def _heat(self, scale: float | str, signed: Any, at: tuple[int, int] | None = None) -> Any:
        """(n, k, *s) in [0, 1], or [-1, 1], at the layer's resolution; (*s) of one map ``at`` (image, target)."""
        scale = taken("scale", scale, _SCALE)
        maps = self.maps if at is None else self.maps[at][None, None]
        signs = signed if at is None else signed[at][None, None]
        own = imaging.display_max(maps, signed=signs, fine=self._fine) if scale == "own" else None
        by: Any = own if own is not None else self._scale(signed).max() if scale == "shared" else float(scale)
        by = np.broadcast_to(np.where(np.asarray(by) > 0, by, 1), maps.shape[:2])  # an empty map stays empty
        beside = (...,) + (None,) * (maps.ndim - 2)
        with np.errstate(over="ignore"):  # by a scale next to 0; what it gives is cut at 1
            heat = np.clip(imaging.nan_to_zero(maps) / by[beside], np.where(signs, -1, 0)[beside], 1)
        return heat if at is None else heat[0, 0]

    def on_photo(
        self, image: int = 0, target: int = 0, *, scale: float | str = "own", signed: bool | None = None
    ) -> Any:
        """One heatmap in the pixels of the original photo, (height, width); 0 where the model did not see it.

        Raises:
            InvalidArgument: there are no photos, since the explanation was made from arrays, or the map is none of a
                picture.
        """
        image, target = self._at(image, target)
        self._need_photo()
        heat = self._heat(scale, self._signed(signed), (image, target))
        return self.placements[image].to_image(heat).astype(np.float32)

    def region(self, image: int = 0, target: int = 0, *, against: bool = False) -> imaging.Region | None:
        """The hottest point and the area around it, in pixels of the photo, or of the input where there is no photo.

        Of a signal they are a sample and an interval of samples, of a volume a voxel and a box, in positions of the
        model's input. A map as fine as that is first averaged over neighbours (see `imaging.smoothed`): its hottest
        pixel may be a stray one, and the point where the map is densest is meant.

        Args:
            image: which image.
            target: which of its targets.
            against: where the map is most negative instead.

        Returns:
            None where nothing is over 0 (if ``against``: under 0).

        Raises:
            InvalidArgument: the map has other axes than the model's input.
        """
        image, target = self._at(image, target)
        values = self._dense(image, target)
        against = taken("against", against, Flag())
        return self._hottest(image, -values if against else values)

    def _dense(self, image: int, target: int) -> Any:
        """A map by which its peak is found."""
        values = imaging.nan_to_zero(self.maps[image, target])
        return imaging.smoothed(values) if self._fine else values

    def _hottest(self, image: int, values: Any) -> imaging.Region | None:
        heat = np.clip(values, 0, None)
        if self._lies_on_photo:
            placed = self.placements[image]
            small = placed.within(_REGION_PIXELS)
            found = imaging.region(small.to_image(heat))
            return None if found is None else found.scaled(small.image_size, placed.image_size)
        return imaging.region(imaging.resize(heat, self.input_size))

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
        if self.alphas is None:
            raise InvalidArgument(
                f"`neurons` needs the gradient at one layer, and {self.method!r} did not take it. "
                "Explain with method='gradcam'."
            )
        image, target = self._at(image, target)
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

    def overlay(
        self,
        image: int = 0,
        target: int = 0,
        *,
        photo: Any = None,
        colormap: str | None = None,
        opacity: str | float = "value",
        scale: float | str = "own",
        signed: bool | None = None,
    ) -> Image.Image:
        """Draw one heatmap on its photo, at the photo's size, and the box that the target is about, if it is.

        A signal is drawn as lines over its heat, with an axis that counts samples; a volume or a video as slices along
        its first axis around the peak, each with its index. What was explained is given as ``photo``; without it the
        heat alone is drawn.

        Args:
            image: which image.
            target: which of its targets.
            photo: what to draw on, for an explanation made from arrays. The picture is taken for the whole input. Of a
                signal or a volume it is one of the batch, such as ``batch[0]``: (channels, *positions) or as the model
                has its axes, or (*positions).
            colormap: as in `imaging.overlay`; by default plasma, and the diverging one for a signed map.
            opacity: as in `imaging.overlay`.
            scale: as in `heatmaps`.
            signed: as in `heatmaps`.

        Raises:
            InvalidArgument: there is no photo, ``photo`` is not as large as the model's input, or the map has other
                axes than that.
        """
        image, target = self._at(image, target)
        both = bool(self._signed(signed)[image, target])
        colours: dict[str, Any] = {
            "colormap": optional("colormap", colormap, imaging.NAME)
            or (imaging.DIVERGING if both else imaging.DEFAULT),
            "opacity": opacity,
            "signed": both,
        }
        if len(self._matching_input()) != 2:
            return self._on_input(image, target, photo, scale, colours)
        if photo is not None:
            heat = self.heatmaps(scale=scale, signed=signed)[image, target]
            drawn = imaging.overlay(imaging.read_image(photo), heat, **colours)
        else:
            self._need_photo()
            heat, placed = self._heat(scale, self._signed(signed), (image, target)), self.placements[image]
            colours["opacity"] = taken("opacity", opacity, imaging.OPACITY, "Pass 0.5.")
            drawn = imaging.draw(self.photos[image], placed.stretched(heat), seen=placed.seen, **colours)
        place = self.targets[image][target].place
        if not place:
            return drawn
        height, width = self.placements[image].image_size if self.placements else self.input_size[-2:]
        times = (drawn.height / height, drawn.width / width) * 2
        return imaging.outlined(drawn, [x * t for x, t in zip(place, times, strict=True)])

    def _on_input(self, image: int, target: int, photo: Any, scale: float | str, colours: Any) -> Image.Image:
        """One heatmap on the signal or volume that was explained, or alone."""
        values = None if photo is None else drawing.laid_out(photo, self.input_size, self.channel_axis)
        signs = self._signed(colours["signed"])
        heat = imaging.resize(self._heat(scale, signs, (image, target)), self.input_size)
        dense = self._dense(image, target)
        region = self._hottest(image, np.abs(dense) if colours["signed"] else dense)
        return drawing.on_input(heat, values, region, **colours)

    def figure(self, image: int = 0, *, height: int | None = None, **options: Any) -> Image.Image:
        """The photo and an overlay for each target side by side, with captions; ``options`` are those of `overlay`.

        Under the photo stands what the model was asked, and what it says or wrote. Under a signed map a line says which
        colour speaks for what. Of signals and volumes one is drawn under the other.

        Args:
            image: which image.
            height: of each picture in pixels; 320 by default, and of signals and volumes what `overlay` draws.
            **options: ``photo`` too, for an explanation made from arrays.
        """
        image = index_of("image", image, len(self.maps))
        height = optional("height", height, imaging.HEIGHT, "Pass 320.")
        if options.get("photo") is None and len(self._matching_input()) == 2:
            self._need_photo()
        return drawing.figure(self, image, height, options)

    def _at(self, image: int, target: int) -> tuple[int, int]:
        n, k = self.maps.shape[:2]
        return index_of("image", image, n), index_of("target", target, k)

    def _need_photo(self) -> None:
        if len(self._matching_input()) != 2:
            raise InvalidArgument(
                f"the map must be of a picture to lie on a photo. Received: one of an input with the positions "
                f"{tuple(self.input_size)}. Use heatmaps() for its values at these, or overlay() to draw it."
            )
        if not self.photos:
            raise InvalidArgument(
                "this explanation was made from arrays, so there is no photo to draw on. Pass `photo=` to overlay(), "
                "or give photos to an Explainer with a `preprocess`."
            )

    def record(self, image: int = 0, files: Sequence[str | None] = ()) -> dict[str, Any]:
        """One image's explanation as plain values for JSON; positions in pixels of the original photo.

        Without a photo, positions are those of the model's input: pixels, samples of a signal, voxels of a volume.

        Args:
            image: which one.
            files: for each target the name of its drawn overlay, or None for one without; empty for none at all.

        Returns:
            ``size`` has the lengths of the axes that positions are in: [height, width] of a picture, [samples] of a
            signal, [slices, height, width] of a volume; ``width`` and ``height`` are the last two of them, None for a
            signal. Of each target, ``peak`` is the hottest position, a number for each axis; ``box`` is the hot area
            around it, for each axis where it begins and then for each where it ends, exclusive: [top, left, bottom,
            right], [start, stop] or [first, top, left, end, bottom, right]. Both are None where nothing is hot, and
            ``area`` is the share of all positions that is. ``place`` is the box that the target is about, for those in
            the picture, ``against`` the region that speaks against it, for signed ones alone, and ``scale`` the raw
            value that is drawn as full heat.
            ``preprocess`` says how the photo was made the model's input, and ``assumed`` if some of it was a guess.

        Raises:
            InvalidArgument: the map has other axes than the model's input.
        """
        image = index_of("image", image, len(self.maps))
        names = _names_of_files(files, len(self.targets[image]))
        size = self.placements[image].image_size if self._lies_on_photo else tuple(self.input_size)
        return {
            "width": size[-1] if len(size) > 1 else None,
            "height": size[-2] if len(size) > 1 else None,
            "size": list(size),
            "model": self.model,
            "layer": self.layer,
            "method": self.method,
            "title": self.title or self.method,
            "preprocess": None if self.preprocess is None else dict(self.preprocess),
            "assumed": bool(self.preprocess and self.preprocess["assumed"]),
            **self._text_record(image),
            "predictions": [asdict(p) for p in self.predictions[image]] if self.predictions else [],
            "targets": [self._target_record(image, j, file) for j, file in enumerate(names)],
        }

    def _text_record(self, image: int) -> dict[str, Any]:
        """What was asked and written, where anything was."""
        if not self.question:
            return {"caption": self.written[image]} if self.written else {}
        best = self.predictions[image][0].label if self.predictions else None
        return {"question": self.question, "answer": self.written[image] if self.written else best}

    def _target_record(self, image: int, j: int, file: str | None) -> dict[str, Any]:
        target, region = self.targets[image][j], self.region(image, j)
        against = self.region(image, j, against=True) if target.signed else None
        scale = imaging.display_max(self.maps[image, j][None, None], signed=target.signed, fine=self._fine)[0, 0]
        return {
            "index": target.index,
            "label": target.label,
            "score": float(self.scores[image, j]),
            "file": file,
            **_region_record(region),
            "place": list(target.place) or None,
            "signed": target.signed,
            "against": _region_record(against) if target.signed else None,
            "scale": float(scale),
            "notes": list(self.target_notes[image][j]) if self.target_notes else [],
        }

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file, in a folder that is made if need be; photos go in without loss.

        Raises:
            InvalidType: ``path`` is none.
            InvalidArgument: it cannot be written.
        """
        storage.write(taken("path", path, Name()), {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            InvalidType: ``path`` is none.
            InvalidArgument: the file is none of ours.
        """
        return cls(**storage.read(taken("path", path, Name())))

    def __repr__(self) -> str:
        return (
            f"Explanation(method={self.method!r}, layer={self.layer!r}, maps={tuple(self.maps.shape)}, "
            f"labels={self.labels if len(self.labels) < 4 else '...'})"
        )

    def _heading(self) -> str:
        several = "s" if " + " in self.layer else ""
        place = "of the image itself" if self.layer == "input" else f"at layer{several} {self.layer}"
        return f"{self.title or self.method} {place}, model {self.model}"

    def _repr_html_(self) -> str:
        """Shown by notebooks: each photo with its overlays, or the heat of a signal or volume, and the notes."""
        parts = [f"<p>{_as_html(self._heading())}</p>"]
        fits = self.maps.ndim - 2 == len(self.input_size)
        drawn = fits and (len(self.input_size) != 2 or bool(self.photos))
        for i in range(len(self.maps) if drawn else 0):
            data = base64.b64encode(imaging.encoded(self.figure(i), "PNG")).decode("ascii")
            names = _as_html(", ".join(self.labels[i]))
            parts.append(f'<img alt="{names}" style="max-width:100%" src="data:image/png;base64,{data}">')
        if not drawn:
            parts.append(f"<p>{_as_html(repr(self))}</p>")
        parts += [f"<p>{_as_html(note)}</p>" for note in self.notes]
        return "".join(parts)


_REGION_PIXELS = 4_000_000
"""Regions of larger photos are found in a copy of about so many pixels: a map is coarser than these."""

_SCALE: Rule[str | float] = Either[str | float]((Choice(("own", "shared"), "scale"), Number(above=0)))


def _as_html(text: str) -> str:
    """A stranger's text for a page, also inside of quotation marks."""
    return html.escape(printable(text))


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Explanations of single images, by the same method at the same layer, as one of all of them."""
    changed: dict[str, Any] = {}
    for field in fields(Explanation):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], np.ndarray):
            changed[field.name] = np.concatenate(values)
        elif isinstance(values[0], tuple) and field.name != "input_size":
            changed[field.name] = sum(values, ())
    return replace(parts[0], **changed)


def _names_of_files(files: Sequence[str | None], count: int) -> list[str | None]:
    """The name of each target's file; None where there is none."""
    names = items_in(files, count)
    if names is None or len(names) not in (0, count) or not all(isinstance(name, str | None) for name in names):
        raise InvalidArgument(
            f"`files` must be the names of {count} file(s), one for each target, or None in the place of one. "
            f"{received(files)}"
        )
    return names or [None] * count


def _region_record(region: imaging.Region | None) -> dict[str, Any]:
    if region is None:
        return {"peak": None, "box": None, "area": 0.0}
    return {"peak": list(region.peak), "box": list(region.box), "area": region.area}
