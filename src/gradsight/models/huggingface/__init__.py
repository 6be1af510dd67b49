"""Models of transformers, by name or from a folder that ``save_pretrained`` or a Trainer wrote."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradsight.errors import GradsightError, InvalidArgument, MissingDependency, ModelError, one_line, received
from gradsight.files import exists, is_file, is_folder
from gradsight.imaging import PARTS
from gradsight.models.claims import bounded_modules, told
from gradsight.models.hub import hub
from gradsight.models.huggingface.claims import check_config, check_kinds, check_sides, stored_parameters
from gradsight.models.huggingface.loading import Loading
from gradsight.models.huggingface.processor import preprocess_of
from gradsight.models.huggingface.quiet import quiet
from gradsight.models.huggingface.tasks import task_of
from gradsight.models.model import Model
from gradsight.models.weights import load_weights
from gradsight.registry import source

_INSTALL = "pip install 'gradsight[hf]'"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@source(
    "hf",
    title="models of transformers, by name (downloaded at first use) or from a folder",
    example="hf:google/vit-base-patch16-224",
    packages=("torch", "transformers"),
    install=_INSTALL,
)
def huggingface(
    name: str, *, weights: str | None = None, labels: Sequence[str] | None = None, text: str | None = None
) -> Model:
    """Load a model of transformers with its processor: what it was saved as decides what is explained.

    ================================  =================================================================================
    image classification              its classes
    semantic segmentation             its classes, each by its mean over the picture's positions
    object detection                  its classes, each by the detection with the highest score
    CLIP, SigLIP and their kin        ``labels``, the texts that the picture is compared with; or `Similarity`
    visual question answering         ``text`` is the question; the answers, or the first word of one; see `ask`
    captioning                        ``text`` is the beginning of the caption, or empty; the next word; see `caption`
    ================================  =================================================================================

    Code of the model's author that comes with it is not run.

    Args:
        name: a model's name, ``"google/vit-base-patch16-224"``, or the path of a folder.
        weights: ``"none"`` for random weights, or a file of weights, in place of those under that name.
        labels: for models that compare pictures with texts, the texts; for others the class names.
        text: the question, or the beginning of the caption.

    Raises:
        InvalidArgument: ``text`` means nothing, or the model does none of these. Where ``labels`` or ``text`` are
            needed and not given, that is said when a class is to be explained.
        MissingDependency: transformers is not installed.
        ModelError: there is no such model, it cannot be fetched, or its weights do not fit.
    """
    library, here = _library(), is_folder(name)
    way_out = "Give the name of a model on the Hub, or a folder that save_pretrained wrote."
    with (
        quiet(library),
        nullcontext() if here else hub(),
        told(f"hf model {name[:200]!r}: what is stored with it cannot be used", way_out),
    ):
        check_config(name, lambda: _read(name, "configuration", library.PreTrainedConfig.get_config_dict)[0])
        config = _read(name, "configuration", library.AutoConfig.from_pretrained)
        task = task_of(config, name)
        if text is not None and not task.reads_text:
            raise InvalidArgument(
                f"text means nothing to hf model {name!r}, a {task.architecture}. {received(text)} Leave it out."
            )
        with bounded_modules(name, stored_parameters(name, weights)):
            model = _model(library, config, task.architecture, name, weights)
        processor, found = _image_processor(library, config, name)
        check_sides(processor.to_dict(), name)
        preprocess = preprocess_of(processor)
        if preprocess is not None and not found:
            preprocess = replace(preprocess, assumed=PARTS)
        loading = Loading(name, model.eval(), config, labels, text, lambda: _tokenizer(library, name))
        return replace(task.make(loading), preprocess=preprocess)


def is_model_folder(path: str) -> bool:
    """Whether transformers saved a model in this folder."""
    return is_file(Path(path, "config.json"))


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependency(f"hf models need a package that is missing: {error}. Run: {_INSTALL}") from error
    return transformers


def _read(name: str, what: str, reader: Any, **options: Any) -> Any:
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


def _model(library: Any, config: Any, architecture: str, name: str, weights: str | None) -> Any:
    import torch

    kind = getattr(library, architecture, None)
    if kind is None:
        raise ModelError(
            f"hf model {name[:200]!r}: transformers {library.__version__} has no {architecture[:200]!r}, as which it "
            "was saved. Install a version that has: pip install --upgrade transformers"
        )
    if weights is None:
        # half precision, as some are stored in, is no gain here: maps are sums over thousands of products
        model, report = _read(
            name, "weights", kind.from_pretrained, config=config, dtype=torch.float32, output_loading_info=True
        )
        missing = sorted(map(str, report["missing_keys"]))
        if missing:
            raise ModelError(
                f"hf model {name!r}: its weights lack {len(missing)} tensors of a {architecture} "
                f"({', '.join(missing[:3])[:300]}), which would be random. Name a model that was trained for this task."
            )
        check_kinds(name, model)
        return model
    try:
        model = kind(config)
    except GradsightError:
        raise
    except Exception as error:
        raise ModelError(
            f"hf model {name!r}: it cannot be built: {one_line(error)}. {received(architecture)}"
        ) from error
    if weights.lower() != "none":
        load_weights(model, weights)
    return model


def _image_processor(library: Any, config: Any, name: str) -> tuple[Any, bool]:
    """The processor that was saved with the model, or the usual one of its kind where none was; whether one was."""
    try:
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
        size = getattr(config, "image_size", None)
        if isinstance(size, int) and "height" in dict(processor.size):
            processor.size = {"height": size, "width": size}
        return processor, False


def _tokenizer(library: Any, name: str) -> Any:
    tokenizer = _read(name, "tokenizer", library.AutoTokenizer.from_pretrained)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made up by its kind, without a word that it knows
        raise ModelError(
            f"hf model {name!r}: its tokenizer is missing, and without it no text can be read. Save it beside the "
            "model: tokenizer.save_pretrained(folder)."
        )
    return tokenizer
