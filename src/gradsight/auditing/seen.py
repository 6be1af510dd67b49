"""What an audit looks at: for each photo its class, what the model said, and where it looked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.heat import Heat, grid_of, shares
from gradsight.errors import InvalidArgument, received
from gradsight.photos import Explained, Failed
from gradsight.results.explanation import Explanation
from gradsight.targets.labels import class_index

UNKNOWN = -1
"""The class of a photo that nobody said."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Photos, what the model said of them, and where it looked.

    Attributes:
        keys: (n) what the photos are called.
        labels: (n,) the class that each belongs to; `UNKNOWN` where nobody said.
        predictions: (n,) the class that the model found most probable.
        probabilities: (n,) how probable, in [0, 1].
        targets: (n,) the class that the map is of.
        heat: (n, rows, columns) the share of each map's heat in each cell.
        features: (n, c) what is under the heat, such as activations pooled there; None where it is not known.
        photos: (n) what is read to try something on a photo: a path, bytes, a picture, an array; None where it is gone.
        names: of classes, by index.
    """

    keys: tuple[str, ...]
    labels: NDArray[np.intp]
    predictions: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    targets: NDArray[np.intp]
    heat: Heat
    features: NDArray[np.float32] | None
    photos: tuple[object, ...]
    names: Mapping[int, str]

    def __post_init__(self) -> None:
        n = len(self.keys)
        for name in ("labels", "predictions", "probabilities", "targets", "heat", "photos"):
            if len(getattr(self, name)) != n:
                raise InvalidArgument(
                    f"`{name}` must have one entry for each of the {n} photos. {received(getattr(self, name))}"
                )
        if not n:
            raise InvalidArgument("`keys` must name at least one photo that was explained. Received: none.")

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, index: int) -> str:
        """What a class is called."""
        return self.names.get(int(index), f"class {index}")

    @property
    def of(self) -> dict[int, NDArray[np.intp]]:
        """For each class that was explained the rows of its photos whose maps have any heat."""
        hot = self.heat.any(axis=(1, 2))
        return {int(c): np.flatnonzero((self.targets == c) & hot) for c in np.unique(self.targets)}


def seen_of(
    outcomes: Iterable[Explained[object] | Failed[object]],
    *,
    keys: Sequence[str] | None = None,
    labels: Sequence[int | str | None] | None = None,
    names: Sequence[str] | None = None,
) -> tuple[Seen, tuple[tuple[str, str], ...]]:
    """What an explainer's stream saw, in the memory of its maps on one grid; and the photos that failed, with reasons.

    Of each photo the first explanation and its first target count.

    Args:
        outcomes: as `Explainer.stream` gives them.
        keys: what the photos are called, in their order; a path is called by itself.
        labels: the class that each belongs to, in their order; an index, a name, or None where it is not known.
        names: of the classes, by index.

    Raises:
        InvalidArgument: no photo was explained; a map is of no class, or of no photo; other numbers of keys or labels.
    """
    rows: list[_Row] = []
    failed: list[tuple[str, str]] = []
    for i, outcome in enumerate(outcomes):
        key = _key(outcome.photo, i) if keys is None else keys[i]
        if isinstance(outcome, Failed):
            failed.append((key, str(outcome.error)))
            continue
        label = None if labels is None else labels[i]
        rows.append(_row(outcome, key, _label(label, names)))
    return _table(rows, names), tuple(failed)


@dataclass(frozen=True, eq=False)
class _Row:
    key: str
    label: int
    prediction: int
    probability: float
    target: int
    map: NDArray[np.float32]
    features: NDArray[np.float32] | None
    photo: object
    named: tuple[tuple[int, str], ...]


def _row(outcome: Explained[object], key: str, label: int) -> _Row:
    explanation = outcome.explanation
    target, values = explanation.targets[0][0], explanation.maps[0, 0]
    if target.index is None or values.ndim != 2 or not explanation.predictions:
        raise InvalidArgument(
            f"`outcomes` must explain classes of photos: an audit compares classes. Received: a map with {values.ndim} "
            f"axes of {target.label!r}. Explain a model with class scores, with its best class as target."
        )
    best = explanation.predictions[0][0]
    named = ((target.index, target.label), (best.index, best.label))
    # A float16 copy on at most 64 x 64: maps of single pixels of many photos would fill the memory.
    return _Row(key, label, best.index, best.probability, target.index, _kept(values), _features(explanation),
                getattr(outcome.photo, "source", outcome.photo), named)


def _kept(values: NDArray[np.float32]) -> NDArray[np.float32]:
    from gradsight.auditing.heat import MOST_CELLS, averaged

    grid = (min(MOST_CELLS, values.shape[0]), min(MOST_CELLS, values.shape[1]))
    heat = np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0, None)
    return heat.copy() if grid == heat.shape else averaged(heat, grid).astype(np.float32)


def _features(explanation: Explanation) -> NDArray[np.float32] | None:
    """What each channel adds to the score: its mean activation times its weight (Grad-CAM, eq. 1)."""
    if explanation.alphas is None or explanation.channel_means is None:
        return None
    return np.asarray(explanation.alphas[0, 0] * explanation.channel_means[0], np.float32)


def _key(photo: object, number: int) -> str:
    name = getattr(photo, "name", photo)
    return str(name) if isinstance(name, str) or hasattr(name, "__fspath__") else f"photo {number}"


def _label(label: int | str | None, names: Sequence[str] | None) -> int:
    if label is None:
        return UNKNOWN
    return label if isinstance(label, int) else class_index(label, names, len(names or ()))


def _table(rows: Sequence[_Row], names: Sequence[str] | None) -> Seen:
    if not rows:
        raise InvalidArgument("`outcomes` must hold at least one photo that was explained. Received: none.")
    known = dict(pair for row in rows for pair in row.named)
    known |= dict(enumerate(names or ()))
    features = [row.features for row in rows]
    same = len({None if one is None else one.shape for one in features}) == 1
    return Seen(
        keys=tuple(row.key for row in rows),
        labels=np.array([row.label for row in rows], np.intp),
        predictions=np.array([row.prediction for row in rows], np.intp),
        probabilities=np.array([row.probability for row in rows]),
        targets=np.array([row.target for row in rows], np.intp),
        heat=shares((row.map for row in rows), grid_of(row.map.shape for row in rows)),
        features=np.stack([one for one in features if one is not None]) if same and features[0] is not None else None,
        photos=tuple(row.photo for row in rows),
        names=known,
    )
