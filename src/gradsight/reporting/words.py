"""What a run says, in a few sentences, and what of it is not on the page."""

from __future__ import annotations

from collections.abc import Iterator

from gradsight.auditing.audit import Audit
from gradsight.auditing.words import photos
from gradsight.reporting.listing import RIGHT, WRONG, Listing
from gradsight.reporting.panels import CLASSES, MATRIX, Matrix
from gradsight.reporting.photos import Gallery
from gradsight.reporting.views import VIEWS

_SENTENCES = 4
"""So many findings are in the summary."""

_WORTH = ("suspect", "change", "background", "error", "confusion")
"""What the summary tells of; where each class looks stands in its panel."""


def summary_of(listing: Listing, audit: Audit | None) -> tuple[str, ...]:
    """The summary, the most important first."""
    return (*_verdict(audit), *_about(listing), *_found(audit))


def _verdict(audit: Audit | None) -> Iterator[str]:
    if audit is None:
        yield "No audit was possible: what the maps say about classes is not told here. The notes say why."
    else:
        yield audit.verdict


def _about(listing: Listing) -> Iterator[str]:
    failed = len(listing.failed)
    yield (
        f"{photos(len(listing.entries))} {'was' if len(listing.entries) == 1 else 'were'} explained"
        + (f", and {failed:,} could not be: they are listed at the end." if failed else ".")
    )
    if listing.known:
        right = listing.count(RIGHT)
        yield (
            f"The model is right on {right:,} of {photos(listing.known)} whose class is known "
            f"({right / listing.known:.0%}), and wrong on {listing.count(WRONG):,}."
        )
    elif listing.entries:
        yield (
            "It is known of no photo to which of the model's classes it belongs: nothing is said about right and wrong."
        )


def _found(audit: Audit | None) -> Iterator[str]:
    findings = [] if audit is None else [one for one in audit.findings if one.kind in _WORTH]
    # Suspects that were rejected, or that nobody tried, are no news.
    told = [one for one in findings if one.kind != "suspect" or one.confirmed]
    # One of each kind before a second of any: fifty errors would hide the confusions.
    first = [next((one for one in told if one.kind == kind), None) for kind in _WORTH]
    confirmed = [one for one in told if one.confirmed][1:_SENTENCES]
    chosen = [*first[:1], *confirmed, *first[1:]]
    yield from (one.sentence for one in chosen if one is not None)


def left_out(listing: Listing, gallery: Gallery, matrix: Matrix | None, classes: int) -> Iterator[str]:
    """What is not on the page, in words."""
    shown, every = len(gallery.photos), len(listing.entries)
    if shown < every:
        why = "as many as fit into the file" if gallery.full else "as many as were asked for"
        yield (
            f"{shown:,} of {photos(every)} are shown, {why}: examples of what was found, and of the others a draw that "
            "takes turns between classes. All figures are of all photos."
        )
    if shown:
        yield f"No photo has more than {gallery.side} pixels along its longer side here: larger ones were made smaller."
    if gallery.cut:
        yield f"Of {photos(gallery.cut)} not all maps are shown, but {VIEWS}."
    if classes > CLASSES:
        yield f"{CLASSES} of {classes:,} classes have a panel: those that most photos were taken for."
    if matrix is not None and matrix.left_out:
        yield (
            f"The table of confusions has {MATRIX} classes, those that were confused most; {matrix.left_out:,} are "
            "left out."
        )


def missing(gallery: Gallery) -> Iterator[str]:
    """Of how many photos the picture itself is not there, in words."""
    gone = [photo for photo in gallery.photos if photo.why]
    if gone:
        yield (
            f"{photos(len(gone))} of {len(gallery.photos):,} could not be drawn on, and their heat is shown alone, "
            f"such as {gone[0].key}: {gone[0].why}"
        )
