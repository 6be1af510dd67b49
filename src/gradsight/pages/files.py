"""What a visitor takes home: the picture, the raw maps, the record as JSON, the lines of Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from gradsight import imaging
from gradsight.files import write_bytes
from gradsight.names import distinct, safe
from gradsight.pages.answer import Answer
from gradsight.pages.draw import Look, panels
from gradsight.pages.lines import lines_of
from gradsight.results.explanation import Explanation

_HEIGHT = 480
"""Of the pictures side by side, in pixels."""


def picture_of(answers: Sequence[Answer], look: Look) -> Image.Image:
    """The photo and all maps side by side, with their titles."""
    photo = answers[0].photo
    shown = [
        (photo, ["photo", ""]),
        *((one.picture, [one.title, one.detail]) for a in answers for one in panels(a, look)),
    ]
    return imaging.strip(shown, height=_HEIGHT)


def _of_copy(explanation: Explanation) -> Explanation:
    """With positions of the copy of the photo that it holds: what is in one file fits together."""
    photo, placed = explanation.photos[0], explanation.placements[0]
    return replace(explanation, placements=(placed.resized((photo.height, photo.width)),))


def write(answers: Sequence[Answer], look: Look, folder: Path, photo: str = "photo.jpg") -> tuple[Path, ...]:
    """Write the picture, and of each answer the raw maps, the record and the lines, into a folder.

    Args:
        answers: of one photo, each by a model.
        look: how they are drawn.
        folder: where; it is made if need be.
        photo: what the photo is called in the lines and records.

    Returns:
        The files.
    """
    picture = folder / "why.png"
    imaging.save(picture_of(answers, look), picture)
    made = [picture]
    names = distinct([safe(one.served.name) or "model" for one in answers])
    for answer, name in zip(answers, names, strict=True):
        # One model's files need no name of it.
        stem = f"why-{name}" if len(answers) > 1 else "why"
        for number, explanation in enumerate(answer.explanations):
            made.append(folder / (f"{stem}-{number}.npz" if len(answer.explanations) > 1 else f"{stem}.npz"))
            _of_copy(explanation).save(made[-1])
        records = [one.to_dict() for one in answer.records(photo)]
        for kind, text in ((".json", json.dumps(records, indent=1)), (".py", lines_of(answer, look, photo))):
            made.append(folder / f"{stem}{kind}")
            write_bytes(made[-1], text.encode())
    return tuple(made)
