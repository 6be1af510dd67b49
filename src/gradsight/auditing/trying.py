"""Candidates are tested: their region is narrowed on some photos, and proven on others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.candidates import LEVEL, Candidate
from gradsight.auditing.heat import inside, share_in
from gradsight.auditing.interventions import MARGIN, Boxes, Figures, Shown
from gradsight.auditing.loading import Loader
from gradsight.auditing.narrowing import effect, for_size, gains, log_odds, narrowed
from gradsight.auditing.places import Box, area, around, elsewhere, overlap, strips, wider
from gradsight.auditing.seen import Seen
from gradsight.auditing.suspects import ALIKE, STANDS_OUT, Suspect, in_order
from gradsight.auditing.things import thing_in
from gradsight.significance import holm, interval, paired

_SEARCHED, _PROVEN = 16, 40
"""How many photos the box is found on, and on how many others it is proven."""

_COMPARED = 24
"""On so many photos of a class, and of others, a thing is looked for."""

_PLACES = 8
"""So many boxes of the same size elsewhere are tried beside the region."""

_WORTH = 1.25
"""A region that does not do more than so many times what others of its size do is not narrowed."""

_NOTHING = 0.02
"""Log-odds that rise by less have not risen: what is divided by is at least this."""


def suspects(seen: Seen, found: Sequence[Candidate], loader: Loader, most: int = 24, seed: int = 0) -> list[Suspect]:
    """Try candidates, and put those first that are confirmed and change most.

    Args:
        seen: the photos.
        found: the candidates, the strongest first.
        loader: of the photos as the model gets them.
        most: at most so many are tried.
        seed: of the photos that are drawn.
    """
    worth = [one for one in found if one.p <= LEVEL and one.boxes][:most]
    trying = Trying(seen, loader, seed)
    loader.scorer.count.begin(len(worth))
    tried = []
    for target in dict.fromkeys(one.target for one in worth):
        # Whole classes first: what all photos share is seen best in all of them.
        own = sorted((one for one in worth if one.target == target), key=lambda one: not one.whole)
        tried += list(trying.of_class(own))
    # Photos that a place was not found on are a test of it; of twenty tests one would hold by chance.
    corrected = holm([one.chance for one in tried])
    fair = [replace(one, chance=p) for one, p in zip(tried, corrected, strict=True)]
    return trying.told_apart(in_order(fair))


@dataclass(frozen=True, eq=False)
class Trying:
    """Tries candidates of the same photos.

    Attributes:
        seen: the photos.
        loader: of the photos as the model gets them.
        seed: of the photos that are drawn.
    """

    seen: Seen
    loader: Loader
    seed: int

    def of_class(self, found: Sequence[Candidate]) -> Iterator[Suspect]:
        """What comes of the candidates of one class: their places, and a thing that its photos share there."""
        certain = False
        for candidate in found:
            # Each on photos of its own draw, so that their order does not matter.
            one = self._place(candidate)
            self.loader.scorer.count.tried()
            if one is not None:
                certain = certain or (one.confirmed and one.alike > 0)
                yield one
        # A thing that moves is in no place long enough: it makes a whole edge suspect, at best.
        for candidate in () if certain else found:
            thing = self._thing(candidate)
            if thing is not None:
                yield thing
                break

    def told_apart(self, found: Sequence[Suspect]) -> list[Suspect]:
        """The same, and of each place whether its class is raised only since another class's shortcut is covered."""
        told: list[Suspect] = []
        for one in found:
            sure = [other for other in told if other.confirmed and one.confirmed and other.target != one.target]
            # Narrowed boxes of one mark may lie side by side, a pixel each.
            rivals = [other.target for other in sure if overlap(one.box, wider(other.box, MARGIN)) >= 0.5]
            told.append(replace(one, covers=rivals[0]) if rivals and self._covers(one, rivals) else one)
        # Those that are not confirmed any more go behind those that are.
        return in_order(told)

    def _covers(self, one: Suspect, rivals: Sequence[int]) -> bool:
        """Whether a place does nothing in photos that are not of the classes whose shortcut lies there."""
        others = self.seen.others(one.target)
        plain = others[~np.isin(self.seen.targets[others], rivals) & ~np.isin(self.seen.labels[others], rivals)]
        rng = self._random(one.target, len(plain))
        shown = self.loader.shown(one.target, rng.permutation(one.rows), rng.permutation(plain), _PROVEN)
        # Without a third class only its pixels can tell: a mark of its own, or whatever is there.
        if shown is None or one.moving:
            return one.alike < ALIKE
        places = [one.box, *elsewhere(one.box, _PLACES, rng)]
        return not _times([gains(shown.with_patches([box] * len(shown.own))) for box in places]) >= STANDS_OUT

    def _place(self, candidate: Candidate) -> Suspect | None:
        """What comes of a place; None where it cannot be tried, or does nothing at all."""
        rng = self._random(candidate.target, len(candidate.rows))
        rows, others = rng.permutation(candidate.rows), rng.permutation(self.seen.others(candidate.target))
        # What the box was chosen on always looks better than it is: it is proven on others.
        half = min(_SEARCHED, len(rows) // 2)
        search = self.loader.shown(candidate.target, rows[:half], others[: len(others) // 2], _SEARCHED)
        # A cluster may be small, and clustering cuts through what is alike: all that look there are its photos.
        fresh = rng.permutation(self._looking_there(candidate, rows[:half]))
        proof = self.loader.shown(candidate.target, fresh, others[len(others) // 2 :], _PROVEN)
        if search is None or proof is None:
            return None
        box = narrowed(search, _standing_out(search, _starts(search, _grown(candidate)), rng))
        if box is None:
            return None
        places = [[place] * len(proof.own) for place in elsewhere(box, _PLACES, rng)]
        looking = np.append(rows[:half], fresh)
        return _proven(self.seen, (candidate, looking), proof, [[box] * len(proof.own), *places])

    def _thing(self, candidate: Candidate) -> Suspect | None:
        """What comes of a thing with the same pixels in each photo, wherever in the candidate's region it is."""
        target, region = candidate.target, around(_grown(candidate))
        rng = self._random(target, 0)
        rows, others = rng.permutation(self.seen.of[target]), rng.permutation(self.seen.others(target))
        half = min(_COMPARED, len(rows) // 2)
        own, used = self.loader.pictures(rows[:half], _COMPARED)
        beside, _ = self.loader.pictures(others[: len(others) // 2], _COMPARED)
        if min(len(own), len(beside)) < 3:
            return None
        thing = thing_in(own, beside, self._peaks(used, region), region)
        if thing is None:
            return None
        # On photos that it was not found on, by its pixels alone: what the model makes of them is still to be seen.
        proof = self.loader.shown(target, rows[half:], others[len(others) // 2 :], _PROVEN)
        if proof is None:
            return None
        found_at = thing.boxes(proof.own)
        # Photos of the class without the thing say nothing about it.
        kept = [i for i, box in enumerate(found_at) if box is not None]
        if len(kept) < 3:
            return None
        boxes = [box for box in found_at if box is not None]
        places = zip(*(elsewhere(box, _PLACES, rng) for box in boxes), strict=True)
        held = Shown(proof.scorer, target, proof.own[kept], proof.others, proof.donors)
        return _proven(self.seen, (candidate, rows), held, [boxes, *map(list, places)])

    def _peaks(self, rows: NDArray[np.intp], region: Box) -> NDArray[np.float64]:
        """(n, 2): where the heat of each photo is highest within a region, (row, column) as shares."""
        heat = self.seen.heat[rows]
        grid = heat.shape[1:]
        shown = np.outer(*(inside(region[i], region[i + 2], cells) for i, cells in enumerate(grid)))
        # Beside the region heat counts little, and not nothing: a photo may have none in it.
        best = (heat * (0.01 + shown)).reshape(len(rows), -1).argmax(axis=1)
        return np.asarray((np.stack(np.unravel_index(best, grid), axis=1) + 0.5) / grid)

    def _looking_there(self, candidate: Candidate, used: NDArray[np.intp]) -> NDArray[np.intp]:
        """The photos of the class with as much heat in the candidate's boxes as its own, but those that were used."""
        own, every = candidate.rows, np.setdiff1d(self.seen.of[candidate.target], used)
        here, there = (
            np.sum([share_in(self.seen.heat[rows], box) for box in candidate.boxes], axis=0) for rows in (own, every)
        )
        return np.asarray(every[(there >= 0.5 * np.median(here)) | np.isin(every, own)])

    def _random(self, *salt: int) -> np.random.Generator:
        # Of each candidate its own: what comes of one does not depend on what was tried before it.
        return np.random.default_rng((self.seed, *salt))


def _grown(candidate: Candidate) -> list[Box]:
    """The candidate's boxes with a cell more at each side: heat is as coarse as the layer's cells."""
    down, across = (1 / cells for cells in candidate.excess.shape)
    return [
        (max(0.0, top - down), max(0.0, left - across), min(1.0, bottom + down), min(1.0, right + across))
        for top, left, bottom, right in candidate.boxes
    ]


def _starts(shown: Shown, boxes: Sequence[Box]) -> list[Box]:
    """The boxes, and the photo's edges that they touch where these do more for their size: of a frame, or a strip."""
    best = max(for_size(effect(shown, box), box) for box in boxes)
    return [*boxes, *(edge for edge in strips(boxes) if for_size(effect(shown, edge), edge) > best)]


def _standing_out(shown: Shown, boxes: Sequence[Box], rng: np.random.Generator) -> list[Box]:
    """Those of several boxes that do more than two of their size elsewhere: the rest is not worth the narrowing."""
    return [
        box
        for box in boxes
        if effect(shown, box) > _WORTH * max(effect(shown, other) for other in elsewhere(box, 2, rng))
    ]


def _proven(seen: Seen, found: tuple[Candidate, NDArray[np.intp]], shown: Shown, regions: Sequence[Boxes]) -> Suspect:
    """What comes of a region, the first of several; the others are of its size, elsewhere."""
    (candidate, rows), own = found, regions[0]
    patched = [shown.with_patches(region) for region in regions]
    removed = np.stack([shown.removed(region) for region in regions[: 1 + _PLACES // 2]])
    # By log-odds, since a model that is sure of a class by other things too is hardly less sure without the mark.
    losses = log_odds(shown.unchanged) - log_odds(removed)
    gained = np.stack([gains(each) for each in patched])
    box = around(own)
    return Suspect(
        target=candidate.target,
        rows=rows[np.argsort(-share_in(seen.heat[rows], box), kind="stable")],
        whole=candidate.whole,
        box=box,
        size=float(np.mean([area(each) for each in own])),
        moving=len(set(own)) > 1,
        score=candidate.score,
        p=candidate.p,
        removal=interval(shown.unchanged - removed[0]),
        transplant=interval(patched[0][0] - patched[0][1]),
        removal_beyond=interval(losses[0] - losses[1:].mean(axis=0)),
        transplant_beyond=interval(gained[0] - gained[1:].mean(axis=0)),
        times=_times(gained),
        alike=shown.alike(own),
        # All that the verdict says: both effects, and each beyond that of other regions.
        chance=max(
            _more(shown.unchanged, removed[0]),
            _more(losses[0], losses[1:].mean(axis=0)),
            _more(patched[0][0], patched[0][1]),
            _more(gained[0], gained[1:].mean(axis=0)),
        ),
    )


def _more(one: Figures, other: Figures) -> float:
    """How often chance alone makes one figure so much larger than the other."""
    return paired(one, other, alternative="greater").p


def _times(gained: Sequence[Figures] | Figures) -> float:
    """How many times the rise of log-odds by other regions, (places, n) of which the first is the region's."""
    found = np.mean(gained, axis=1)
    # Not the largest: a box elsewhere may meet another part of the same frame, or of the edge that a logo moves along.
    return float(found[0]) / max(float(np.quantile(found[1:], 0.75)), _NOTHING)
