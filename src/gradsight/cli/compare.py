"""One photo as several methods, layers and classes see it, in one picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import gradsight as gs
from gradsight import imaging
from gradsight.cli.explain import check_drawing, corner, nearest_of, place, share
from gradsight.cli.terminal import complain, progress, say, say_json, say_table
from gradsight.errors import GradsightError, ImageError, InvalidArgument, received, unknown
from gradsight.files import is_folder
from gradsight.registry import METHODS, PLACES, Method

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_SCALES = {
    "own": "Each map is drawn by its own strength; under it stands its strength beside the strongest of its row.",
    "shared": "The maps of a row are drawn by the strongest of them, so that a weak map looks weak.",
}
_APART = "Different rows cannot be compared by strength: each method has its own unit, and so has each layer."


@dataclass(frozen=True)
class Drawing:
    """Where the grid goes, and how it is drawn.

    Attributes:
        image: the photo.
        out: the picture to write; None for one in gradsight-out.
        scale: ``"own"`` or ``"shared"``: by the strongest map of a row, which is one method at one layer. Values of
            different methods are in different units, and those of one method at different layers too (a layer with four
            times the positions shares the same score out among them): nothing is ever scaled over rows.
        colormap: of all overlays.
        opacity: of all overlays.

    Raises:
        GradsightError: something of it cannot be drawn or written.
    """

    image: Path
    out: Path | None = None
    scale: str = "own"
    colormap: str | None = None
    opacity: str | float = "value"

    def __post_init__(self) -> None:
        if self.scale not in _SCALES:
            raise unknown("scale", self.scale, _SCALES)
        check_drawing(self.colormap, self.opacity)
        if self.path.suffix.lower() not in _SUFFIXES:
            raise InvalidArgument(f"--out must be a picture, {', '.join(_SUFFIXES)}. {received(str(self.path))}")
        if is_folder(self.path):
            raise InvalidArgument(f"--out must be a file, and {str(self.path)!r} is a folder. Name a file in it.")
        nearest = nearest_of(self.path.absolute())
        if nearest == self.path.absolute():
            nearest = nearest.parent
        if not is_folder(nearest) or not os.access(nearest, os.W_OK | os.X_OK):
            raise InvalidArgument(f"--out must be in a folder that can be written to, unlike {str(nearest)!r}.")

    @property
    def path(self) -> Path:
        """The picture to write."""
        return self.out or Path("gradsight-out") / f"{self.image.stem[:60]}.compare.png"

    def read(self) -> Image.Image:
        """The photo.

        Raises:
            ImageError: it cannot be read, or is a folder.
        """
        if is_folder(self.image):
            raise ImageError(f"{str(self.image)!r} is a folder; compare takes one photo.")
        return imaging.read_image(self.image)

    def save(self, picture: Image.Image) -> None:
        """Write the grid.

        Raises:
            InvalidArgument: it cannot be written.
        """
        imaging.save(picture, self.path)


@dataclass(frozen=True)
class _Row:
    """One method at one layer, or why it has nothing to show."""

    method: Method
    explanation: gs.Explanation | None = None
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Why, in words."""
        own = isinstance(self.error, GradsightError)
        return str(self.error) if own else f"{type(self.error).__name__}: {self.error}"


def chosen_methods(named: Sequence[Method], *, everything: bool) -> list[Method]:
    """The methods to compare: those named, or by default the cheap ones, in the order of the picture.

    Raises:
        InvalidArgument: methods are named and all are asked for.
    """
    if named and everything:
        raise InvalidArgument("--all and --method exclude each other: name the methods, or ask for all of them.")
    if named:
        return list(named)
    ordered = sorted(METHODS.values(), key=lambda method: PLACES.index(method.at))
    return [method for method in ordered if everything or not method.costly]


def compare_methods(
    explainer: gs.Explainer,
    photo: Image.Image,
    methods: Sequence[Method],
    targets: Any,
    drawing: Drawing,
    *,
    as_json: bool,
) -> list[Method]:
    """Draw the grid and print what is in it.

    Returns:
        The methods that failed; the reason is in the grid, and was printed.

    Raises:
        GradsightError: none of them worked (whatever the first one raised), or the grid cannot be written.
    """
    rows = _rows(explainer, photo, methods, targets)
    done = [row.explanation for row in rows if row.explanation is not None]
    if not done:
        raise next(row.error for row in rows if row.error is not None)
    drawing.save(_drawn(rows, done, drawing))
    failed = [row for row in rows if row.error is not None]
    if as_json:
        for record in _records(rows, drawing):
            say_json(record)
    else:
        _say(rows, done, drawing)
    for row in failed:
        complain(f"{row.method.name!r}: {row.reason}", "Failed")
    return [row.method for row in failed]


def _rows(explainer: gs.Explainer, photo: Image.Image, methods: Sequence[Method], targets: Any) -> list[_Row]:
    """Explain the photo: what is cheap in one pass, the rest method by method."""
    cheap = [method for method in methods if not method.costly]
    costly = [method for method in methods if method.costly]
    if costly:
        names = ", ".join(f"{method.name} ({method.passes})" for method in costly)
        complain(f"these take many passes of the model, up to minutes or hours: {names}", "Note")
    found = _together(explainer, photo, cheap, targets) if cheap else []
    for outcome in progress(_one_by_one(explainer, photo, costly, targets), len(costly)):
        found += outcome
    order = [method.name for method in methods]
    return sorted(found, key=lambda row: order.index(row.method.name))


