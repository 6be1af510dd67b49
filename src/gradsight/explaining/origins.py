"""Explanations know the explainer that made them, without keeping it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradsight.results.again import Origin, remember
from gradsight.results.explanation import Explanation

if TYPE_CHECKING:
    from gradsight.explaining.explainer import Explainer
    from gradsight.models.spec import ModelSpec


def remembered(made: tuple[Explanation, ...], explainer: Explainer) -> tuple[Explanation, ...]:
    """The same explanations, which now know where they came from."""
    spec = explainer.model.spec
    # Of the explainer itself this holds nothing: an explanation that is kept must not keep a model in memory.
    load = None if spec is None else partial(_loaded, type(explainer), spec, explainer.layout, explainer.grid)
    # One for all of a call: a model that is loaded again is loaded once.
    origin = Origin(explainer, load)
    for one in made:
        remember(one, origin)
    return made


def _loaded(kind: type[Explainer], spec: ModelSpec, layout: str | None, grid: tuple[int, ...] | None) -> Explainer:
    return kind(spec.load(), layout=layout, grid=grid)
