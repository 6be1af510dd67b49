"""The first tab: a photo, what the models say of it, and where they looked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gradio as gr
from gradio.components import Component

from gradsight.pages.answer import Answer, answered
from gradsight.pages.draw import Look, panels
from gradsight.pages.lines import lines_of
from gradsight.pages.served import model_of
from gradsight.pages.web import markup
from gradsight.pages.web.context import MODEL_QUEUE, Page, told
from gradsight.pages.web.controls import (
    EMPTY,
    Controls,
    Looks,
    Question,
    Visit,
    controls_of,
    layers_of,
    look_of,
    looks,
    photo_place,
)
from gradsight.pages.web.questions import Home, PointQuestion, SidesQuestion


@dataclass(frozen=True, eq=False)
class _Outputs:
    """What an answer is shown in."""

    status: gr.HTML
    kept: gr.State
    shown: gr.HTML
    notes: gr.HTML
    chances: gr.HTML
    which: gr.Dropdown
    lines: gr.Textbox
    sides: gr.HTML
    uses: gr.HTML

    @property
    def all(self) -> list[Component]:
        """As outputs of an event."""
        return [*vars(self).values()]


class PhotoTab:
    """Its components, and what happens when they are used.

    Args:
        page: what it shows.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def build(self) -> None:
        """Make the components; within a `gradio.Blocks`."""
        page, kept = self._page, gr.State(Visit(), time_to_live=3600)
        first = next(iter(page.models.values()))
        with gr.Row(equal_height=False, elem_classes="gs-photo"):
            with gr.Column(scale=4, min_width=240, elem_classes="gs-part"):
                photo = photo_place()
                example = gr.Button("Try the example photo", size="sm", elem_id="example")
                chances = gr.HTML("", elem_id="chances", elem_classes="gs-quiet")
                with gr.Accordion("What is explained", open=True, elem_id="what"):
                    controls = controls_of(photo, first, list(page.models))
            with gr.Column(scale=7, min_width=240, elem_classes="gs-part"):
                status = gr.HTML(markup.message(EMPTY), elem_id="status", elem_classes="gs-quiet")
                shown = gr.HTML("", elem_id="maps", elem_classes="gs-quiet")
                with gr.Accordion("How it is drawn", open=True):
                    look = looks()
                notes = gr.HTML("", elem_id="notes", elem_classes="gs-quiet")
                uses = PointQuestion(page, controls, kept).build()
                which, sides = SidesQuestion(page, controls, look, kept).build()
                lines = Home(page, look, kept).build()
        example.click(lambda: str(page.example), None, photo, api_visibility="private", queue=False)
        self._on_answers(controls, look, _Outputs(status, kept, shown, notes, chances, which, lines, sides, uses))
        self._on_looks(look, kept, [shown, sides, lines])

    def _on_answers(self, controls: Controls, look: Looks, outputs: _Outputs) -> None:
        chosen = (controls.other, controls.classes, controls.methods, controls.layers)
        given = [*controls.all, outputs.kept, *look.all]
        gr.on(
            [controls.photo.change, *(one.input for one in chosen), controls.top.release],
            self.explain,
            given,
            outputs.all,
            concurrency_id=MODEL_QUEUE,
            trigger_mode="always_last",
            api_visibility="private",
        )
        # One after the other: layers of the model before would be asked of this one.
        changed = controls.model.input(
            self.other_model, controls.model, [controls.classes, controls.layers], api_visibility="private", queue=False
        )
        changed.then(self.explain, given, outputs.all, concurrency_id=MODEL_QUEUE, api_visibility="private")

    def _on_looks(self, look: Looks, kept: gr.State, outputs: list[Component]) -> None:
        # A hand on the slider means it.
        look.opacity.input(lambda: False, None, look.by_heat, api_visibility="private", queue=False)
        gr.on(
            [look.colormap.input, look.by_heat.change, look.boxes.input, look.opacity.input, look.threshold.input],
            self.redraw,
            [kept, *look.all],
            outputs,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )

    def other_model(self, name: str) -> tuple[object, object]:
        """The classes and layers of another model."""
        served = model_of(self._page.models, name)
        return gr.Dropdown(choices=served.classes, value=[]), gr.Dropdown(choices=layers_of(served), value=[])

    def explain(self, *given: object) -> tuple[object, ...]:
        """Ask the models about the photo."""
        visit = given[Controls.COUNT]
        assert isinstance(visit, Visit)
        turn = visit.begin()
        answers: tuple[Answer, ...] = ()
        try:
            question, look = Question.of(given[: Controls.COUNT]), look_of(given[Controls.COUNT + 1 :])
            answers = () if question.photo is None else self._answers(question, question.photo)
            shown = _shown(visit, answers, look) if answers else _nothing(visit, markup.message(EMPTY))
        except Exception as error:  # whatever it is: the visitor is told in words
            answers, shown = (), _nothing(visit, markup.problem(told(error)))
        if visit.turn != turn:
            return tuple(gr.skip() for _ in shown)
        visit.answers = answers
        return shown

    def _answers(self, question: Question, path: str) -> tuple[Answer, ...]:
        photo, limits, asked = self._page.photo(path), self._page.limits, question.asked
        # Layers are the first model's; another one has others, and chooses for itself.
        ways = [(question.model, asked), *([(question.other, replace(asked, layers=()))] if question.other else [])]
        served = [(model_of(self._page.models, name), one) for name, one in ways]
        return self._page.asking(lambda: tuple(answered(one, photo, asked, limits) for one, asked in served))

    def redraw(self, visit: Visit, *look: object) -> tuple[object, ...]:
        """Draw what is kept in another way; no model is asked."""
        turn, answers, kept = visit.turn, visit.answers, visit.sides
        nothing: tuple[object, ...] = (gr.skip(), gr.skip(), gr.skip())
        try:
            chosen = look_of(look)
            sides = markup.figures(panels(kept, chosen)) if kept else gr.skip()
            shown = (_maps(answers, chosen), sides, _lines(answers, chosen)) if answers else nothing
        except Exception as error:
            shown = (markup.problem(told(error)), gr.skip(), gr.skip())
        return shown if visit.turn == turn else nothing


def _shown(visit: Visit, answers: tuple[Answer, ...], look: Look) -> tuple[object, ...]:
    notes = tuple(dict.fromkeys(note for one in answers for note in (*one.remarks, *one.shared)))
    chances = "".join(markup.predictions(one.served.name, one.predictions) for one in answers)
    best = gr.Dropdown(choices=answers[0].served.classes, value=answers[0].explanations[0].labels[0][0])
    maps, told_of = _maps(answers, look), markup.notes(notes)
    return "", visit, maps, told_of, chances, best, _lines(answers, look), "", ""


def _nothing(visit: Visit, status: str) -> tuple[object, ...]:
    """Words, and nothing of an answer before."""
    return status, visit, "", "", "", gr.skip(), "", "", ""


def _maps(answers: tuple[Answer, ...], look: Look) -> str:
    return "".join(markup.figures(panels(one, look)) for one in answers)


def _lines(answers: tuple[Answer, ...], look: Look) -> str:
    return "\n".join(lines_of(one, look) for one in answers)
