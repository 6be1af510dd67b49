"""What is used of the objects of transformers, which is not imported before a model of its own is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from PIL import Image

from gradsight.foreign import Array


class Config(Protocol):
    """What a model says of itself; each kind has fields of its own beside these."""

    model_type: str

    def __getattr__(self, name: str) -> Any:
        """A field of its kind."""


class Tokenizer(Protocol):
    """From texts to tokens and back."""

    all_special_ids: Sequence[int]
    all_special_tokens: Sequence[str]

    def __len__(self) -> int:
        """How many tokens it knows."""

    def __call__(self, text: str | Sequence[str], **options: object) -> Mapping[str, Array]:
        """The tokens of texts, and what goes with them, by name."""

    def decode(self, token_ids: Sequence[int], **options: object) -> str:
        """The text that tokens write."""

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Tokens as they are in its vocabulary."""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """What those write."""


class ImageProcessor(Protocol):
    """From photos to what the model takes; each kind has fields of its own beside these."""

    size: Mapping[str, int]

    def __call__(self, images: Image.Image, return_tensors: str) -> Mapping[str, Array]:
        """The model's input by name."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""

    def __getattr__(self, name: str) -> Any:
        """A field of its kind."""
