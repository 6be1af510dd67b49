"""What transformers reads of a model: its configuration, processor and tokenizer; nothing that would run code."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from gradsight.errors import GradsightError, MissingDependency, ModelError, one_line
from gradsight.files import exists
from gradsight.models.sources.hf.theirs import Config, ImageProcessor, Tokenizer

INSTALL = "pip install transformers"
Read = TypeVar("Read")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def import_transformers() -> ModuleType:
    """The package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingDependency(f"hf models need a package that is missing: {error}. Run: {INSTALL}") from error


def read(name: str, what: str, reader: Callable[..., Read], **options: object) -> Read:
    """What one of transformers' readers makes of a model's name.

    Args:
        name: of the model, or its folder.
        what: is read, for the message, such as ``"configuration"``.
        reader: ``from_pretrained`` of some class.
        **options: its further arguments.

    Raises:
        ModelError: it cannot be read, or not without running code that comes with it.
    """
    try:
        return reader(name, trust_remote_code=False, **options)
    except GradsightError:
        raise
    except Exception as error:  # no such model, no connection, a damaged file, an unknown architecture ...
        _refuse_code(name, what, error)
        raise ModelError(
            f"hf model {name!r}: its {what} cannot be read: {one_line(error)}. Give the name of a model on the Hub, "
            "which needs a connection at first use, or a folder that save_pretrained wrote."
        ) from error


def _refuse_code(name: str, what: str, error: Exception) -> None:
    """Say it where transformers fails because code that comes with a model may not be run."""
    if "trust_remote_code" in str(error):
        raise ModelError(
            f"hf model {name[:200]!r}: its {what} cannot be read without running code that comes with it. Nothing of "
            "it was run. If you trust where it comes from, load it in a function of yours, from_pretrained(..., "
            "trust_remote_code=True), and pass that: --model package.module:function."
        ) from error


def image_processor_of(library: ModuleType, config: Config, name: str) -> tuple[ImageProcessor, bool]:
    """The processor that was saved with the model, or the usual one of its kind where none was; whether one was."""
    try:
        # the other backend needs torchvision, and resizes otherwise than Pillow, with which gradsight does it
        return library.AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False), True
    except Exception as saved:
        try:
            if any(exists(Path(name, file)) for file in _PROCESSORS):
                raise saved  # there is one, and another in its place would see other pictures
            kind = library.models.auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING[type(config)]
            processor = kind["pil"]()
        except Exception:
            _refuse_code(name, "image processor", saved)
            raise ModelError(
                f"hf model {name!r}: its image processor cannot be read: {one_line(saved)}. Save it beside the model: "
                "processor.save_pretrained(folder)."
            ) from saved
        # the usual processor of a kind has the usual size of it, which need not be this model's
        size = getattr(config, "image_size", None)
        if isinstance(size, int) and "height" in dict(processor.size):
            processor.size = {"height": size, "width": size}
        return processor, False


def tokenizer_of(library: ModuleType, name: str) -> Tokenizer:
    """The tokenizer that was saved with the model.

    Raises:
        ModelError: there is none.
    """
    tokenizer: Tokenizer = read(name, "tokenizer", library.AutoTokenizer.from_pretrained)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made up by its kind, without a word that it knows
        raise ModelError(
            f"hf model {name!r}: its tokenizer is missing, and without it no text can be read. Save it beside the "
            "model: tokenizer.save_pretrained(folder)."
        )
    return tokenizer
