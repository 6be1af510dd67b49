"""Explanations as notebooks show them: small pictures, and the notes."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from PIL import Image

from gradsight import imaging
from gradsight.errors import ImageError, printable

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

PHOTOS = 5
"""So many photos are shown of one explanation: a notebook keeps every picture in its file."""

STRIPS = 12
"""So many are shown of several explanations together."""

_HEIGHT = 200
"""Of each picture in a strip, in pixels."""

_BYTES = 40_000
"""Of the JPEG of one strip; as text it is a third more, and with its words stays under 60 kB."""

LARGE = 70_000
"""Of the JPEG of a picture that is alone and has words in it; as text under 100 kB."""

_QUALITIES = (85, 70, 55, 40)


def of_one(explanation: Explanation, photos: int = PHOTOS) -> str:
    """An explanation's heading, so many of its photos with their overlays, and its notes."""
    return "".join((f"<p>{escaped(explanation.heading)}</p>", *_strips(explanation, photos), *_notes(explanation)))


def of_several(explanations: Iterable[Explanation]) -> str:
    """Several explanations one under the other, with fewer photos of each the more they are."""
    several = list(explanations)
    # Thirty methods must stay a small page too.
    shown = several[:STRIPS]
    each = min(PHOTOS, max(1, STRIPS // max(1, len(shown))))
    return "".join((*(of_one(explanation, each) for explanation in shown), *_rest(len(several), len(shown))))


def _strips(explanation: Explanation, photos: int) -> Iterator[str]:
    # Maps of other axes than the input cannot be drawn; a notebook must show something all the same.
    if explanation.maps.ndim - 2 != len(explanation.input_size):  # nothing to lay the maps on
        yield f"<p>{escaped(repr(explanation))}</p>"
        return
    count = len(explanation.maps)
    for i in range(min(photos, count)):
        yield _strip(explanation, i)
    yield from _rest(count, photos)


def _strip(explanation: Explanation, i: int) -> str:
    """One photo with its overlays."""
    try:
        # Signals and volumes have a height of their own, by their channels.
        picture = explanation.figure(i, height=_HEIGHT if len(explanation.input_size) == 2 else None)
    except ImageError as error:  # of a run whose photo is not there any more: a notebook says so, and goes on
        return f"<p>{escaped(str(error))}</p>"
    return _image(picture, ", ".join(explanation.labels[i]))


def _rest(count: int, shown: int) -> Iterator[str]:
    if count > shown:
        yield f"<p>… and {count - shown} more</p>"


def _image(picture: Image.Image, names: str) -> str:
    """A picture inside of the page; its size is said, so that the page does not jump when it is there."""
    return inline(small(picture), picture.size, names)


def inline(data: bytes, size: tuple[int, int], names: str) -> str:
    """A JPEG inside of the page, shown at ``size`` (width, height), with words for who cannot see it."""
    # In the page itself: a notebook that is sent to somebody must show its pictures without other files.
    return (
        f'<img alt="{escaped(names)}" width="{size[0]}" height="{size[1]}" style="max-width:100%;height:auto" '
        f'src="{address(data)}">'
    )


def address(content: bytes, kind: str = "jpeg") -> str:
    """The file of a picture as an address that holds all of it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def small(picture: Image.Image, most: int = _BYTES) -> bytes:
    """A picture as JPEG, as good as goes into so many bytes."""
    while True:
        for quality in _QUALITIES:
            data = imaging.encoded(picture, "JPEG", quality=quality)
            if len(data) <= most:
                return data
        # Noise does not compress: then it is made smaller, and the browser enlarges it again.
        picture = imaging.shrunk(picture, max(1, max(picture.size) * 3 // 4))


def _notes(explanation: Explanation) -> Iterator[str]:
    return (f"<p>{escaped(note)}</p>" for note in explanation.notes)


def escaped(text: str) -> str:
    """A stranger's text for a page, also inside of quotation marks."""
    return html.escape(printable(text))
