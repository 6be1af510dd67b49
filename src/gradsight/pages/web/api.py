"""The same functions for programs: each answers a question by itself, and nothing is kept of it."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.pages.answer import Answer, answered
from gradsight.pages.asked import Asked
from gradsight.pages.browsing import Filter
from gradsight.pages.draw import Look, panels
from gradsight.pages.evaluation import HEADINGS, table_of, words_of
from gradsight.pages.lines import lines_of
from gradsight.pages.points import points_of
from gradsight.pages.served import model_of
from gradsight.pages.sides import sides_of
from gradsight.pages.web import markup
from gradsight.pages.web.context import MODEL_QUEUE, Page, told
from gradsight.pages.web.evaluation_tab import NO_EVALUATION
from gradsight.pages.web.run_tab import NO_RUN
from gradsight.rules import Choice, Flag, Instance, Whole
from gradsight.values import items_in

P = ParamSpec("P")
T = TypeVar("T")

_ROWS = 1000
"""So many photos of a run are told at once."""


def _answering(ask: Callable[P, T]) -> Callable[P, T]:
    """A question whose error is told in words."""

    @functools.wraps(ask)  # whose arguments and types Gradio reads
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return ask(*args, **kwargs)
        except Exception as error:
            raise gr.Error(told(error), print_exception=False) from error

    return asked


class Api:
    """Questions that programs ask; docs/page.md has calls of each.

    Args:
        page: what answers.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def build(self) -> None:
        """Make the endpoints; within a `gradio.Blocks`."""
        for ask in (self.explain, self.point, self.sides):
            gr.api(ask, api_name=ask.__name__, concurrency_id=MODEL_QUEUE, concurrency_limit=self._page.passes)
        for told_of in (self.models, self.run, self.run_map, self.evaluation):
            gr.api(told_of, api_name=told_of.__name__)

    @_answering
    def explain(
        self,
        photo: dict,  # type: ignore[type-arg]  # Gradio makes the API's schema of it
        model: str = "",
        classes: list[str] = [],  # noqa: B006  # read, and shown as the default in the API's documentation
        top: int = 3,
        methods: list[str] = ["gradcam"],  # noqa: B006
        layers: list[str] = [],  # noqa: B006
        look: dict = {},  # type: ignore[type-arg]  # noqa: B006
    ) -> dict:  # type: ignore[type-arg]
        """Explain a photo: predictions, records, raw maps, pictures, notes, and the Python lines that make the same.

        Args:
            photo: an uploaded file, as `gradio_client.handle_file` gives it.
            model: of the page; its first one where it is empty.
            classes: labels; the best ones where there are none.
            top: how many of the best.
            methods: as `gradsight methods` lists them.
            layers: their names; chosen where there are none.
            look: colormap, opacity, threshold and boxes; {"pictures": false} leaves the pictures out.
        """
        chosen, pictures = _look(look)
        served, asked = (
            model_of(self._page.models, model),
            Asked(_listed("classes", classes), top, _listed("methods", methods), _listed("layers", layers)),
        )
        picture, limits = self._page.photo(_path(photo)), self._page.limits
        return _plain(self._page.asking(lambda: answered(served, picture, asked, limits)), chosen, pictures)

    @_answering
    def point(
        self,
        photo: dict,  # type: ignore[type-arg]
        row: int,
        column: int,
        model: str = "",
        classes: list[str] = [],  # noqa: B006
        method: str = "gradcam",
        layer: str = "",
    ) -> dict:  # type: ignore[type-arg]
        """Which classes use a point of a photo, in pixels of it: a sentence, and a value for each class."""
        served = model_of(self._page.models, model)
        asked = Asked(_listed("classes", classes), 1, (method,), (layer,) if layer else ())
        picture, limits = self._page.photo(_path(photo)), self._page.limits
        found = self._page.asking(lambda: points_of(served, picture, asked, limits))
        uses = [vars(use) for use in found.at(row, column)]
        return {"words": found.words(row, column), "classes": uses}

    @_answering
    def sides(
        self,
        photo: dict,  # type: ignore[type-arg]
        which: str,
        rather_than: str = "",
        model: str = "",
        methods: list[str] = ["gradcam"],  # noqa: B006
        layers: list[str] = [],  # noqa: B006
        look: dict = {},  # type: ignore[type-arg]  # noqa: B006
    ) -> dict:  # type: ignore[type-arg]
        """What speaks for a class, what against it, and why it rather than another one; as `explain` answers."""
        chosen, pictures = _look(look)
        served = model_of(self._page.models, model)
        asked = Asked((), 1, _listed("methods", methods), _listed("layers", layers))
        picture, limits = self._page.photo(_path(photo)), self._page.limits
        made = self._page.asking(lambda: sides_of(served, picture, asked, which, rather_than or None, limits))
        return _plain(made, chosen, pictures)

    @_answering
    def models(self) -> list[dict]:  # type: ignore[type-arg]
        """The models of the page, with their classes and the layers that can be explained."""
        return [
            {"name": one.name, "classes": one.classes, "layers": [layer.name for layer in one.layers]}
            for one in self._page.models.values()
        ]

    @_answering
    def run(
        self,
        label: str = "",
        wrong: bool = False,
        low: float = 0.0,
        high: float = 1.0,
        first: int = 0,
        count: int = 100,
    ) -> dict:  # type: ignore[type-arg]
        """Photos of the run that fit a filter: how many there are, and a part of them."""
        if self._page.shelf is None:
            raise InvalidArgument(NO_RUN)
        found = self._page.shelf.chosen(Filter(label, wrong, low, high))
        begin = taken("first", first, Whole(0), "Pass 0.")
        part = found[begin : begin + min(taken("count", count, Whole(0), "Pass 100."), _ROWS)]
        return {"count": len(found), "photos": [vars(card) for card in part]}

    @_answering
    def run_map(self) -> dict:  # type: ignore[type-arg]
        """The run's photos in a plane, by what the model looks at."""
        if self._page.shelf is None:
            raise InvalidArgument(NO_RUN)
        found = self._page.shelf.map
        return {"keys": list(found.keys), "places": found.places.tolist(), "groups": found.groups.tolist()}

    @_answering
    def evaluation(self, metric: str) -> dict:  # type: ignore[type-arg]
        """The figures of a metric of the evaluation, a row for each method and layer, the best first."""
        if self._page.evaluation is None:
            raise InvalidArgument(NO_EVALUATION)
        known = Choice(tuple(self._page.evaluation.metrics), "metric of this evaluation")
        found = table_of(self._page.evaluation, taken("metric", metric, known))
        rows = [list(row) for row in found.rows]
        return {"words": list(words_of(self._page.evaluation)), "columns": list(HEADINGS), "rows": rows}


