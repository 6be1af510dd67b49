"""What the reader of a map must know before trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradsight.results.note import Note
from gradsight.targets import Reading, class_name

FAINT = 1e-3
"""A map this much weaker than the strongest one beside it is told apart."""

OUTSIDE = Note(
    "outside_place",
    "the map is hottest outside of the place that was asked for; a method whose weights are means over the picture, as "
    "Grad-CAM's, shows another thing of the same class as well, where hirescam or layercam tell them apart",
)

ELSEWHERE = Note(
    "another_input", "nothing of the image that it is drawn on reaches this layer: the map is of another input"
)

ALONE = Note(
    "explained_alone",
    "the images of a batch influence each other in this model, as where it takes statistics over the batch: each was "
    "explained alone, and its scores are those that it has alone",
)


_SAME = Note("same_for_all", "the same map for every target, up to its strength: it does not tell them apart")


def of_map(values: NDArray[np.float32], signed: bool = False) -> list[Note]:
    """Notes on one raw map; ``signed``: it is drawn with both signs."""
    # In this order: each of these says more than the next, and one is enough.
    if not np.isfinite(values).all():
        return [Note("not_finite", "the map holds values that are not finite (NaN or infinity); they are drawn as 0")]
    if not values.any():
        said = "the score does not react to this layer's positions, or what they contribute cancels"
        return [Note("zero_map", f"the map is zero everywhere: {said}")]
    # Of a signed map the other side is drawn, so that the heatmap is not empty.
    if values.max() <= 0 and signed:
        return [Note("negative_map", "nothing in the map speaks for this side; it is negative everywhere")]
    if values.max() <= 0:
        return [
            Note(
                "empty_heatmap",
                "nothing in the map speaks for this target; it is negative everywhere, and the heatmap is empty",
            )
        ]
    # By float32's own precision: a constant map comes out of a sum with its last digits apart.
    if np.ptp(values) <= 1e-6 * np.abs(values).max():
        return [Note("constant_map", "the map is the same at every position: it points nowhere")]
    return []


_APART, _COLD = 0.8, 0.5
"""Two maps point apart where their cosine is below the first, and one is on average below the second, as a share of its
own maximum, where the other is hot. Behind a mean over positions the cosine is 1; behind Flatten and Dense it was 0.1
to 0.6 of random networks, 0.5 to 0.95 of trained ones, and 0.54 to 0.80 where Grad-CAM lay beside the thing."""


def of_averages(values: NDArray[np.floating], by_position: NDArray[np.floating]) -> list[Note]:
    """A note on a map whose weights are means of gradients over positions, where they hide what each position says.

    Args:
        values: the map, (*s).
        by_position: the same sum with the gradient of each position, as HiResCAM has it.
    """
    # Behind a maximum over positions few have a gradient, where a mean is what says how much a channel counts.
    if np.count_nonzero(by_position) < np.count_nonzero(values) / 2:
        return []
    # Behind a normalisation of each position the sum is 0 by nature, and its rounding points anywhere.
    if not np.abs(by_position).max() > 1e-4 * np.abs(values).max():
        return []
    one, other = (np.nan_to_num(x).clip(0, None).ravel().astype(np.float64) for x in (values, by_position))
    if not one.any() or not other.any():
        return []
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    if cosine >= _APART or (one @ other) / (one.max() * other.sum()) >= _COLD:
        return []
    said = (
        "the weights of this map are means of gradients that differ by position, and a map without means lies elsewhere"
    )
    why = "the model reads each position by itself, as Flatten and Dense do:"
    return [
        Note(
            "averaged_weights",
            f'{said} (cosine {cosine:.2f}); {why} method="hirescam" shows what each position adds to the score',
            f"{said} (cosine {cosine:.2f}); {why} --method hirescam shows what each position adds to the score",
        )
    ]


_IMPROBABLE = 1e-3
"""A class with a smaller share is none of those that the model considers."""


def of_share(logits: NDArray[np.floating], index: int) -> list[Note]:
    """A note on a class that the model holds for next to impossible, by its softmax over (classes,) scores."""
    shares = np.exp(logits - logits.max())
    share = float(shares[index] / shares.sum())
    if not share < _IMPROBABLE:
        return []
    told = f"the model gives this class {share:.1g} of its probability: the map shows what would speak for it, not why"
    return [Note("improbable_class", f"{told} the model decided as it did")]


_FAR, _GAP, _FEW = 3.0, 1.5, 0.1
"""Tokens whose norm is so many times the median, and so many times that of any other, are no part of the picture if
they are at most so large a share."""


def of_tokens(norms: NDArray[np.floating], extra: int) -> list[Note]:
    """Notes on the tokens of one image at a layer.

    Args:
        norms: of the positions, (p,).
        extra: how many tokens are no positions.
    """
    notes = []
    if extra > 1:
        said = f"{extra} tokens of this layer are no part of the picture, such as class and register tokens, or words:"
        notes.append(Note("extra_tokens", f"{said} what they hold is not in the map"))
    median = float(np.median(norms))
    far = norms > _FAR * median
    if far.any() and far.mean() <= _FEW and norms[far].min() > _GAP * norms[~far].max():
        times = float(np.median(norms[far])) / median if median else np.inf
        said = f"{far.sum()} tokens of this layer are {times:.0f} times as long as the median one"
        notes.append(Note("artefact_tokens", f"{said}, {_ARTEFACTS}"))
    return notes


_ARTEFACTS = (
    "as where a transformer keeps what it knows of the whole picture in tokens of the background (arXiv:2309.16588): "
    "where the map is hot there, it does not speak of what is seen there"
)


def of_place(peak: Sequence[float] | None, place: Sequence[float], cell: Sequence[float]) -> list[Note]:
    """Notes on a target that is about a place.

    Args:
        peak: (row, column) of the hottest point; None where there is none.
        place: (top, left, bottom, right).
        cell: (height, width) of one position of the map; half of it is how far the peak may lie outside.
    """
    if peak is None:
        return []
    sides = zip(peak, place[:2], place[2:], cell, strict=True)
    # The peak is known to half a position of the map, whatever the photo's size.
    inside = all(start - room / 2 <= at < stop + room / 2 for at, start, stop, room in sides)
    return [] if inside else [OUTSIDE]


def among_targets(maps: NDArray[np.float32], scale: NDArray[np.float32]) -> list[list[Note]]:
    """Notes on each of the k maps of one image, (k, *s), beside each other; ``scale`` are their maxima, (k,)."""
    notes: list[list[Note]] = [[] for _ in maps]
    strongest = float(np.max(scale, initial=0))
    for j, peak in enumerate(scale):
        # A map of zeros has its own note.
        if 0 < peak < FAINT * strongest:
            times = f"{strongest / peak:.0f} times weaker than the strongest map of this image"
            notes[j].append(Note("faint", times))
    flat = np.nan_to_num(maps.reshape(len(maps), -1)).astype(np.float64)  # float32 loses 1e-6 over 50,000 positions
    lengths = np.linalg.norm(flat, axis=1)
    if len(maps) > 1 and lengths.all():
        directions = flat / lengths[:, None]
        # All are compared to the first: maps that are one direction are so pairwise too.
        if (directions @ directions[0]).min() > 1 - 1e-6:
            for row in notes:
                row.append(_SAME)
    return notes


_RANDOM = Note(
    "random_model",
    "the model draws random numbers as it runs: another run may give another map, and if it shuffles its positions, as "
    "ViLT does, the map is shuffled too",
)

_TRAINING = Note("training_mode", "the model was in training mode; it was explained in evaluation mode")


def of_model(was_training: bool, left_out: str = "", draws: bool = False) -> list[Note]:
    """Notes that concern every map of a pass.

    Args:
        was_training: the model was in training mode.
        left_out: the activation that the model ends in.
        draws: the model draws random numbers.
    """
    notes = []
    if draws:
        notes.append(_RANDOM)
    if left_out:
        notes.append(Note("left_out", f"the model ends in a {left_out}; the scores are the logits before it"))
    if was_training:
        notes.append(_TRAINING)
    return notes


def of_part(layer: str, part: tuple[int, str] | None) -> list[Note]:
    """A note on a layer that gives several tensors that could be maps: how many, and where the one that is meant is."""
    if part is None:
        return []
    said = f"layer {layer!r} gives {part[0]} tensors that could be maps; explained is the first, output{part[1]}"
    return [Note("first_of_several", said)]


_MEAN_OF = (
    "the model gives scores at positions, as a segmentation does; a class was taken as its mean over the picture, and"
)
_MEAN = Note(
    "mean_over_picture",
    f"{_MEAN_OF} gs.Pixels asks about a place; if they are no classes' scores, pass `targets=` as a function",
    f"{_MEAN_OF} --point, --box and --mask ask about a place",
)


def of_scores(scores: NDArray[np.float64], reading: Reading, labels: Sequence[str] | None) -> list[Note]:
    """Notes on the class scores of one image, (classes,), whatever those of others are."""
    notes = []
    if reading.binary:
        # Of two classes one score says both; the reader must know which sign is which.
        against, towards = (class_name(i, labels) for i in range(2))
        said = f"the model gives one score: a high one speaks for {towards}, and a low one for {against}"
        notes.append(Note("one_score", said))
    if reading.positions:
        notes.append(_MEAN)
    if reading.gives:
        top = float(scores.max())
        # The gradient of a softmax is p (1 - p): from here on it is under a hundredth.
        weak = f"; at {top:.4f} they hardly react to anything" if top > 0.99 else ""
        said = f"the scores are probabilities ({reading.gives}), whose gradients saturate{weak}; explain logits instead"
        notes.append(Note("saturated", said))
    return notes


def of_preprocess(record: Mapping[str, Any] | None) -> list[Note]:
    """A note on what was assumed of how photos are made the model's input: `Preprocess.record`, None for no photos."""
    parts = (record or {}).get("assumed_parts", ())
    if record is None or not parts:
        return []
    said = ", ".join(filter(None, (_part(name, record) for name in parts)))
    told = (
        f"nothing says how photos are made for this model, so this was assumed: {said}; if it was trained on other "
        "pictures, its scores and this map are not to be trusted: settle it by"
    )
    options = " ".join(f"--{name}" for name in parts)
    values = " or --preprocess" if {"mean", "std"} & set(parts) else ""
    python = " ".join(f"{name}=" for name in parts)
    return [
        Note(
            "assumed_preprocess",
            f"{told} {python} of load_model, or by preprocess=gs.Preprocess(...)",
            f"{told} {options}{values}",
        )
    ]


def _part(name: str, record: Mapping[str, Any]) -> str:
    """What was assumed of one part, in words."""
    value = record[name]
    if name in ("mean", "std") and record["function"]:
        return f"values by {record['function']}" if name == "mean" else ""
    if value is None:
        return ""
    if name == "size":
        return f"size {value[0]} x {value[1]}"
    return f"{name} {', '.join(f'{x:.3g}' for x in value) if isinstance(value, list) else value}"


def of_placement(seen: Sequence[int], size: Sequence[int]) -> list[Note]:
    """A note on what the model did not see of a photo of ``size`` (height, width)."""
    top, left, bottom, right = seen
    share = (bottom - top) * (right - left) / (size[0] * size[1])
    # Crops lose a row or a column by rounding, of which nobody needs to know.
    if share >= 0.995:
        return []
    said = f"the model saw {share:.0%} of the photo, the part that is not dimmed;"
    all_of_it = "shows the model all of it"
    return [Note("seen_in_part", f'{said} fit="letterbox" {all_of_it}', f"{said} --fit letterbox {all_of_it}")]
