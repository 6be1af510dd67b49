"""A model of transformers on its way to the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradsight.foreign import Module
from gradsight.models.sources.hf.theirs import Config, Tokenizer


@dataclass(frozen=True)
class Loading:
    """What the user asked for, and what was read.

    Attributes:
        name: what the user called it.
        model: in evaluation mode.
        config: its configuration.
        labels: class names, or the texts to compare with, if the user gave some.
        text: the question, or the beginning of the caption, if the user gave one.
        tokenizer: reads the model's tokenizer.
    """

    name: str
    model: Module
    config: Config
    labels: Sequence[str] | None
    text: str | None
    tokenizer: Callable[[], Tokenizer]


def class_names(config: Config) -> tuple[str, ...] | None:
    """The names by index; None where they are those that transformers makes up."""
    names = getattr(config, "id2label", None) or {}
    ordered = tuple(str(names[index]) for index in sorted(names)) if sorted(names) == list(range(len(names))) else ()
    made_up = all(re.fullmatch(r"LABEL_\d+", name) for name in ordered)
    return None if made_up else ordered
