"""All that a report tells of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gradsight.auditing.audit import Audit, audited
from gradsight.auditing.finding import Finding
from gradsight.auditing.model_of_run import explainer_of
from gradsight.auditing.of_run import seen_of_run
from gradsight.auditing.seen import Seen
from gradsight.errors import GradsightError, InvalidArgument, received
from gradsight.explaining.explainer import Explainer
from gradsight.models.as_model import ModelLike
from gradsight.reporting.cards import Card, cards_of
from gradsight.reporting.choosing import chosen
from gradsight.reporting.facts import Fact, facts_of, short
from gradsight.reporting.listing import Listing, listing_of
from gradsight.reporting.panels import Matrix, Panel, matrix_of, panels_of
from gradsight.reporting.photos import Gallery, gallery_of
from gradsight.reporting.words import left_out, missing, summary_of
from gradsight.runs.opened import Run

Choices: TypeAlias = tuple[tuple[str, str], ...]
"""What is chosen by, and how it is called."""

_FAILED = 500
"""So many photos that failed are listed."""


@dataclass(frozen=True, eq=False)
class Beside:
    """What a report of a run is made with.

    Attributes:
        audit: of the run; None to make it.
        model: to try suspects out with; None for the one that the run names.
        suspects: at most so many are tested.
    """

    audit: Audit | None
    model: ModelLike | Explainer | None
    suspects: int


@dataclass(frozen=True, eq=False)
class Looked:
    """A run that was looked at, before photos of it are chosen.

    Attributes:
        run: it.
        listing: of its photos.
        seen: what an audit looks at; None where there is nothing of that kind.
        audit: what it found; None where none was possible.
        limits: what else must be known.
    """

    run: Run
    listing: Listing
    seen: Seen | None
    audit: Audit | None
    limits: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OfRun:
    """What a report tells of a run.

    Attributes:
        run: it.
        summary: in words, the most important first.
        cards: by kind, what was found; of suspects ``"rejected"`` and ``"untried"`` are not confirmed.
        panels: of the classes.
        matrix: what was taken for what; None where no class is known.
        gallery: the photos.
        labels: the classes of the photos on the page, and what they were taken for, to choose from: `class_id`, name.
        facts: how the run was made.
        notes: (text, maps): what must be known of so many maps.
        limits: what else must be known.
        left_out: what is not on the page.
        failed: (key, reason) of the photos that failed, as far as they are listed.
        failures: how many there are.
    """

    run: Run
    summary: tuple[str, ...]
    cards: dict[str, tuple[Card, ...]]
    panels: tuple[Panel, ...]
    matrix: Matrix | None
    gallery: Gallery
    labels: tuple[Choices, Choices]
    facts: tuple[Fact, ...]
    notes: tuple[tuple[str, int], ...]
    limits: tuple[str, ...]
    left_out: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    failures: int

    @property
    def name(self) -> str:
        """Of the model, as headings have it."""
        return short(self.run.manifest.name)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of maps on the page, to choose from."""
        return tuple(dict.fromkeys(view.kind for photo in self.gallery.photos for view in photo.views))

    @property
    def signed(self) -> bool:
        """Whether some maps have two signs."""
        return any(view.signed for photo in self.gallery.photos for view in photo.views)


def looked_at(run: Run, beside: Beside) -> Looked:
    """Look at a run, which takes as long as its audit.

    Raises:
        GradsightError: the model or the audit that was given is not of this run.
    """
    listing = listing_of(run)
    seen, why = _seen(run)
    return Looked(run, listing, seen, _audit(run, listing, seen, beside), why)


def of_run(looked: Looked, shown: int, room: int) -> OfRun:
    """What is told of a run.

    Args:
        looked: at it.
        shown: at most so many photos are shown.
        room: bytes that they may take.
    """
    run, listing, seen, audit = looked.run, looked.listing, looked.seen, looked.audit
    findings = () if audit is None else audit.findings
    gallery = gallery_of(run, listing, chosen(listing, findings, shown), room)
    by_key = {photo.key: photo for photo in gallery.photos}
    matrix = None if seen is None else matrix_of(seen)
    return OfRun(
        run=run,
        summary=summary_of(listing, audit),
        cards={kind: cards_of(own, by_key) for kind, own in _by_kind(findings).items()},
        panels=() if seen is None else panels_of(seen, findings, gallery.photos),
        matrix=matrix,
        gallery=gallery,
        labels=_labels(gallery),
        facts=facts_of(run, len(listing.failed)),
        notes=tuple((text, count) for (_, text), count in listing.notes.items()),
        limits=(*looked.limits, *(() if audit is None else audit.notes), *missing(gallery)),
        left_out=tuple(left_out(listing, gallery, matrix, 0 if seen is None else len(seen.of))),
        failed=listing.failed[:_FAILED],
        failures=len(listing.failed),
    )


def _seen(run: Run) -> tuple[Seen | None, tuple[str, ...]]:
    """What an audit would look at; None, with a reason, where there is nothing of that kind."""
    try:
        return seen_of_run(run)[0], ()
    except InvalidArgument as error:  # no photo, or no map of a class: a report tells the rest
        return None, (f"Nothing is said about classes. {error}",)


def _audit(run: Run, listing: Listing, seen: Seen | None, beside: Beside) -> Audit | None:
    if beside.audit is not None:
        _check(beside.audit, run, seen)
        return beside.audit
    if seen is None:
        return None
    explainer, why = _explainer(run, beside)
    return audited(seen, explainer, most=beside.suspects, notes=why, failed=listing.failed, name=run.manifest.name)


def _explainer(run: Run, beside: Beside) -> tuple[Explainer | None, tuple[str, ...]]:
    if not beside.suspects:
        return None, ("Suspects were not tested, as was asked for: none is confirmed or ruled out.",)
    try:
        return explainer_of(run.manifest, beside.model)
    except GradsightError as error:
        # A model that the user names must be the right one; the run's own may be gone, and the report stands.
        if beside.model is not None:
            raise
        return None, (f"The run's model could not be loaded, so that no suspect was tested: {error}",)


def _check(audit: Audit, run: Run, seen: Seen | None) -> None:
    if seen is None or audit.photos != len(seen) or audit.model != run.manifest.name:
        there = 0 if seen is None else len(seen)
        raise InvalidArgument(
            f"`audit` must be of the run that is reported, of {there} photos by {run.manifest.name!r}. "
            f"{received(audit)} Pass gs.audit(run), or leave it out."
        )


def _by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for one in findings:
        # Where a class looks stands in its panel.
        if one.kind != "look":
            found.setdefault(_kind(one), []).append(one)
    return found


def _kind(one: Finding) -> str:
    if one.kind != "suspect" or one.confirmed:
        return one.kind
    # What was tried and failed, and what nobody tried, must not look like what was confirmed.
    return "untried" if one.confirmed is None else "rejected"


def _labels(gallery: Gallery) -> tuple[Choices, Choices]:
    entries = [photo.entry for photo in gallery.photos]
    truths = {one.truth: one.label for one in entries if one.truth}
    guesses = {one.taken: one.guess for one in entries if one.taken}
    return _sorted(truths), _sorted(guesses)


def _sorted(names: Mapping[str, str]) -> Choices:
    return tuple(sorted(names.items(), key=lambda pair: pair[::-1]))
