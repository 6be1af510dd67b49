"""A photo's place on the page: Gradio's image, whose files are read by gradsight and by nobody else."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData

from gradio.events import Dependency

class Photo(gr.Image):  # type: ignore[misc]  # which has no types here
    """As `gradio.Image`, but what was uploaded is handed on as its path, unopened: readers of pictures have limits."""

    is_template = True  # drawn in the browser as what it is made of

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path of the uploaded file, which Gradio has seen to lie in its upload folder."""
        return None if payload is None else payload.path
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component