def _path(photo: Any) -> str:
    # The guard before Gradio has seen to it that the file is the asker's; Gradio, that it lies among uploads.
    path = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(path, str) or photo.get("meta") != {"_type": "gradio.FileData"}:
        raise InvalidArgument(f"`photo` must be an uploaded file: handle_file('photo.jpg'). {received(photo)}")
    return path


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    # A text is a list of its letters to Python, and who forgot the brackets would be told of classes of one letter.
    found = items_in(values)
    if found is None:
        raise InvalidType(f"`{name}` must be a list. {received(values)}")
    return tuple(found)


def _look(look: dict[str, Any]) -> tuple[Look, bool]:
    given = dict(taken("look", look or {}, Instance(dict, "a dict"), "Pass {'opacity': 0.5}."))
    pictures = taken("pictures", given.pop("pictures", True), Flag())
    unknown = given.keys() - {"colormap", "opacity", "threshold", "boxes"}
    if unknown:
        raise InvalidArgument(
            f"`look` takes colormap, opacity, threshold, boxes and pictures. {received(sorted(unknown))}"
        )
    return Look(**given), pictures


def _plain(answer: Answer, look: Look, pictures: bool) -> dict[str, Any]:
    return {
        "predictions": [vars(one) for one in answer.predictions],
        "explanations": [
            {**record.to_dict(), "maps": np.round(one.maps[0].astype(float), 7).tolist(), "npy": _npy(one.maps[0])}
            for one, record in zip(answer.explanations, answer.records(), strict=True)
        ],
        "pictures": [markup.source_of(panel.picture) for panel in panels(answer, look)] if pictures else [],
        "notes": list(answer.notes),
        "python": lines_of(answer, look),
        "seconds": round(answer.seconds, 3),
    }


def _npy(maps: np.ndarray[Any, Any]) -> str:
    """Raw maps to the last bit, as a file of NumPy's in Base64."""
    file = io.BytesIO()
    np.save(file, maps, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode("ascii")
