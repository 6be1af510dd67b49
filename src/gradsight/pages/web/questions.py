"""What else can be asked of a photo: about a point, for and against a class, and for files to take home."""

from __future__ import annotations

import secrets
from dataclasses import replace

import gradio as gr

from gradsight.errors import InvalidArgument
from gradsight.pages.draw import panels
from gradsight.pages.files import write
from gradsight.pages.points import points_of
from gradsight.pages.served import model_of
from gradsight.pages.sides import sides_of
from gradsight.pages.web import markup
from gradsight.pages.web.context import MODEL_QUEUE, Page, in_words
from gradsight.pages.web.controls import EMPTY, Controls, Looks, Question, Visit, look_of
from gradsight.pages.web.guard import COOKIE


class PointQuestion:
    """Which classes use a point.

    Args:
        page: what answers.
        controls: what is asked with.
        kept: what is kept for the visitor.
    """

    def __init__(self, page: Page, controls: Controls, kept: gr.State) -> None:
        self._page, self._controls, self._kept = page, controls, kept

    def build(self) -> gr.HTML:
        """Make the components; what the answer is shown in is given back."""
        with gr.Accordion("Which classes use a point?", open=True):
            gr.Markdown("Click on the photo, or type a point in pixels of it.")
            with gr.Row():
                row = gr.Number(0, label="Row", precision=0, minimum=0, min_width=90, elem_id="row")
                column = gr.Number(0, label="Column", precision=0, minimum=0, min_width=90, elem_id="column")
                ask = gr.Button("Ask about this point", size="sm", min_width=160, elem_id="ask")
            uses = gr.HTML("", elem_id="uses", elem_classes="gs-quiet")
        inputs, outputs = [*self._controls.all, self._kept, row, column], [uses, self._kept]
        ask.click(self.answer, inputs, outputs, concurrency_id=MODEL_QUEUE, api_visibility="private")
        clicked = self._controls.photo.select(_clicked, None, [row, column], api_visibility="private", queue=False)
        clicked.then(self.answer, inputs, outputs, concurrency_id=MODEL_QUEUE, api_visibility="private")
        return uses

    @in_words(2)
    def answer(self, *given: object) -> tuple[object, ...]:
        """Which classes use a point; maps are made at the first point of a photo, and then looked up."""
        question, path, visit = _of_photo(given)
        turn = visit.turn
        row, column = (int(str(value or 0)) for value in given[Controls.COUNT + 1 :])
        points = visit.points
        if points is None:
            photo, served = self._page.photo(path), model_of(self._page.models, question.model)
            points = self._page.asking(lambda: points_of(served, photo, question.asked, self._page.limits))
        shown = markup.uses(points.words(row, column), points.at(row, column))
        if visit.turn != turn:
            return gr.skip(), gr.skip()
        visit.points = points
        return shown, visit


class SidesQuestion:
    """What speaks for a class, and what against it.

    Args:
        page: what answers.
        controls: what is asked with.
        looks: how it is drawn.
        kept: what is kept for the visitor.
    """

    def __init__(self, page: Page, controls: Controls, looks: Looks, kept: gr.State) -> None:
        self._page, self._controls, self._looks, self._kept = page, controls, looks, kept

    def build(self) -> tuple[gr.Dropdown, gr.HTML]:
        """Make the components; the class and what the answer is shown in are given back."""
        first = next(iter(self._page.models.values()))
        free = not first.classes
        with gr.Accordion("For and against a class", open=False):
            with gr.Row():
                which = gr.Dropdown(
                    first.classes, value=None, label="Class", allow_custom_value=free, min_width=180, elem_id="which"
                )
                rather = gr.Dropdown(
                    first.classes,
                    value=None,
                    label="Rather than (may be left empty)",
                    allow_custom_value=free,
                    min_width=180,
                    elem_id="rather",
                )
                show = gr.Button("Show both sides", size="sm", min_width=160, elem_id="show-sides")
            sides = gr.HTML("", elem_id="sides", elem_classes="gs-quiet")
        show.click(
            self.answer,
            [*self._controls.all, self._kept, which, rather, *self._looks.all],
            [sides, self._kept],
            concurrency_id=MODEL_QUEUE,
            api_visibility="private",
        )
        return which, sides

    @in_words(2)
    def answer(self, *given: object) -> tuple[object, ...]:
        """Maps of both sides."""
        question, path, visit = _of_photo(given)
        turn = visit.turn
        which, rather, *look = given[Controls.COUNT + 1 :]
        if not which:
            raise InvalidArgument("Choose a class first.")
        photo, served = self._page.photo(path), model_of(self._page.models, question.model)
        asked, limits = replace(question.asked, classes=()), self._page.limits
        other = str(rather) if rather else None
        made = self._page.asking(lambda: sides_of(served, photo, asked, str(which), other, limits))
        shown = markup.figures(panels(made, look_of(look))) + markup.notes(made.shared)
        if visit.turn != turn:
            return gr.skip(), gr.skip()
        visit.sides = made
        return shown, visit


class Home:
    """What visitors take home.

    Args:
        page: what makes it.
        looks: how it is drawn.
        kept: what is kept for the visitor.
    """

    def __init__(self, page: Page, looks: Looks, kept: gr.State) -> None:
        self._page, self._looks, self._kept = page, looks, kept

    def build(self) -> gr.Textbox:
        """Make the components; the lines of Python are given back."""
        with gr.Accordion("Take it home", open=False):
            lines = gr.Textbox(
                label="The same in Python", lines=8, max_lines=16, interactive=False, buttons=["copy"], elem_id="lines"
            )
            make = gr.Button("Make files: picture, raw maps, JSON, Python", elem_id="make")
            failed = gr.HTML("", elem_id="home", elem_classes="gs-quiet")
            files = gr.File(label="Files", file_count="multiple", interactive=False, visible=False, elem_id="files")
        make.click(self.answer, [self._kept, *self._looks.all], [failed, files], api_visibility="private")
        return lines

    @in_words(2)
    def answer(self, request: gr.Request, visit: Visit, *look: object) -> tuple[object, ...]:
        """Files, which are given to this visitor alone."""
        if not visit.answers:
            raise InvalidArgument(EMPTY)
        # In Gradio's folder: from elsewhere it would copy them to where nobody knows whose they are.
        folder = self._page.folder / "home" / secrets.token_hex(16)
        made = write(visit.answers, look_of(look), folder)
        self._page.owners.add(made, request.cookies.get(COOKIE, ""))
        return "", gr.File(value=[str(path) for path in made], visible=True)


def _of_photo(given: tuple[object, ...]) -> tuple[Question, str, Visit]:
    """What is asked of which photo, and what is kept of it.

    Raises:
        InvalidArgument: there is no photo, or nothing is kept of it any more.
    """
    question, visit = Question.of(given[: Controls.COUNT]), given[Controls.COUNT]
    if question.photo is None or not isinstance(visit, Visit) or not visit.answers:
        raise InvalidArgument(EMPTY)
    return question, question.photo, visit


def _clicked(event: gr.SelectData) -> tuple[int, int]:
    column, row = event.index
    return int(row), int(column)
