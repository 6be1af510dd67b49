"""The second tab: the photos of a run, filtered, and laid out by what the model looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from gradsight.pages.browsing import Filter, Shelf
from gradsight.pages.web import markup
from gradsight.pages.web.context import Page, in_words

NO_RUN = "Start the page with a run to browse it here: gradsight app --run RUN. `gradsight run` makes one."

_ON_A_PAGE = 24

_LARGE = 640

# Clicks and keys on photos and dots, each with the key of its photo.
_CLICKS = """
element.addEventListener('click', event => {
  const chosen = event.target.closest('[data-key]');
  if (chosen) trigger('click', {key: chosen.dataset.key});
});
"""


@dataclass(frozen=True, eq=False)
class Filters:
    """What photos are chosen by, in the order in which handlers get it."""

    label: gr.Dropdown
    wrong: gr.Checkbox
    low: gr.Slider
    high: gr.Slider
    suspect: gr.Dropdown
    group: gr.Dropdown
    number: gr.Number

    @property
    def all(self) -> list[gr.components.Component]:
        """As inputs of an event."""
        return [self.label, self.wrong, self.low, self.high, self.suspect, self.group, self.number]


class RunTab:
    """Its components, and what happens when they are used.

    Args:
        page: what it shows.
    """

    def __init__(self, page: Page) -> None:
        self._shelf = page.shelf

    def build(self) -> gr.events.EventListenerCallable | None:
        """Make the components; within a `gradio.Blocks`. What is given back fills them when the page is opened."""
        shelf = self._shelf
        if shelf is None:
            gr.HTML(markup.message(NO_RUN))
            return None
        with gr.Row(equal_height=False, elem_classes="gs-both"):
            with gr.Column(scale=3, min_width=240):
                filters = self._filters(shelf)
            with gr.Column(scale=7, min_width=240):
                told = gr.HTML("", elem_id="found")
                photos = gr.HTML("", js_on_load=_CLICKS, elem_id="gallery")
                one = gr.HTML("", elem_id="one", elem_classes="gs-quiet")
                with gr.Accordion("A map of the photos, by what the model looks at", open=False):
                    gr.Markdown("Photos whose heat lies alike are near each other. Click on a dot to see its photo.")
                    lay = gr.Button("Lay the photos out", size="sm", elem_id="lay")
                    plane = gr.HTML("", js_on_load=_CLICKS, elem_id="plane")
        lay.click(self.lay_out, None, [plane, filters.group], api_visibility="private", concurrency_limit=1)
        for clicked in (photos, plane):
            clicked.click(self.show, None, one, api_visibility="private", show_progress="hidden")
        return self._on_filters(filters, [told, photos])

    def _filters(self, shelf: Shelf) -> Filters:
        label = gr.Dropdown(
            [("any", ""), *((name, name) for name in shelf.labels)], value="", label="Class", elem_id="label"
        )
        wrong = gr.Checkbox(False, label="Errors only", info="Its best class is not the photo's.", elem_id="wrong")
        low = gr.Slider(0, 1, value=0, step=0.01, label="Confidence from", elem_id="low")
        high = gr.Slider(0, 1, value=1, step=0.01, label="Confidence to", elem_id="high")
        suspect = gr.Dropdown(
            [("any", "")],
            value="",
            label="Suspect",
            info="Photos of a class that look at one place.",
            elem_id="suspect",
        )
        look = gr.Button("Look for suspects", size="sm", elem_id="look")
        group = gr.Dropdown([("any", "")], value="", label="Group on the map", elem_id="group")
        number = gr.Number(1, label="Page", precision=0, minimum=1, elem_id="number")
        look.click(self.look, None, suspect, api_visibility="private", concurrency_limit=1)
        return Filters(label, wrong, low, high, suspect, group, number)

    def _on_filters(self, filters: Filters, outputs: list[gr.components.Component]) -> Any:
        changed = [one.input for one in (filters.label, filters.wrong, filters.low, filters.high, filters.suspect)]
        # What is found anew is seen from its first page on.
        gr.on(
            [*changed, filters.group.input],
            lambda: 1,
            None,
            filters.number,
            api_visibility="private",
            queue=False,
        ).then(self.browse, filters.all, outputs, api_visibility="private", show_progress="hidden")
        filters.number.input(self.browse, filters.all, outputs, api_visibility="private", trigger_mode="always_last")
        return lambda blocks: blocks.load(self.browse, filters.all, outputs, api_visibility="private")

    @in_words(2)
    def browse(self, *given: Any) -> tuple[object, ...]:
        """The photos that fit, so many of them as a page shows."""
        assert self._shelf is not None
        label, wrong, low, high, suspect, group, number = given
        where = Filter(label or "", bool(wrong), low, high, _number(suspect), _number(group))
        found = self._shelf.chosen(where)
        pages = max(1, -(-len(found) // _ON_A_PAGE))
        at = min(max(1, int(number or 1)), pages)
        shown = found[(at - 1) * _ON_A_PAGE : at * _ON_A_PAGE]
        words = f"{len(found)} of {len(self._shelf.cards)} photos, page {at} of {pages}."
        failed = len(self._shelf.run.failed)
        rest = f" {failed} could not be explained." if failed else ""
        return markup.message(words + rest), markup.gallery((card, *self._shelf.picture(card.key)) for card in shown)

    @in_words(1)
    def show(self, event: gr.EventData) -> str:
        """One photo, large."""
        assert self._shelf is not None
        card = self._shelf.card(str(event.key))
        picture, words = self._shelf.picture(card.key, _LARGE)
        shown = markup.problem(words) if picture is None else markup.image(picture, f"Heat on {card.key}: {words}")
        notes = markup.notes(self._shelf.notes(card.key)) if picture is not None else ""
        title = markup.message(f"{card.key}: {card.words}.") + (markup.message(words) if picture is not None else "")
        return f'<div class="gs-one" role="status">{title}{shown}{notes}</div>'

    @in_words(2)
    def lay_out(self) -> tuple[object, ...]:
        """The map, and its groups to choose from."""
        assert self._shelf is not None
        found = self._shelf.map
        count = int(found.groups.max()) + 1 if len(found.groups) else 0
        choices = [("any", ""), *((f"group {i + 1}", str(i)) for i in range(count))]
        return markup.run_map(found), gr.Dropdown(choices=choices, value="")

    def look(self) -> object:
        """The suspects to choose from."""
        assert self._shelf is not None
        try:
            found = self._shelf.suspects
        except Exception as error:
            raise gr.Error(str(error), print_exception=False) from error
        if not found:
            gr.Info("No group of photos looks at one place more than chance would make it.")
        return gr.Dropdown(choices=[("any", ""), *((one.words, str(i)) for i, one in enumerate(found))], value="")


def _number(text: str | None) -> int | None:
    return int(text) if text else None
