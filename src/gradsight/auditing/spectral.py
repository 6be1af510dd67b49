"""Clusters of heat, and of what is under it: spectral clustering, as Spectral Relevance Analysis has it.

Lapuschkin et al., Unmasking Clever Hans predictors, Nature Communications 2019 (arXiv:1902.10178): relevance maps of a
class are made small and clustered; the gaps between the eigenvalues say into how many groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]
"""(n, d): what is clustered, one row a photo."""

_NEIGHBOUR = 7
"""How far a photo sees is its distance to this neighbour (Zelnik-Manor and Perona, Self-tuning spectral clustering,
2004): groups may be of different widths."""

_STARTS, _ROUNDS = 4, 50
"""k-means begins so many times, of which the tightest result counts, and takes at most so many rounds."""


def clusters(rows: Rows, most: int = 4, seed: int = 0) -> NDArray[np.intp]:
    """The group of each row, (n,), numbered from 0.

    Args:
        rows: what is clustered; with fewer than 12 all are one group.
        most: at most so many groups; how many there are is said by the largest gap between eigenvalues.
        seed: of the centres that k-means begins with.
    """
    n = len(rows)
    if n < 12:
        return np.zeros(n, np.intp)
    # With one vector more than groups, since the last gap lies behind the last group.
    values, vectors = _eigen(_affinity(rows), most + 1)
    # The gap after the second to the last eigenvalue: one group alone is looked at in any case.
    gaps = np.diff(values)[1:]
    count = int(gaps.argmax()) + 2
    embedded = vectors[:, :count]
    # Rows on the unit sphere: photos at the edge of a group lie in its direction, and nearer to 0.
    lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
    return _kmeans(embedded / np.maximum(lengths, 1e-12), count, seed)


def spread(rows: Rows) -> NDArray[np.float64]:
    """(n, 2): a place in a plane for each row, those that are alike near each other, in [0, 1].

    The two vectors after the first of the same Laplacian that groups are found by (Belkin and Niyogi, Laplacian
    eigenmaps, 2003).

    Args:
        rows: what is laid out; fewer than four lie side by side.
    """
    if len(rows) < 4:
        return np.stack([np.linspace(0.2, 0.8, len(rows)), np.full(len(rows), 0.5)], axis=1)
    _, vectors = _eigen(_affinity(rows), 2)
    # By ranks in part: a few rows far away would push all others into one dot.
    found = vectors[:, 1:3]
    ranks = found.argsort(axis=0).argsort(axis=0) / (len(rows) - 1)
    low, high = found.min(axis=0), found.max(axis=0)
    plain = (found - low) / np.where(high > low, high - low, 1)
    return np.asarray((ranks + plain) / 2, np.float64)


def joined(heat: Rows, features: Rows | None) -> Rows:
    """Where and what as one row: distances of both count alike.

    Args:
        heat: (n, cells) shares of heat; their square roots are compared (Hellinger's distance).
        features: (n, c) what is under the heat; None where nothing is known of it.
    """
    where = np.sqrt(heat.astype(np.float64))
    parts = [where] if features is None else [where, _units(features)]
    return np.concatenate([_evened(part) for part in parts], axis=1)


def _units(features: Rows) -> NDArray[np.float64]:
    values = np.nan_to_num(features.astype(np.float64))
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _evened(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows whose mean squared distance from their centre is 1."""
    centred = part - part.mean(axis=0)
    spread = np.sqrt(np.square(centred).sum(axis=1).mean())
    return np.asarray(centred / spread if spread > 0 else centred)


def _affinity(rows: Rows) -> NDArray[np.float64]:
    values = rows.astype(np.float64)
    squares = np.square(values).sum(axis=1)
    away = np.clip(squares[:, None] + squares - 2 * values @ values.T, 0, None)
    nearest = min(_NEIGHBOUR, len(values) - 1)
    reach = np.sqrt(np.partition(away, nearest, axis=1)[:, nearest])
    # Equal rows have no reach, and would divide by 0.
    scale = np.maximum(reach, 1e-9 + 1e-3 * reach.mean())
    affinity: NDArray[np.float64] = np.exp(-away / (scale[:, None] * scale))
    # No photo is its own neighbour, which would bind it to itself more than to any group.
    np.fill_diagonal(affinity, 0)
    return affinity


def _eigen(affinity: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest eigenvalues of the normalised Laplacian, and their vectors (n, count)."""
    from scipy import linalg

    degrees = 1 / np.sqrt(np.maximum(affinity.sum(axis=1), 1e-12))
    laplacian = np.eye(len(affinity)) - degrees[:, None] * affinity * degrees
    values, vectors = linalg.eigh(laplacian, subset_by_index=[0, min(count, len(affinity) - 1)])
    return np.asarray(values), np.asarray(vectors)


def _kmeans(rows: NDArray[np.float64], count: int, seed: int) -> NDArray[np.intp]:
    tries = [_lloyd(rows, count, np.random.default_rng((seed, start))) for start in range(_STARTS)]
    return min(tries, key=lambda found: found[1])[0]


def _lloyd(rows: NDArray[np.float64], count: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], float]:
    """The group of each row, and the sum of squares within groups; a group may end up empty."""
    centres = _spread_out(rows, count, rng)
    groups = np.full(len(rows), -1, np.intp)
    for _ in range(_ROUNDS):
        away = _squares(rows, centres)
        found = away.argmin(axis=1)
        if (found == groups).all():
            break
        # Groups that lost all photos keep their centre, and may win some again.
        groups = found
        for group in np.unique(groups):
            centres[group] = rows[groups == group].mean(axis=0)
    return groups, float(_squares(rows, centres)[np.arange(len(rows)), groups].sum())


def _spread_out(rows: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Centres to begin with, far from each other as a rule (k-means++, Arthur and Vassilvitskii 2007)."""
    centres = rows[rng.integers(len(rows))][None]
    while len(centres) < count:
        away = _squares(rows, centres).min(axis=1)
        total = away.sum()
        at = rng.choice(len(rows), p=away / total) if total > 0 else rng.integers(len(rows))
        centres = np.concatenate([centres, rows[at][None]])
    return np.asarray(centres)


def _squares(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.square(rows[:, None] - centres).sum(axis=2))
