"""Answers as HTML: pictures within the page itself, so that there is no file of them which others could ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PIL import Image

from gradsight import imaging
from gradsight.pages.browsing import Card, RunMap
from gradsight.pages.draw import Panel
from gradsight.pages.points import Use
from gradsight.results.html import address, escaped
from gradsight.results.wording import share
from gradsight.targets import Prediction

_QUALITY = 85

_COLOURS = ("#3b6fb6", "#c2571a", "#3a7d44", "#8e4a9e", "#a8323e", "#5f6b0f", "#0f7b83", "#6b5444")
"""Of groups on the map: dark enough on white, and told apart by their numbers too."""


def source_of(picture: Image.Image) -> str:
    """A picture as the address of itself."""
    return address(imaging.encoded(picture, "JPEG", quality=_QUALITY))


def image(picture: Image.Image, words: str) -> str:
    """A picture with words for who cannot see it."""
    return f'<img alt="{escaped(words)}" width="{picture.width}" height="{picture.height}" src="{source_of(picture)}">'


def figures(panels: Iterable[Panel]) -> str:
    """Pictures side by side, each with its words."""
    return f'<div class="gs-grid gs-said">{"".join(map(_figure, panels))}</div>'


def _figure(panel: Panel) -> str:
    alt = f"Heat of {panel.title}: {panel.words}"
    notes = "".join(f'<span class="gs-note">{escaped(note)}</span>' for note in panel.notes)
    return (
        f"<figure>{image(panel.picture, alt)}<figcaption><strong>{escaped(panel.title)}</strong>"
        f"<span>{escaped(panel.detail)}</span><span>{escaped(_sentence(panel.words))}</span>{notes}</figcaption></figure>"
    )


def predictions(model: str, found: Sequence[Prediction]) -> str:
    """The model's best classes as a table with bars."""
    if not found:
        return message("The model gives no probabilities of classes.")
    rows = "".join(
        f'<tr><th scope="row">{escaped(one.label)}</th><td class="gs-bar"><span style="width:{one.probability:.1%}">'
        f"</span></td><td>{share(one.probability)}</td></tr>"
        for one in found
    )
    caption = f"<caption>{escaped(model)} says</caption>"
    return f'<table class="gs-table gs-chances gs-said">{caption}<tbody>{rows}</tbody></table>'


def notes(sentences: Sequence[str]) -> str:
    """What must be known before maps are trusted."""
    if not sentences:
        return ""
    items = "".join(f"<li>{escaped(_sentence(one))}</li>" for one in sentences)
    return f'<div class="gs-notes gs-said"><strong>Before you trust the maps</strong><ul>{items}</ul></div>'


def message(words: str) -> str:
    """A sentence."""
    return f'<p class="gs-message gs-said">{escaped(_sentence(words))}</p>' if words else ""


def problem(words: str) -> str:
    """What went wrong; read out at once by screen readers."""
    return f'<div class="gs-problem gs-said" role="alert">{escaped(words)}</div>'


def uses(words: str, found: Sequence[Use]) -> str:
    """Which classes use a point, as a sentence and a table."""
    cells = [(one.label, share(one.heat), f"{one.value:+.3g}") for one in found]
    rows = table(("Class", "Of its strongest place", "Raw value"), cells) if found else ""
    return f'<div role="status">{message(words)}</div>{rows}'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table whose first column names the rows."""
    head = "".join(f'<th scope="col">{escaped(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escaped(first)}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    told = f"<caption>{escaped(caption)}</caption>" if caption else ""
    # A wide table is scrolled by itself, by keys too, and the page stays as wide as the screen.
    return (
        f'<div class="gs-scroll" tabindex="0" role="region" aria-label="{escaped(caption or "table")}">'
        f'<table class="gs-table">{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def gallery(cards: Iterable[tuple[Card, Image.Image | None, str]]) -> str:
    """Photos of a run as buttons; a click on one triggers an event with its key."""
    return f'<div class="gs-gallery">{"".join(_card(*one) for one in cards)}</div>'


def _card(card: Card, picture: Image.Image | None, words: str) -> str:
    shown = message(words) if picture is None else image(picture, "")
    wrong = " gs-wrong" if card.wrong else ""
    return (
        f'<button type="button" class="gs-card{wrong}" data-key="{escaped(card.key)}">{shown}'
        f"<span>{escaped(card.words)}</span><small>{escaped(card.key)}</small></button>"
    )


def run_map(found: RunMap) -> str:
    """The photos of a run as dots in a plane; a click on one triggers an event with its key."""
    dots = "".join(
        f'<circle cx="{20 + 560 * x:.1f}" cy="{20 + 360 * y:.1f}" r="6" fill="{_COLOURS[group % len(_COLOURS)]}" '
        f'data-key="{escaped(key)}"><title>{escaped(key)}, group {group + 1}</title></circle>'
        for key, (x, y), group in zip(found.keys, found.places, found.groups, strict=True)
    )
    groups = int(found.groups.max()) + 1 if len(found.groups) else 0
    counts = [int((found.groups == group).sum()) for group in range(groups)]
    legend = "".join(map(_legend, range(groups), counts))
    words = f"{len(found.keys)} photos in {groups} groups by what the model looks at in them"
    return (
        f'<svg class="gs-map" viewBox="0 0 600 400" role="img" aria-label="{escaped(words)}">{dots}</svg>'
        f'<ul class="gs-legend">{legend}</ul>'
    )


def _legend(group: int, count: int) -> str:
    dot = f'<span class="gs-dot" style="background:{_COLOURS[group % len(_COLOURS)]}"></span>'
    return f"<li>{dot}group {group + 1}: {count} photos</li>"


def _sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    made = words[:1].upper() + words[1:]
    return made if made.endswith((".", "!", "?")) else f"{made}."
