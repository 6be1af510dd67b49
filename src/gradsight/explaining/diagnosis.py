"""What costly checks of a map there are, what their figures mean, and which of them a reader must be told of.

The thresholds were set on the best class of the demo model (EfficientNet-Lite0, ImageNet), on 50 photos, half of
them of COCO and half of ImageNet; of the plain gradient on 17 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradsight.cases import Case
from gradsight.cases.elsewhere import outdone
from gradsight.cases.passing import Passing, passing
from gradsight.metric_registry import as_metric
from gradsight.results.note import Note
from gradsight.results.wording import share

Measure: TypeAlias = Callable[[Case], NDArray[np.float64]]
"""A figure of each map, (n, k); NaN where there is none."""

Cost: TypeAlias = Callable[[int, int], int]
"""``(targets, method) -> passes`` of the model for one image, where a run of the method takes so many."""


@dataclass(frozen=True)
class Check:
    """One check of a map.

    Attributes:
        title: what it is about, in words.
        measure: its figures.
        cost: how many passes it takes.
        words: a figure in words.
        fault: the note on a figure that a reader must know of; None for one that is as it should be.
        at_layer: it looks at one layer, so that methods of several layers, or of the image, have none.
    """

    title: str
    measure: Measure
    cost: Cost
    words: Callable[[float], str]
    fault: Callable[[float], Note | None]
    at_layer: bool = False


def checks() -> tuple[Check, ...]:
    """All of them, in the order in which they are told."""
    # A function: the metrics are in files that are read when they are first asked for.
    at_random, shifted, noisy = map(as_metric, (_RANDOMISATION, _SHIFT, _NOISE))
    return (
        Check("maps laid elsewhere", _outdone, _cost_of_outdone, _words_of_outdone, _of_outdone),
        Check(
            "random weights",
            at_random,
            at_random.cost,
            "with random weights it correlates by {:.2f}".format,
            _of_randomised,
        ),
        Check(
            "a shift by a pixel",
            shifted,
            shifted.cost,
            "shifted by a pixel it correlates by {:.2f}".format,
            _of_shifted,
        ),
        Check("noise", noisy, noisy.cost, lambda value: f"under noise it changes by {share(value)}", _of_noisy),
        Check("what bypasses the layer", _seen, lambda *_: 2, _words_of_seen, _of_seen, at_layer=True),
        Check(
            "saturation",
            _told,
            lambda *_: 0,
            lambda value: f"the gradient there predicts {share(value)} of that",
            _of_told,
            at_layer=True,
        ),
    )


# Does it beat chance?

ELSEWHERE, TAKEN, BASELINE = 19, 0.3, "mean"
"""How many maps laid elsewhere a map is compared with, the share of the picture that is taken away, and what is put in
its place. A map that knows nothing outdoes all of 19 in one of 20 pictures, and 18 of them in one of 10."""

_OUTDOES = 0.8
"""A map that outdoes a smaller share of maps laid elsewhere hardly beats chance: 82 % of random maps, 65 % of plain
gradients, 36 % of guided backpropagation's, 28 % of LayerCAM's and 18 % of Grad-CAM's. At 0.7 they would be 66, 47, 26,
24 and 12 %, at 0.9 92, 76, 44, 38 and 26 %."""


def _outdone(case: Case) -> NDArray[np.float64]:
    return outdone(case, ELSEWHERE, TAKEN, BASELINE)


def _cost_of_outdone(targets: int, _method: int) -> int:
    return targets * (ELSEWHERE + 1)


def _words_of_outdone(value: float) -> str:
    return f"it beats {value * ELSEWHERE:.0f} of {ELSEWHERE} maps laid elsewhere"


def _of_outdone(value: float) -> Note | None:
    if value >= _OUTDOES:
        return None
    beaten = round(value * ELSEWHERE)
    said = (
        f"with the hottest {share(TAKEN)} of the picture taken away the score falls lower than with the same map laid "
        f"elsewhere in {beaten} of {ELSEWHERE} trials, as by chance alone in {share(1 - beaten / (ELSEWHERE + 1))} of "
        f"pictures ({ELSEWHERE + 1} passes): look twice before you take the hot area for the reason;"
    )
    return _note("hardly_beats_random", said, "gs.evaluate measures", "`gradsight evaluate` measures", _OTHERS)


_OTHERS = "methods and layers on many photos"


# Does it depend on what the model has learned?

_RANDOMISATION = "randomisation(steps=3)"

_ALIKE = 0.45
"""A map that stays more alike than this, by Spearman's correlation, survives random weights: 88 % of guided
backpropagation's (0.40 to 0.63 in 9 of 10 photos), 2 % of Grad-CAM's (-0.31 to 0.37), 22 % of LayerCAM's, which leaves
out all that speaks against a class (-0.11 to 0.56), none of plain gradients; all maps of edges, which stay at 1."""


def _of_randomised(value: float) -> Note | None:
    if value < _ALIKE:
        return None
    said = (
        f"the map stays alike where the model's layers lose what they learned (rank correlation {value:.2f}; 0 is "
        "another map, 1 the same): it shows what is in the picture more than why the model decides so "
        "(arXiv:1810.03292);"
    )
    return _note("survives_random_weights", said, 'method="gradcam"', "--method gradcam", "depends on what was learned")


# Is it steady?

_SHIFT = "shifting(share=1e-06)"
"""By one pixel, the least there is."""

_STEADY = 0.75
"""A map that is less alike than this, by Pearson's correlation, when the picture moves by a pixel is unstable: all of
plain gradients (0.54 at most) and of guided backpropagation (0.47), none of Grad-CAM and LayerCAM (0.95 at least)."""

_NOISE = "averagesensitivity(samples=2)"

_SHAKEN = 0.4
"""A map that changes by a larger share of its own length under a little noise is unstable: all of plain gradients (0.64
at least) and of guided backpropagation (0.46), none of Grad-CAM's (0.27 at most) and LayerCAM's (0.20)."""


def _of_shifted(value: float) -> Note | None:
    if value >= _STEADY:
        return None
    said = (
        f"where the picture moves by one pixel the map does not go with it (correlation {value:.2f}; 1 is the same): "
        "read no detail of it as large as a few pixels;"
    )
    return _note("unstable_under_shift", said, *_CALMER)


def _of_noisy(value: float) -> Note | None:
    if value <= _SHAKEN:
        return None
    said = (
        f"noise that nobody sees, 2% of the way from black to white, changes the map by {share(value)} of its size: "
        "another photo of the same thing may give another map;"
    )
    return _note("unstable_under_noise", said, *_CALMER)


_CALMER = ("gs.smooth(method)", "--method 'smooth(METHOD)'", "averages it, and a later layer is steadier")


# Does the layer see what the score comes from, and the gradient too?

_SEES = 0.5
"""A layer whose positions carry a smaller share of the score's way from a blank picture lies in a side branch: of
layers inside of blocks that a shortcut bypasses it was 0.00 to 0.23, once 0.50 (4 layers, 8 photos), of cuts 1.00."""

_TELLS = 0.01
"""A gradient that tells less of that way, as a share of it, is that of a saturated score. At 8 cuts of the demo model
on 8 photos it was over that on all, 1.00 before the last average, and down to 0.02 at early layers, whose gradients
often point the other way than the score goes; of scores behind a tanh that has reached its end it is 0."""


def _passing(case: Case) -> Passing:
    # Two figures are made of the same passes.
    return case.kept("passing", lambda: passing(case))


def _seen(case: Case) -> NDArray[np.float64]:
    return _passing(case).share


def _told(case: Case) -> NDArray[np.float64]:
    # Of either sign: behind several layers that are not linear the gradient may point the other way, and still react.
    return np.abs(_passing(case).told)


def _words_of_seen(value: float) -> str:
    return f"{share(value)} of what moves the score passes the layer"


def _of_seen(value: float) -> Note | None:
    if value >= _SEES:
        return None
    said = (
        f"only {share(value)} of what moves the score from a blank picture to this one passes the positions of this "
        "layer; the rest goes past them, as by a shortcut or a class token, and is not in the map:"
    )
    return _note(
        "side_branch", said, "explainer.layers(photo)", "`gradsight layers`", "lists layers that all of it passes"
    )


def _of_told(value: float) -> Note | None:
    if value >= _TELLS:
        return None
    said = (
        "the score is saturated: of its way from a blank picture to this one the gradient at this layer predicts "
        f"{share(value)}, since here it hardly reacts to anything; explain logits instead, or try a method without"
    )
    return _note("saturated", said, 'gradients, method="scorecam"', "gradients, --method scorecam", "")


def _note(code: str, said: str, python: str, shell: str, then: str) -> Note:
    """A note whose way out is typed in Python or on the command line."""
    return Note(code, f"{said} {python} {then}".rstrip(), f"{said} {shell} {then}".rstrip())
