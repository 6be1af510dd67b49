"""The third tab: an evaluation, metric by metric."""

from __future__ import annotations

import gradio as gr

from gradsight.evaluating.evaluation import Evaluation
from gradsight.pages.evaluation import HEADINGS, table_of, words_of
from gradsight.pages.web import markup
from gradsight.pages.web.context import Page, in_words

NO_EVALUATION = (
    "Start the page with an evaluation to look at it: gradsight app --evaluation DIR. `gradsight evaluate` makes one."
)


class EvaluationTab:
    """Its components, and what happens when they are used.

    Args:
        page: what it shows.
    """

    def __init__(self, page: Page) -> None:
        self._evaluation = page.evaluation

    def build(self) -> None:
        """Make the components; within a `gradio.Blocks`."""
        found = self._evaluation
        if found is None:
            gr.HTML(markup.message(NO_EVALUATION))
            return
        gr.HTML("".join(map(markup.message, words_of(found))))
        metric = gr.Dropdown(list(found.metrics), value=found.metrics[0], label="Metric", elem_id="metric")
        shown = gr.HTML(_table(found, found.metrics[0]), elem_id="figures")
        plot = markup.image(found.figure(), "Each method's mean and its interval, a panel for each metric")
        gr.HTML(f'<div class="gs-scroll">{plot}</div>', elem_id="plot")
        metric.input(self.choose, metric, shown, api_visibility="private", show_progress="hidden")

    @in_words(1)
    def choose(self, metric: str) -> str:
        """The figures of a metric."""
        assert self._evaluation is not None
        return _table(self._evaluation, metric)


def _table(evaluation: Evaluation, metric: str) -> str:
    found = table_of(evaluation, metric)
    return markup.table(HEADINGS, found.rows, metric) + markup.message(found.words)
