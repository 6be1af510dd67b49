"""The result: maps and all that is needed to read, draw, save and compare them."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradsight import imaging
from gradsight.errors import InvalidArgument, received
from gradsight.targets import Named

FORMAT = 1


@dataclass(frozen=True)
class Prediction:
    """One of the model's best classes for an image."""

    index: int
    label: str
    probability: float


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
    """

    maps: Any
    scores: Any
    targets: tuple[tuple[Named, ...], ...]
    layer: str
    method: str
    model: str
    input_size: tuple[int, ...]
    predictions: tuple[tuple[Prediction, ...], ...] = ()
    target_notes: tuple[tuple[tuple[str, ...], ...], ...] = ()
    photos: tuple[Image.Image, ...] = ()
    placements: tuple[imaging.Placement, ...] = ()

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
        """(n, k): the raw value that a heat of 1 stands for, each map's maximum; 0 where nothing is positive."""
        flat = self.maps.reshape(*self.maps.shape[:2], -1)
        return np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0).max(axis=-1, initial=0.0)

    def heatmaps(self, *, size: Sequence[int] | None = None, scale: float | str = "own") -> Any:
        """Maps in [0, 1] for the eye: negative values are cut, the rest is divided by a scale and resized.

        Args:
            size: positions of the result; the input's size by default.
            scale: ``"own"`` divides each map by its own maximum, ``"shared"`` all by the largest one, so that a weak
                map stays weak beside a strong one; or a number, for maps of several explanations.

        Returns:
            (n, k, *size) float32.
        """
        return imaging.resize(self._heat(scale), tuple(size or self.input_size)).astype(np.float32)

    def _heat(self, scale: float | str) -> Any:
        """(n, k, *s) in [0, 1] at the layer's resolution; the scale of an empty map is never divided by."""
        if scale not in ("own", "shared") and not (isinstance(scale, int | float) and scale > 0):
            raise InvalidArgument(f'`scale` must be "own", "shared" or a number over 0. {received(scale)}')
        own = self.scale
        by: Any = own if scale == "own" else own.max() if scale == "shared" else float(scale)
        by = np.broadcast_to(np.where(np.asarray(by) > 0, by, 1), own.shape)
        heat = np.clip(np.nan_to_num(self.maps, nan=0.0, posinf=0.0, neginf=0.0), 0, None)
        return np.clip(heat / by.reshape(*by.shape, *(1,) * (heat.ndim - 2)), 0, 1)

    def on_photo(self, image: int = 0, target: int = 0, *, scale: float | str = "own") -> Any:
        """One heatmap in the pixels of the original photo, (height, width); 0 where the model did not see it.

        Raises:
            InvalidArgument: there are no photos; the explanation was made from arrays.
        """
        self._need_photo()
        return self.placements[image].to_image(self._heat(scale)[image, target]).astype(np.float32)

    def region(self, image: int = 0, target: int = 0) -> imaging.Region | None:
        """The hottest point and the area around it, in pixels of the photo, or of the input where there is no photo."""
        if self.photos:
            return imaging.region(self.on_photo(image, target))
        return imaging.region(self.heatmaps()[image, target])

    def overlay(
        self,
        image: int = 0,
        target: int = 0,
        *,
        photo: Any = None,
        colormap: str = imaging.DEFAULT,
        opacity: str | float = "value",
        scale: float | str = "own",
    ) -> Image.Image:
        """Draw one heatmap on its photo, at the photo's size.

        Args:
            image: which image.
            target: which of its targets.
            photo: the picture to draw on, for an explanation made from arrays: it is taken for the whole input.
            colormap: as in `imaging.overlay`.
            opacity: as in `imaging.overlay`.
            scale: as in `heatmaps`.
        """
        if photo is not None:
            picture = imaging.read_image(photo)
            heat = self.heatmaps(scale=scale)[image, target]
            return imaging.overlay(picture, heat, colormap=colormap, opacity=opacity)
        heat = self.on_photo(image, target, scale=scale)
        seen = self.placements[image].seen
        return imaging.overlay(self.photos[image], heat, colormap=colormap, opacity=opacity, seen=seen)

    def figure(self, image: int = 0, *, height: int = 320, **drawing: Any) -> Image.Image:
        """The photo and an overlay for each target side by side, with captions; ``drawing`` goes to `overlay`."""
        self._need_photo()
        panels = [(self.photos[image], self._caption(image))]
        for j, target in enumerate(self.targets[image]):
            caption = f"{target.label}  {float(self.scores[image, j]):.2f}"
            panels.append((self.overlay(image, j, **drawing), caption))
        return imaging.strip(panels, height=height)

    def _caption(self, image: int) -> str:
        if not self.predictions:
            return "photo"
        best = self.predictions[image][0]
        return f"{best.label} {best.probability:.0%}"

    def _need_photo(self) -> None:
        if not self.photos:
            raise InvalidArgument(
                "this explanation was made from arrays, so there is no photo to draw on. Pass `photo=` to overlay(), "
                "or give photos to an Explainer with a `preprocess`."
            )

    def record(self, image: int = 0, files: Sequence[str | None] = ()) -> dict[str, Any]:
        """One image's explanation as plain values for JSON; positions in pixels of the original photo.

        Args:
            image: which one.
            files: for each target the name of its drawn overlay.
        """
        height, width = self.placements[image].image_size if self.placements else self.input_size[-2:]
        return {
            "width": width,
            "height": height,
            "model": self.model,
            "layer": self.layer,
            "method": self.method,
            "predictions": [asdict(p) for p in self.predictions[image]] if self.predictions else [],
            "targets": [
                self._target_record(image, j, file) for j, file in enumerate(files or [None] * len(self.targets[image]))
            ],
        }

    def _target_record(self, image: int, j: int, file: str | None) -> dict[str, Any]:
        target, region = self.targets[image][j], self.region(image, j)
        return {
            "index": target.index,
            "label": target.label,
            "score": float(self.scores[image, j]),
            "file": file,
            "peak": None if region is None else list(region.peak),
            "box": None if region is None else list(region.box),
            "area": 0.0 if region is None else region.area,
            "notes": list(self.target_notes[image][j]) if self.target_notes else [],
        }

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file; photos go in without loss."""
        about = {
            "format": FORMAT,
            "names": [self.layer, self.method, self.model],
            "input_size": self.input_size,
            "targets": [[asdict(t) for t in row] for row in self.targets],
            "predictions": [[asdict(p) for p in row] for row in self.predictions],
            "notes": self.target_notes,
            "placements": [asdict(p) for p in self.placements],
        }
        photos: dict[str, Any] = {
            f"photo_{i}": np.frombuffer(_png(photo), np.uint8) for i, photo in enumerate(self.photos)
        }
        with open(path, "wb") as file:
            np.savez_compressed(file, maps=self.maps, scores=self.scores, about=np.array(json.dumps(about)), **photos)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            InvalidArgument: the file is none of ours.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                about = json.loads(str(data["about"]))
                arrays = {name: data[name] for name in data.files if name != "about"}
            layer, method, model = about["names"]
            return cls(
                maps=arrays["maps"],
                scores=arrays["scores"],
                targets=tuple(tuple(Named(**t) for t in row) for row in about["targets"]),
                layer=layer,
                method=method,
                model=model,
                input_size=tuple(about["input_size"]),
                predictions=tuple(tuple(Prediction(**p) for p in row) for row in about["predictions"]),
                target_notes=tuple(tuple(tuple(notes) for notes in row) for row in about["notes"]),
                photos=tuple(
                    imaging.read_image(arrays[f"photo_{i}"].tobytes()) for i in range(len(about["placements"]))
                ),
                placements=tuple(imaging.Placement(**{k: tuple(v) for k, v in p.items()}) for p in about["placements"]),
            )
        except FileNotFoundError:
            raise InvalidArgument(f"there is no file {str(path)!r} to load an explanation from.") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise InvalidArgument(
                f"{str(path)!r} is not an explanation that Explanation.save wrote: {type(error).__name__}: {error}"
            ) from error

    def __repr__(self) -> str:
        return (
            f"Explanation(method={self.method!r}, layer={self.layer!r}, maps={tuple(self.maps.shape)}, "
            f"labels={self.labels if len(self.labels) < 4 else '...'})"
        )

    def _repr_html_(self) -> str:
        """Shown by notebooks: each photo with its overlays, and the notes."""
        parts = [f"<p>{html.escape(f'{self.model}, {self.layer}, {self.method}')}</p>"]
        for i in range(len(self.photos)):
            data = base64.b64encode(_png(self.figure(i))).decode("ascii")
            names = html.escape(", ".join(self.labels[i]), quote=True)
            parts.append(f'<img alt="{names}" style="max-width:100%" src="data:image/png;base64,{data}">')
        if not self.photos:
            parts.append(f"<p>{html.escape(repr(self))}</p>")
        parts += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "".join(parts)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
