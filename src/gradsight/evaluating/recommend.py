"""Find which layer and method to use on a model: `gradsight.recommend`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

import numpy as np

from gradsight.checks import taken
from gradsight.errors import GradsightError, InvalidArgument, received
from gradsight.evaluating.evaluate import Asked, More, asked_of
from gradsight.evaluating.items import Item
from gradsight.evaluating.measuring import Measuring
from gradsight.evaluating.plan import CURVES
from gradsight.evaluating.racing import FIRST, Criteria, Figures, Tell, race, silently
from gradsight.evaluating.recommendation import PLAIN, Compared, Recommendation, Way
from gradsight.evaluating.rows import Measured, with_figures
from gradsight.evaluating.summary import per_image
from gradsight.explaining.explainer import Explainer
from gradsight.layers import last_of_each_resolution
from gradsight.metric_registry import as_metric
from gradsight.photos import Failed
from gradsight.registry import Method
from gradsight.rules import Number
from gradsight.significance import beats, interval
from gradsight.variants import MethodLike, as_method

BY: dict[str, tuple[str, ...]] = {
    "faithfulness": CURVES,
    "localisation": ("energypointing", "maskauc"),
}
"""What is raced for, by name."""

LAYERS = 3
"""So many layers race where none are named: the one that is chosen by itself, and the last of finer resolutions."""

LEAST = 2 * FIRST
"""With fewer photos there is nothing to race on and to hold out."""


def recommend(
    explainer: Explainer,
    photos: Iterable[object],
    *,
    by: str | Mapping[str, float] | None = None,
    methods: Sequence[MethodLike] | None = None,
    layers: Sequence[str] | None = None,
    **more: Unpack[More],
) -> Recommendation:
    """Find which layer, method and options to use on this model, by racing all of them on photos.

    Half of the photos are for the race: all ways on a few of them, the losers dropped by paired tests, the rest on more
    (`racing.race`). The winner and plain Grad-CAM at the layer that is chosen by itself then meet on the other half,
    which the race has not seen. It is recommended only where it beats both that and random maps there, p < 0.05.

    Args:
        explainer: of the model.
        photos: as in `evaluate`; 60 and more tell small differences.
        by: ``"faithfulness"`` (deletion and insertion), the default without boxes; ``"localisation"`` (energy and mask
            AUC), the default with boxes or masks; or weights of metrics by name, ``{"deletion": 2, "pointing": 1}``.
            Each metric counts in units of its spread over ways and images.
        methods: which race, with their options; if not given, those that take a few passes of the model.
        layers: at which; if not given, the one to choose and the last ones of finer resolutions.
        **more: ``boxes``, ``masks``, ``class_map``, ``labels``, ``targets``, ``seed`` and ``batch_size`` as in
            `evaluate`. The seed also says which photos are held out.

    Raises:
        InvalidArgument: there are fewer than 16 photos that work, or ``by`` is none of these.
        GradsightError: as `evaluate`.

    >>> import numpy as np, torch, gradsight as gs
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> explainer = gs.Explainer(net, preprocess=gs.Preprocess(16))
    >>> photos = np.random.default_rng(0).integers(0, 256, (16, 20, 20, 3), np.uint8)
    >>> found = gs.recommend(explainer, photos, by={"averagedrop": 1}, methods=["gradcam", "hirescam"])
    >>> found.chosen.method, found.held_out
    ('gradcam', 8)
    """
    return recommended(explainer, photos, by, methods, layers, more)


def recommended(
    explainer: Explainer,
    photos: Iterable[object],
    by: str | Mapping[str, float] | None,
    methods: Sequence[MethodLike] | None,
    layers: Sequence[str] | None,
    more: More,
    tell: Tell = silently,
) -> Recommendation:
    """See `recommend`; ``tell`` is told what goes on, since that takes long."""
    known = more.get("boxes") is not None or more.get("masks") is not None
    criteria = criteria_of(by, known=known)
    # An empty list stands for all; of what is no list, such as a tensor, `asked_of` says what is wrong.
    named = None if isinstance(methods, list | tuple) and not methods else methods
    asked = asked_of(explainer, photos, named, list(criteria.metrics), layers, more)
    items = list(asked.items)
    if len(items) < LEAST:
        raise InvalidArgument(f"`photos` must be at least {LEAST}, half of them held out. Received: {len(items)}.")
    order = np.random.default_rng(asked.plan.seed).permutation(len(items))
    # Drawn, and not the first half: folders are sorted by class.
    racing, held_out = ([items[i] for i in half] for half in np.array_split(order, 2))
    at = _layers(explainer, items, asked, layers)
    plain = Way(at[0] if layers is None else _layers(explainer, items, asked, None)[0], PLAIN)
    chosen = [method for method in asked.plan.methods if not method.control]
    ways = list(dict.fromkeys([plain, *_ways(chosen, at)]))
    course = _Course(asked, criteria, racing)
    rounds = race(ways, len(racing), course, criteria, tell)
    best = rounds[-1].left[0]
    final = _Course(asked, criteria, held_out)
    tell(f"the winner on {len(held_out)} photos that are held out")
    return _judged(explainer, (best, plain), (course, final), criteria, rounds[-1].images, len(ways))


def criteria_of(by: str | Mapping[str, float] | None, *, known: bool) -> Criteria:
    """What is raced for.

    Args:
        by: see `recommend`.
        known: boxes or masks are known.
    """
    if by is None:
        by = "localisation" if known else "faithfulness"
    if isinstance(by, str):
        if by not in BY:
            raise InvalidArgument(f"`by` must be one of {', '.join(BY)}, or weights of metrics. {received(by)}")
        by = dict.fromkeys(BY[by], 1.0)
    if not isinstance(by, Mapping) or not by:
        raise InvalidArgument(f"`by` must be weights of metrics, such as {{'deletion': 1}}. {received(by)}")
    weights = tuple(float(taken("a weight of `by`", weight, Number(above=0), "Pass 1.")) for weight in by.values())
    metrics = [as_metric(name) for name in by]
    for metric in metrics:
        # A figure of a set has no value of an image that would not change with the others.
        if metric.together is not None:
            raise InvalidArgument(f"`by` must name metrics of single images. {received(metric.name)} Leave it out.")
    signs = tuple(1 if metric.better == "higher" else -1 for metric in metrics)
    return Criteria(tuple(metric.name for metric in metrics), weights, signs)


def _layers(explainer: Explainer, items: Sequence[Item], asked: Asked, layers: Sequence[str] | None) -> list[str]:
    """The layers that race, the one that is chosen by itself first."""
    if layers is not None:
        return list(layers)
    if explainer.layer is not None:
        return [str(one) for one in asked.plan.layers]
    error: GradsightError | None = None
    for item in items[:FIRST]:
        try:
            ranked = explainer.layers([item.source], asked.plan.targets)
        except GradsightError as failed:
            error = failed  # of this photo, perhaps
            continue
        finer = [one.name for one in last_of_each_resolution(ranked)]
        return list(dict.fromkeys([ranked[0].name, *finer[::-1]]))[:LAYERS]
    raise error or InvalidArgument("`photos` must hold at least one. Received: none.")


def _ways(methods: Sequence[Method], layers: Sequence[str]) -> list[Way]:
    return [
        Way(layer, method.name)
        for method in methods
        for layer in (layers if method.at == "layer" else [""])
    ]  # fmt: skip


@dataclass(frozen=True)
class _Course:
    """Photos on which ways are measured."""

    asked: Asked
    criteria: Criteria
    items: Sequence[Item]
    failed: dict[str, str] = field(default_factory=dict)
    fits: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know, in words."""
        # A method that fits some layer is none that fits the model not.
        misfits = [name for name in self.left_out if name not in self.fits]
        told = (f"without a map at any of these layers: {', '.join(misfits)}",) if misfits else ()
        return (*self.asked.notes, *told)

    def __call__(self, ways: Sequence[Way], images: range) -> dict[Way, Figures]:
        """What was measured of each way, (images, metrics)."""
        items = [self.items[i] for i in images]
        names = [item.name for item in items]
        found: dict[Way, Figures] = {}
        # The ways at one layer share a pass.
        for layer in dict.fromkeys(way.layer for way in ways):
            own = [way for way in ways if way.layer == layer]
            rows = with_figures([row for one in self._measured(layer, own, items) for row in one.rows])
            for way in own:
                mine = [row for row in rows if row.method == way.method]
                self.fits.update(row.method for row in mine)
                columns = [per_image([r for r in mine if r.metric == m], names) for m in self.criteria.metrics]
                found[way] = np.stack(columns, axis=1)
        return found

    def _measured(self, layer: str, ways: Sequence[Way], items: Sequence[Item]) -> list[Measured]:
        methods = tuple(as_method(way.method) for way in ways)
        # None named: a way that fits the model not has no values, and loses.
        plan = replace(self.asked.plan, methods=methods, layers=(layer or None,), named=frozenset())
        own = self.asked.measuring
        measuring = Measuring(own.passes, plan, own.classes, own.masks)
        with replace(self.asked, measuring=measuring).stream(items) as stream:
            done = list(stream)
        self.left_out.update(measuring.left_out)
        self.failed.update({one.photo.name: str(one.error) for one in done if isinstance(one, Failed)})
        return [one for one in done if not isinstance(one, Failed)]


