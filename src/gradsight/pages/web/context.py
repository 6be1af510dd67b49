"""What all parts of a page share."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import gradio as gr
from PIL import Image

from gradsight.errors import GradsightError
from gradsight.evaluating.evaluation import Evaluation
from gradsight.pages.browsing import Shelf
from gradsight.pages.limits import Limits
from gradsight.pages.photo import read_photo
from gradsight.pages.served import Served
from gradsight.pages.web import markup
from gradsight.pages.web.owners import Owners
from gradsight.pages.workers import Workers

T = TypeVar("T")

MODEL_QUEUE = "model"
"""Events that ask a model wait in one line."""


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows, and by what.

    Attributes:
        models: by their names.
        folder: where Gradio keeps uploads.
        limits: what is taken on.
        shelf: a run to browse; None for none.
        evaluation: an evaluation to look at; None for none.
        owners: whose file is whose.
        workers: who ask the models.
        example: the photo that is there to try.
    """

    models: Mapping[str, Served]
    folder: Path
    limits: Limits
    example: Path
    owners: Owners
    workers: Workers
    shelf: Shelf | None = None
    evaluation: Evaluation | None = None
    passes: int = field(default=2)

    def photo(self, path: str) -> Image.Image:
        """An uploaded photo."""
        return read_photo(path, self.limits)

    def asking(self, ask: Callable[[], T]) -> T:
        """What a function gives that asks a model, within the limits."""
        return self.workers.run(ask)


def told(error: BaseException) -> str:
    """What went wrong, in words for a visitor, who sees no traceback and no path of this machine."""
    if isinstance(error, GradsightError):
        return str(error)
    # The one who runs the page sees it in full.
    sys.stderr.write("".join(traceback.format_exception(error)))
    return "Something went wrong that nobody foresaw. Whoever runs this page finds it in the page's log."


def in_words(outputs: int, at: int = 0) -> Callable[[Callable[..., T]], Callable[..., T | tuple[object, ...]]]:
    """For handlers of events: an error is shown in words in one of the outputs, and the others stay as they are.

    Args:
        outputs: how many there are.
        at: which of them is told.
    """

    def wrapping(handler: Callable[..., T]) -> Callable[..., T | tuple[object, ...]]:
        @functools.wraps(handler)
        def wrapped(*args: object) -> T | tuple[object, ...]:
            try:
                return handler(*args)
            except Exception as error:
                shown: list[object] = [gr.skip() for _ in range(outputs)]
                shown[at] = markup.problem(told(error))
                return shown[0] if outputs == 1 else tuple(shown)  # type: ignore[return-value]

        return wrapped

    return wrapping
