"""What the model says: its best classes, with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.targets.context import Prediction
from gradsight.targets.labels import class_name


@dataclass(frozen=True)
class Reading:
    """How class scores are read from what one model gives, and what they are.

    Attributes:
        path: the keys, names and numbers that lead to them in the output; None where they are not there.
        gives: ``"softmax"`` or ``"sigmoid"`` where the model gives probabilities itself; empty where it gives logits.
        activation: what makes probabilities of logits, ``"softmax"`` or ``"sigmoid"``; empty where nothing does.
        binary: the model gives one score, which speaks for the second of two classes and against the first.
        positions: they are the means of scores at positions, as of a segmentation.
        missing: where no class can be explained, why.
    """

    path: tuple[str | int, ...] | None = ()
    gives: str = ""
    activation: str = "softmax"
    binary: bool = False
    positions: bool = False
    missing: str = ""


def predicted(
    scores: NDArray[np.float64] | None, reading: Reading, labels: Sequence[str] | None, most: int = 5
) -> tuple[tuple[Prediction, ...], ...]:
    """The best classes of each image, the best first.

    Args:
        scores: (n, classes); None where the model gives no class scores, and then there are no predictions.
        reading: what the scores are; where they are probabilities already, those are the model's own figures.
        labels: class names by index, or None.
        most: how many.
    """
    if scores is None or scores.shape[1] < 2 or not reading.activation:
        return ()
    # A softmax of probabilities would flatten them.
    shares = scores if reading.gives else _ACTIVATIONS[reading.activation](scores)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :most]
    return tuple(
        tuple(Prediction(int(i), class_name(int(i), labels), float(row[i])) for i in best)
        for row, best in zip(shares, order, strict=True)
    )


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities of classes that exclude each other, from rows of logits."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities of classes that do not exclude each other, from logits."""
    small = np.exp(-np.abs(scores))  # never overflows
    shares: NDArray[np.float64] = np.where(scores >= 0, 1, small) / (1 + small)
    return shares


_ACTIVATIONS = {"softmax": softmax, "sigmoid": sigmoid}


def look_of(scores: NDArray[np.float64]) -> str | None:
    """What scores may have passed, by their values: ``"softmax"``, ``"sigmoid"``, or nothing (empty) for logits.

    Those of a softmax are in [0, 1] and add up to 1, those of a sigmoid are in [0, 1]. Rows that are not finite say
    nothing; None where there is no other.
    """
    rows = scores[np.isfinite(scores).all(axis=1)]
    if not rows.size:
        return None
    if rows.min() < -_ROUNDING or rows.max() > 1 + _ROUNDING:
        return ""
    whole = rows.shape[1] > 1 and np.allclose(rows.sum(axis=1), 1, atol=10 * _ROUNDING)
    return "softmax" if whole else "sigmoid"


_ROUNDING = 1e-3
"""Half precisions may be wrong by this much."""