def _judged(
    explainer: Explainer,
    ways: tuple[Way, Way],
    courses: tuple[_Course, _Course],
    criteria: Criteria,
    raced: int,
    began: int,
) -> Recommendation:
    """The winner beside plain Grad-CAM and random maps, on images that the race has not seen."""
    best, plain = ways
    final = courses[1]
    # A metric that is all noise may favour the winner, but then it favours random maps as much.
    # Of the winner's own layer: maps that are finer or coarser fare otherwise by that alone.
    control = Way(best.layer or plain.layer, "random")
    found = final(list(dict.fromkeys([best, plain, control])), range(len(final.items)))
    scale = criteria.scaled(found)
    own, beside, noise = (criteria.utility(found[way], scale) for way in (best, plain, control))
    seed = final.asked.plan.seed
    is_plain = best == plain
    return Recommendation(
        explainer.name,
        best,
        plain,
        float("nan") if is_plain else beats(own, beside, seed=seed).p,
        beats(own, noise, seed=seed).p,
        interval(own - beside, seed=seed),
        tuple(_compared(criteria.metrics[j], found[best][:, j], found[plain][:, j], seed) for j in range(len(scale))),
        as_method(best.method if not is_plain else PLAIN).passes,
        (began, raced),
        int((~np.isnan(own - beside)).sum()),
        courses[0].notes,
        tuple({**courses[0].failed, **final.failed}.items()),
    )


def _compared(name: str, own: Figures, plain: Figures, seed: int) -> Compared:
    both = ~np.isnan(own - plain)
    difference = interval(own - plain, seed=seed)
    means = [float(values[both].mean()) if both.any() else float("nan") for values in (own, plain)]
    return Compared(name, as_metric(name).better, means[0], means[1], difference)
