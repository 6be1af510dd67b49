"""An evaluation as notebooks show it."""

from __future__ import annotations

import html as escaping
from collections.abc import Sequence

from PIL import Image

from gradsight.errors import printable
from gradsight.evaluating.rows import Unmeasured
from gradsight.results import html

_TOLD = 5
"""So many photos that failed are named; the others are counted."""


def page_of(figure: Image.Image, notes: Sequence[str], failed: Sequence[Unmeasured]) -> str:
    """The picture, the notes and the first photos that failed, as HTML."""
    picture = html.inline(html.small(figure, html.LARGE), figure.size, "methods by metrics")
    told = [*notes, *(f"{one.image}: {one.reason}" for one in failed[:_TOLD])]
    if len(failed) > _TOLD:
        told.append(f"… and {len(failed) - _TOLD} more failed")
    return picture + "".join(f"<p>{escaping.escape(printable(text))}</p>" for text in told)
