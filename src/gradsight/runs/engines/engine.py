"""What an engine is: it takes what is left of a run, and sees that rows of it are written."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, cast

from gradsight.errors import unknown
from gradsight.explaining.explainer import Explainer
from gradsight.runs.begun import Begun
from gradsight.runs.items import Items
from gradsight.runs.plan import Numbered, Plan
from gradsight.runs.progress import Count
from gradsight.runs.store import Store
from gradsight.runs.trial import Worth


@dataclass(frozen=True)
class Extent:
    """What a run is of, as a whole: a call that goes on with it has the same.

    Attributes:
        count: how many photos; None where that is known at the end alone.
        in_memory: they are in memory already, and not read from files.
    """

    count: int | None
    in_memory: bool


@dataclass(frozen=True, eq=False)
class Work:
    """What is left of a run.

    Attributes:
        explainer: says the model and what is explained; for other processes by its ``spec`` and ``model.spec``.
        photos: those that are not done, in their order; to be gone through once.
        items: the same photos and those that are done, where they can be gone through again (`Items.again`).
        plan: how they are cut. Each part that is written holds whole blocks of it, and its position is that of its
            first photo.
        store: what writes parts (`Store.write`, or `Store.parts` in another process), and knows what is done.
        features: whether rows have features.
        count: is told of photos and parts as they are done.
        extent: what the run is of.
        begun: what is done of the first photos, as `Engine.trying` had it; an engine elsewhere does it again.
    """

    explainer: Explainer
    photos: Iterator[Numbered]
    items: Items
    plan: Plan
    store: Store
    features: bool
    count: Count
    extent: Extent
    begun: Begun = field(default_factory=Begun)


class Engine(Protocol):
    """Explains the photos of a run, here or elsewhere."""

    @property
    def name(self) -> str:
        """As it is asked for."""

    def check(self, explainer: Explainer, items: Items, /) -> None:
        """See that it can do this, before anything is written.

        Raises:
            GradsightError: it cannot.
        """

    def trying(self, explainer: Explainer, extent: Extent, /) -> AbstractContextManager[Worth]:
        """Within it the model computes here as it will where photos are explained: a batch size is looked for.

        It gives what that is worth.
        """

    def explain(self, work: Work) -> None:
        """Explain all photos and write their rows; a photo that fails is a row too.

        It ends when all is written. Where it is ended before, by an error or by the user, whatever it has written is
        whole blocks, so that the same command goes on.
        """


ENGINES = {"local": "Local", "ray": "Ray"}
"""The modules of this package that have one, and what it is called there."""


def engine_of(engine: str | Engine) -> Engine:
    """The engine that is meant.

    Raises:
        UnknownName: there is none of this name.
        MissingDependency: what it needs is not installed.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    module = importlib.import_module(f"gradsight.runs.engines.{engine}")
    return cast("Engine", getattr(module, ENGINES[engine])())