def _together(explainer: gs.Explainer, photo: Image.Image, methods: list[Method], targets: Any) -> list[_Row]:
    """One pass for all; where one of them spoils it, each by itself shows which one."""
    by_name = {method.name: method for method in methods}
    try:
        return [_Row(by_name[e.method], e) for e in explainer([photo], method=methods, targets=targets)]
    except ImageError:
        raise
    except Exception as error:  # whatever is wrong with a method, a bug of it too, must not cost the other rows
        if len(methods) == 1:
            return [_Row(methods[0], error=error)]
        return [row for rows in _one_by_one(explainer, photo, methods, targets) for row in rows]


def _one_by_one(
    explainer: gs.Explainer, photo: Image.Image, methods: Sequence[Method], targets: Any
) -> Iterator[list[_Row]]:
    for method in methods:
        yield _together(explainer, photo, [method], targets)


def _drawn(rows: Sequence[_Row], done: Sequence[gs.Explanation], drawing: Drawing) -> Image.Image:
    first = done[0]
    everywhere = _common(done)
    layers = {e.layers[0] for e in done if e.at == "layer"}
    about = [drawing.image.name, _predictions(first)]
    about += [f"model {first.model}" + (f", layer {min(layers)}" if len(layers) == 1 else "")]
    about += [
        *([_SCALES[drawing.scale]] if len(first.targets[0]) > 1 else []),
        *([_APART] if len(rows) > 1 else []),
        *(f"Note: {note}" for note in sorted(everywhere)),
    ]
    signed = [target.signed for target in first.targets[0]]
    legends = []
    if not all(signed):
        legends.append(imaging.Legend(drawing.colormap or imaging.DEFAULT, "nothing", "speaks most for the class"))
    if any(signed):
        legends.append(imaging.Legend(drawing.colormap or imaging.DIVERGING, "for the second class", "for the first"))
    drawn = [_drawn_row(row, drawing, everywhere, remark_layer=len(layers) > 1) for row in rows]
    # What a model that makes a video of photos is explained on has another shape than the photo.
    photo = first.photos[0] if len(first.input_size) == 2 else None
    return imaging.grid(photo, [line for line in about if line], _columns(first), drawn, legends=legends)


def _columns(explanation: gs.Explanation) -> list[list[str]]:
    shares = {p.index: p.probability for p in explanation.predictions[0]} if explanation.predictions else {}
    return [
        [target.label, f"score {score:.2f}" + (f", {share(shares[target.index])}" if target.index in shares else "")]
        for target, score in zip(explanation.targets[0], explanation.scores[0], strict=True)
    ]


def _predictions(explanation: gs.Explanation) -> str:
    if not explanation.predictions:
        return ""
    return "The model says: " + ", ".join(f"{p.label} {share(p.probability)}" for p in explanation.predictions[0][:3])


def _common(done: Sequence[gs.Explanation]) -> set[str]:
    """Notes that every map of every row has."""
    return set.intersection(*(notes for e in done for notes in _notes(e)))


def _notes(explanation: gs.Explanation) -> list[set[str]]:
    """What is to be known of each map, as people say it who type options here."""
    return [{note.in_shell for note in notes} for notes in explanation.target_notes[0]]


def _strengths(explanation: gs.Explanation) -> list[float]:
    """How strong each map is beside the strongest of its row; 0 where there is nothing to draw."""
    scale = explanation.scale[0]
    return [float(one / scale.max()) if one else 0.0 for one in scale]


def _drawn_row(row: _Row, drawing: Drawing, everywhere: set[str], *, remark_layer: bool) -> imaging.Row:
    found = row.explanation
    if found is None:
        return imaging.Row(row.method.title, [], failure=f"Not drawn: {row.reason}")
    remarks = [place(found.layers)] if remark_layer or found.at != "layer" else []
    if len(found.targets[0]) > 1:
        remarks += sorted(set.intersection(*_notes(found)) - everywhere)
    cells = []
    for j, strength in enumerate(_strengths(found)):
        picture = found.overlay(0, j, colormap=drawing.colormap, opacity=drawing.opacity, scale=drawing.scale)
        said = "nothing speaks for it" if not strength else f"strength {share(strength)}"
        cells.append((picture, said if not strength or len(found.targets[0]) > 1 else ""))
    return imaging.Row(row.method.title, remarks, cells)


def _records(rows: Sequence[_Row], drawing: Drawing) -> Iterator[dict[str, Any]]:
    """A record for each cell, and one for each method that failed; ``row`` and ``column`` count from 0."""
    for number, row in enumerate(rows):
        about = {"image": str(drawing.image), "row": number, "method": row.method.name, "title": row.method.title}
        if row.explanation is None:
            yield {**about, "error": row.reason}
            continue
        record, strengths = row.explanation.record(0).in_shell().to_dict(), _strengths(row.explanation)
        shared = {key: record[key] for key in ("version", "layers", "at", "model", "width", "height", "size")}
        for column, (target, strength) in enumerate(zip(record["targets"], strengths, strict=True)):
            yield {**about, **shared, "column": column, **target, "strength": strength, "file": str(drawing.path)}


def _say(rows: Sequence[_Row], done: Sequence[gs.Explanation], drawing: Drawing) -> None:
    """Print where each map is strongest, so that agreement is seen at once."""
    say((drawing.image.name, "bold"), (f"  model {done[0].model}", "dim"))
    say("  ", _predictions(done[0]))
    say()
    lines = []
    for row in rows:
        if row.explanation is not None:
            record = row.explanation.record(0).to_dict()
            peaks = [target["peak"] for target in record["targets"]]
            where = [corner(peak, record) if peak else "nothing" for peak in peaks]
            lines.append([row.method.title, *where, place(row.explanation.layers)])
    say_table(["strongest for", *done[0].labels[0], ""], lines)
    say()
    say("Look at ", (str(drawing.path), "bold cyan"))
