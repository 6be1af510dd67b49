"""What an audit looks at: for each photo its class, what the model said, and where it looked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradsight.auditing.heat import MOST_CELLS, Heat, averaged, grid_of, shares
from gradsight.auditing.places import Box
from gradsight.errors import InvalidArgument, received
from gradsight.imaging import Placement, nan_to_zero
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
        photos: (n) what is read to try something on a photo: a path, bytes, a picture, an array, or what has one of
            them as its ``source``; None where it is gone.
        placements: (n) where the model's input lies on each photo.
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
    placements: tuple[Placement, ...]
    names: Mapping[int, str]

    def __post_init__(self) -> None:
        n = len(self.keys)
        for name in ("labels", "predictions", "probabilities", "targets", "heat", "photos", "placements"):
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
        # A map of nothing looks nowhere: it would count as a photo that does not look there.
        hot = self.heat.any(axis=(1, 2))
        return {int(c): np.flatnonzero((self.targets == c) & hot) for c in np.unique(self.targets)}

    def others(self, target: int) -> NDArray[np.intp]:
        """The photos that neither are of a class nor are taken for it."""
        return np.flatnonzero((self.targets != target) & (self.labels != target) & (self.predictions != target))

    def on_photos(self, rows: Sequence[int] | NDArray[np.intp], box: Box) -> Box:
        """A box of the model's input as shares of the photos themselves: the middle of those of the rows."""
        # Photos of other proportions are cut elsewhere: of a few shares the middle one is meant.
        found = [_on_photo(self.placements[int(row)], box) for row in rows]
        top, left, bottom, right = np.clip(np.median(found, axis=0), 0, 1)
        return float(top), float(left), float(bottom), float(right)


def _on_photo(placement: Placement, box: Box) -> Box:
    (height, width), (top, left, bottom, right) = placement.image_size, placement.box
    high, wide = bottom - top, right - left
    return (
        (top + box[0] * high) / height,
        (left + box[1] * wide) / width,
        (top + box[2] * high) / height,
        (left + box[3] * wide) / width,
    )


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
        InvalidArgument: no photo was explained; a map is of no class, or of no photo.
    """
    rows: list[Row] = []
    failed: list[tuple[str, str]] = []
    for i, outcome in enumerate(outcomes):
        key = _key(outcome.photo, i) if keys is None else keys[i]
        if isinstance(outcome, Failed):
            failed.append((key, str(outcome.error)))
        else:
            rows.append(_row(outcome, key, UNKNOWN if labels is None else _label(labels[i], names)))
    return table_of(rows, dict(enumerate(names or ()))), tuple(failed)


@dataclass(frozen=True, eq=False)
class Row:
    """One photo of `Seen`.

    Attributes:
        key, label, prediction, probability, target, photo, placement: as there.
        map: its map, (h, w), raw, or averaged by `small`.
        features: (c,), or None.
        named: the names of the classes that it speaks of.
    """

    key: str
    label: int
    prediction: int
    probability: float
    target: int
    map: NDArray[np.float32]
    features: NDArray[np.float32] | None
    photo: object
    placement: Placement
    named: Mapping[int, str]


def small(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """The heat of a map on at most 16 x 16 cells: maps of single pixels of many photos would fill the memory."""
    grid = (min(MOST_CELLS, values.shape[0]), min(MOST_CELLS, values.shape[1]))
    # What speaks against a class is no place that it is recognised by.
    heat = np.clip(nan_to_zero(values), 0, None)
    return np.asarray(heat if grid == heat.shape else averaged(heat, grid), np.float32).copy()


def table_of(rows: Sequence[Row], names: Mapping[int, str] | None = None) -> Seen:
    """Rows as one table.

    Raises:
        InvalidArgument: there are none.
    """
    if not rows:
        raise InvalidArgument("`outcomes` must hold at least one photo that was explained. Received: none.")
    # Some rows of a run may lack them, as of a map that is hot nowhere: then none count.
    features = [row.features for row in rows]
    shapes = {None if one is None else one.shape for one in features}
    known: dict[int, str] = {}
    for row in rows:
        known |= row.named
    return Seen(
        keys=tuple(row.key for row in rows),
        labels=np.array([row.label for row in rows], np.intp),
        predictions=np.array([row.prediction for row in rows], np.intp),
        probabilities=np.array([row.probability for row in rows]),
        targets=np.array([row.target for row in rows], np.intp),
        heat=shares((row.map for row in rows), grid_of({row.map.shape for row in rows})),
        features=np.stack([one for one in features if one is not None])
        if len(shapes - {None}) == 1 == len(shapes)
        else None,
        photos=tuple(row.photo for row in rows),
        placements=tuple(row.placement for row in rows),
        names={**known, **(names or {})},
    )


def _row(outcome: Explained[object], key: str, label: int) -> Row:
    explanation = outcome.explanation
    target, values = explanation.targets[0][0], explanation.maps[0, 0]
    if target.index is None or values.ndim != 2 or not explanation.predictions or not explanation.placements:
        raise InvalidArgument(
            f"`outcomes` must explain classes of photos: an audit compares classes. Received: a map with {values.ndim} "
            f"axes of {target.label!r}. Explain photos by a model with class scores, with its best class as target."
        )
    # The model's best class, which may be another than the one that the map is of.
    best = explanation.predictions[0][0]
    return Row(
        key=key,
        label=label,
        prediction=best.index,
        probability=best.probability,
        target=target.index,
        map=small(values),
        features=_features(explanation),
        photo=getattr(outcome.photo, "source", outcome.photo),
        placement=explanation.placements[0],
        named={target.index: target.label, best.index: best.label},
    )


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
