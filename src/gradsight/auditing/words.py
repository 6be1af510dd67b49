"""Findings as sentences that a reader can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.background import Reliance
from gradsight.auditing.candidates import FEWEST, LEVEL, Candidate
from gradsight.auditing.facts import Confusion, Look, Mistake, at, look_of
from gradsight.auditing.finding import PHOTOS, Finding
from gradsight.auditing.places import Box, hot_areas, named, overlap
from gradsight.auditing.seen import Seen
from gradsight.auditing.suspects import ALIKE, LARGEST, SAME, Suspect
from gradsight.significance import Interval

_CONFUSED = 5
"""So many pairs of classes are told."""

EVEN = "(even heat: 25% and 36%)"
"""The shares of the middle quarter and of the border, the outer tenth, that even heat has."""

_SAME_PLACE = 0.5
"""Boxes of which the smaller lies in the other by so much are one place."""

_FEW = 3
"""More classes with few photos than these are told in one sentence."""


def of_suspects(seen: Seen, found: Sequence[Suspect]) -> Iterator[Finding]:
    """A finding for each suspect."""
    for one in found:
        box = seen.on_photos(one.rows, one.box)
        yield Finding(
            kind="suspect",
            label=seen.name(one.target),
            sentence=_suspected(one, seen.name(one.target), named(box)),
            strength=max(0.0, min(1.0, one.transplant.mean)),
            box=box,
            confirmed=one.confirmed,
            removal=one.removal,
            transplant=one.transplant,
            photos=_keys(seen, one.rows),
            figures={
                "p": one.p,
                "score": one.score,
                "photos": len(one.rows),
                "size": one.size,
                "times": one.times,
                "alike": one.alike,
                "chance": one.chance,
                "moving": float(one.moving),
            },
        )


def _suspected(one: Suspect, label: str, place: str) -> str:
    if not one.confirmed:
        # What fills the photo is no thing at a place.
        seen = place if one.size > LARGEST else _thing(one, place)
        share = f"{one.size:.1%} of {'it' if seen == 'most of the photo' else 'the photo'}"
        return f"{label} looks at {seen} ({share}), but it is no confirmed shortcut: {'; '.join(one.why_not)}."
    them, they_raise = ("them", "they raise") if one.alike >= ALIKE else ("it", "it raises")
    return (
        f"{label} relies on {_thing(one, place)} ({one.size:.1%} of the photo): without {them} the probability falls "
        f"by {_told(one.removal)}, and put into photos of other classes {they_raise} it by {_told(one.transplant)} "
        "more than what is there in other photos."
    )


def _thing(one: Suspect, place: str) -> str:
    # Whether pixels or a place are the same tells a reader what to look for.
    thing = "something"
    if one.alike >= ALIKE:
        thing = "nearly the same pixels" if one.alike >= SAME else "similar pixels"
    return f"{thing} {'at varying places of' if one.moving else 'at'} {place}"


def of_candidates(seen: Seen, found: Sequence[Candidate]) -> Iterator[Finding]:
    """A finding for each class whose maps share a place, of which nothing was tested."""
    told: dict[int, Box] = {}
    # Beside other classes first: what a class has more of than they have says more than what it has at all.
    for one in sorted(found, key=lambda one: not one.apart):
        # Clusters are told only with what came of them: most are no more than groups.
        if one.p > LEVEL or not one.whole or not one.boxes:
            continue
        # The same place, found in two ways, is one finding.
        if one.target in told and overlap(told[one.target], one.boxes[0]) >= _SAME_PLACE:
            continue
        told[one.target] = one.boxes[0]
        label, box = seen.name(one.target), seen.on_photos(one.rows, one.boxes[0])
        beside = "other classes do" if one.apart else "elsewhere, as other classes may too"
        yield Finding(
            kind="suspect",
            label=label,
            sentence=f"{label} looks at {named(box)} more than {beside}; whether it decides was not tested.",
            box=box,
            photos=_keys(seen, one.rows),
            figures={"p": one.p, "score": one.score, "photos": len(one.rows)},
        )


def of_reliance(seen: Seen, found: Sequence[Reliance]) -> Iterator[Finding]:
    """A finding for each class whose objects are known."""
    for one in found:
        label = seen.name(one.target)
        # What decides first, where the model was asked; then the heat, which only lies there.
        told = (
            f"{label}: {_by_exchange(one)}{one.on_object.mean:.0%} of the heat lies on the object{_by_outcome(one)}, "
            f"which is {one.area:.0%} of the photo"
        )
        figures = {"on_object": one.on_object.mean, "area": one.area, "reliance": one.reliance, "photos": one.photos}
        falls = {name: getattr(one, name) for name in ("without_background", "other_object", "other_background")}
        # Without a model the heat beside the object has to do.
        strength = one.reliance if np.isfinite(one.reliance) else 1 - one.on_object.mean
        yield Finding(
            kind="background",
            label=label,
            sentence=f"{told}{_by_removal(one)}.",
            strength=float(np.clip(strength, 0, 1)),
            removal=one.without_object,
            photos=_keys(seen, one.worst),
            figures=figures | {name: fall.mean for name, fall in falls.items() if fall is not None},
        )


def _by_outcome(one: Reliance) -> str:
    if one.right is None or one.wrong is None or not (one.right.n and one.wrong.n):
        return ""
    return f" ({one.right.mean:.0%} where it is right, {one.wrong.mean:.0%} where it is wrong)"


def _by_removal(one: Reliance) -> str:
    if one.without_object is None or one.without_background is None:
        return ""
    return (
        f"; without the object the probability falls by {_told(one.without_object)}, without the background by "
        f"{_told(one.without_background)}"
    )


def _by_exchange(one: Reliance) -> str:
    if one.other_object is None or one.other_background is None:
        return ""
    decides = (
        f"the background decides {one.reliance:.0%} of it"
        if np.isfinite(one.reliance)
        else "the background decides none of it"
    )
    return (
        f"{decides}: exchanged for that of a photo taken for another class it costs {_told(one.other_background)} of "
        f"the probability, the object exchanged likewise {_told(one.other_object)}. "
    )


def of_mistakes(seen: Seen, found: Sequence[Mistake]) -> Iterator[Finding]:
    """A finding for each confident error, with what the model looked at."""
    for one in found:
        # The area with most heat alone: a sentence with all of them says nothing.
        boxes = hot_areas(seen.heat[one.row])
        box = seen.on_photos([one.row], boxes[0]) if boxes else None
        place = named(box) if box else "nothing in particular"
        # A run of one class for all photos has no maps of what they were taken for.
        own = seen.targets[one.row] == one.prediction
        looked = "the model looked at" if own else f"what speaks for {seen.name(int(seen.targets[one.row]))} is at"
        yield Finding(
            kind="error",
            label=seen.name(one.prediction),
            sentence=(
                f"{one.key} is {seen.name(one.label)}, and was taken for {seen.name(one.prediction)} with probability "
                f"{one.probability:.2f}; {looked} {place}."
            ),
            strength=one.probability,
            box=box,
            photos=(one.key,),
        )


def of_confusion(seen: Seen, found: Confusion) -> Iterator[Finding]:
    """A finding for each of the most frequent confusions."""
    # As shares of a class: of a rare one few confusions are many.
    totals = dict(zip(found.classes, found.counts.sum(axis=1), strict=True))
    for truth, guess, count in found.pairs[:_CONFUSED]:
        rows = np.flatnonzero((seen.labels == truth) & (seen.predictions == guess))
        yield Finding(
            kind="confusion",
            label=seen.name(truth),
            sentence=(
                f"{count} of {totals[truth]} photos of {seen.name(truth)} {'was' if count == 1 else 'were'} taken for "
                f"{seen.name(guess)}."
            ),
            strength=float(count / totals[truth]),
            photos=_keys(seen, rows),
        )


def of_looks(seen: Seen, found: Sequence[Look]) -> Iterator[Finding]:
    """A finding for each class: where it looks; and one for all that have too few photos to tell."""
    # Pairs of class and true class are in `looks`; as sentences they would be a page of them.
    classes = [one for one in found if one.truth is None]
    few = [one for one in classes if one.photos < FEWEST]
    # Of few classes each is told, whatever it is worth: there is no page of them.
    alone = classes if len(few) <= _FEW else [one for one in classes if one.photos >= FEWEST]
    for one in alone:
        label = seen.name(one.target)
        # Beside no other class nothing is elsewhere.
        apart = f"; {one.apart:.0%} of it lies elsewhere than that of other classes" if len(classes) > 1 else ""
        rows = seen.of[one.target]
        # A run may have maps of one class for all photos, whatever they were taken for.
        taken = " taken for it" if (seen.predictions[rows] == one.target).all() else ""
        yield Finding(
            kind="look",
            label=label,
            sentence=(
                f"{label}: in {photos(one.photos)}{taken} most of the heat is {at(one.place)}: {one.centre:.0%} of it "
                f"in the middle quarter of the photo, {one.border:.0%} at the border {EVEN}{apart}."
            ),
            strength=one.apart,
            photos=_keys(seen, rows),
            figures={"centre": one.centre, "border": one.border, "scatter": one.scatter, "apart": one.apart},
        )
    if len(alone) < len(classes):
        yield _of_few(seen, few)


def _of_few(seen: Seen, few: Sequence[Look]) -> Finding:
    """Classes with a few photos each, in one sentence: beside each other they say as much as one class."""
    rows = np.concatenate([seen.of[one.target] for one in few])
    # The same words as of a class, and of no class.
    look = look_of(seen, rows, few[0].target)
    names = ", ".join(seen.name(one.target) for one in few[:_FEW])
    return Finding(
        kind="look",
        sentence=(
            f"{len(few)} classes have fewer than {FEWEST} photos each ({names} and others), too few to say where each "
            f"looks: in all {photos(look.photos)} of them most of the heat is {at(look.place)}: {look.centre:.0%} of "
            f"it in the middle quarter of the photo, {look.border:.0%} at the border {EVEN}."
        ),
        photos=_keys(seen, rows),
        figures={"classes": len(few), "centre": look.centre, "border": look.border, "scatter": look.scatter},
    )


def of_limits(failed: Sequence[tuple[str, str]], gone: Mapping[str, str]) -> Iterator[str]:
    """What an audit does not know: of photos that failed, and of those that are gone by now."""
    kinds = ("were not explained in the run", failed), ("could not be read again to try things out", [*gone.items()])
    for words, photos in kinds:
        if photos:
            key, why = photos[0]
            yield f"photos that {words}: {len(photos)}, such as {key}: {why}"


def of_untried(seen: Seen, tried: bool | None, most: int) -> Iterator[str]:
    """Why nothing was tested.

    Args:
        seen: the photos.
        tried: something was; None where there was no model to try it with, which is told elsewhere.
        most: so many suspects were asked for.
    """
    counts = [len(rows) for rows in seen.of.values()]
    if len(counts) == 1 and counts[0] >= FEWEST:
        yield _of_one_class(seen)
    elif not any(count >= FEWEST and sum(counts) - count >= FEWEST for count in counts):
        yield f"suspects are looked for where {FEWEST} photos of a class stand beside {FEWEST} of others: none do here."
    elif tried is False and most:
        yield "the maps of no class share a place beyond chance: there was nothing to test."
    elif tried is False:
        yield "suspects were not tested, as was asked for."


def _of_one_class(seen: Seen) -> str:
    """Why no suspects are looked for where all maps are of one class."""
    (target,) = seen.of
    told = f"all maps are of {seen.name(target)}, and suspects are looked for by comparing the maps of classes"
    if (seen.predictions == target).all():
        return f"{told}: the model took every photo for it. Add photos of other classes."
    # Fixed by who made the run.
    return f"{told}: run the photos without a fixed target, so that each has the map of what it was taken for."


def photos(count: int) -> str:
    """So many photos, in words.

    >>> photos(1), photos(1200)
    ('1 photo', '1,200 photos')
    """
    return f"{count:,} photo{'s' * (count != 1)}"


def _keys(seen: Seen, rows: Sequence[int] | NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(seen.keys[int(row)] for row in rows[:PHOTOS])


def _told(one: Interval) -> str:
    if np.isnan(one.low):
        return f"{one.mean:.2f}"
    return f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]"
