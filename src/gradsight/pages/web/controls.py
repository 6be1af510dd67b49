"""What is asked with, and how it is drawn: the controls of the first tab, and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component
from gradio.data_classes import ImageData

from gradsight import imaging
from gradsight.pages.answer import Answer
from gradsight.pages.asked import Asked
from gradsight.pages.draw import Look
from gradsight.pages.points import Points
from gradsight.pages.served import Served, methods

EMPTY = "Choose a photo: drop it, paste it, or take the example."


@dataclass(eq=False)
class Visit:
    """What is kept for a visitor: the last answers, small, so that they are drawn again without a pass.

    Several questions of a visitor may run at once. Each remembers the turn in which it began, and what it finds counts
    only while that lasts: an answer about the photo before must not stand beside the new one.

    Attributes:
        turn: grows with each new question about a photo.
        answers: one for each model; empty where there are none.
        points: where points are looked up; None until one is asked about.
        sides: for and against a class; None until it is asked for.
    """

    turn: int = 0
    answers: tuple[Answer, ...] = ()
    points: Points | None = None
    sides: Answer | None = None

    def begin(self) -> int:
        """The turn of a new question, which ends those before."""
        self.turn += 1
        self.answers, self.points, self.sides = (), None, None
        return self.turn


@dataclass(frozen=True)
class Question:
    """The values of `Controls`."""

    photo: str | None
    model: str
    other: str
    asked: Asked

    @classmethod
    def of(cls, values: Sequence[object]) -> Question:
        """From the values in the order of the controls."""
        photo, model, other, classes, top, by, at = values
        asked = Asked(_texts(classes), int(str(top)), _texts(by) or ("gradcam",), _texts(at))
        return cls(None if photo is None else str(photo), str(model or ""), str(other or ""), asked)


@dataclass(frozen=True, eq=False)
class Controls:
    """What is asked with, in the order in which handlers get it."""

    photo: gr.Image
    model: gr.Dropdown
    other: gr.Dropdown
    classes: gr.Dropdown
    top: gr.Slider
    methods: gr.Dropdown
    layers: gr.Dropdown

    COUNT = 7

    @property
    def all(self) -> list[Component]:
        """As inputs of an event."""
        return [self.photo, self.model, self.other, self.classes, self.top, self.methods, self.layers]


@dataclass(frozen=True, eq=False)
class Looks:
    """How it is drawn, in the order in which handlers get it."""

    colormap: gr.Dropdown
    by_heat: gr.Checkbox
    opacity: gr.Slider
    threshold: gr.Slider
    boxes: gr.Checkbox

    @property
    def all(self) -> list[Component]:
        """As inputs of an event."""
        return [self.colormap, self.by_heat, self.opacity, self.threshold, self.boxes]


def photo_place() -> gr.Image:
    """Where a photo is dropped, pasted, chosen and clicked on."""
    # No camera: nobody asks for one here, and a button for it would be one more to pass by keys.
    made = gr.Image(label="Photo", sources=["upload", "clipboard"], buttons=[], height=320, elem_id="photo")
    # Gradio would open it, whatever its size and kind. Not in a class of our own: beside the source of a component's
    # class Gradio writes a file.
    made.preprocess = _path
    return made


def _path(payload: ImageData | None) -> str | None:
    """The path of the uploaded file, which Gradio has seen to lie in its upload folder."""
    return None if payload is None else payload.path


def controls_of(photo: gr.Image, first: Served, names: Sequence[str]) -> Controls:
    """The controls for a model, of several by their names."""
    several = len(names) > 1
    others = [("none", ""), *((name, name) for name in names)]
    return Controls(
        photo=photo,
        model=gr.Dropdown(list(names), value=names[0], label="Model", visible=several, elem_id="model"),
        other=gr.Dropdown(others, value="", label="Compare with", visible=several, elem_id="other"),
        classes=gr.Dropdown(
            first.classes,
            value=[],
            multiselect=True,
            allow_custom_value=not first.classes,
            label="Classes",
            info="Type to search. Left empty: the model's best ones.",
            elem_id="classes",
        ),
        top=gr.Slider(1, 8, value=3, step=1, label="How many of the best classes", elem_id="top"),
        methods=gr.Dropdown(methods(), value=["gradcam"], multiselect=True, label="Methods", elem_id="methods"),
        layers=gr.Dropdown(
            layers_of(first),
            value=[],
            multiselect=True,
            label="Layers",
            info="Left empty: chosen by itself.",
            elem_id="layers",
        ),
    )


def layers_of(served: Served) -> list[str]:
    """The names of the layers that can be chosen of a model."""
    return [one.name for one in served.layers]


def looks() -> Looks:
    """How maps are drawn; made in the order in which they are seen."""
    with gr.Row(elem_classes="gs-looks"):
        colormap = gr.Dropdown(
            imaging.colormaps(), value=imaging.DEFAULT, label="Colour map", min_width=150, elem_id="colours"
        )
        by_heat = gr.Checkbox(
            True, label="Follow the heat", info="The hotter, the less of the photo.", min_width=150, elem_id="by-heat"
        )
        boxes = gr.Checkbox(False, label="Boxes", info="Around what is hot.", min_width=150, elem_id="boxes")
    with gr.Row(elem_classes="gs-looks"):
        opacity = gr.Slider(0, 1, value=0.5, step=0.05, label="Opacity", min_width=150, elem_id="opacity")
        threshold = gr.Slider(
            0, 1, value=0, step=0.05, label="Threshold: heat below is left out", min_width=150, elem_id="threshold"
        )
    return Looks(colormap, by_heat, opacity, threshold, boxes)


def look_of(values: Sequence[object]) -> Look:
    """How it is drawn, from the values in the order of the controls."""
    colormap, by_heat, opacity, threshold, boxes = values
    return Look(
        colormap=str(colormap) if colormap else None,
        opacity=None if by_heat else float(str(opacity)),
        threshold=float(str(threshold)),
        boxes=bool(boxes),
    )


def _texts(values: object) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list | tuple) else ()
