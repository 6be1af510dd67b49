"""Models of transformers, by name or from a folder that ``save_pretrained`` or a Trainer wrote."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from gradsight.errors import GradsightError, InvalidArgument, ModelError, one_line, received
from gradsight.files import is_file, is_folder
from gradsight.imaging import PARTS
from gradsight.models.claims.bounds import bounded_modules, told
from gradsight.models.hub import hub
from gradsight.models.model import Model
from gradsight.models.sources.hf.claims import check_config, check_kinds, check_sides, stored_parameters
from gradsight.models.sources.hf.loading import Loading
from gradsight.models.sources.hf.processor import preprocess_of
from gradsight.models.sources.hf.quiet import quiet
from gradsight.models.sources.hf.reading import INSTALL, image_processor_of, import_transformers, read, tokenizer_of
from gradsight.models.sources.hf.tasks import task_of
from gradsight.models.sources.hf.theirs import Config
from gradsight.models.weights import load_weights
from gradsight.registry import source

if TYPE_CHECKING:
    from torch import nn


@source(
    "hf",
    title="models of transformers, by name (downloaded at first use) or from a folder",
    example="hf:google/vit-base-patch16-224",
    packages=("torch", "transformers"),
    install=INSTALL,
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
    library, here = import_transformers(), is_folder(name)
    way_out = "Give the name of a model on the Hub, or a folder that save_pretrained wrote."
    with (
        quiet(library),
        nullcontext() if here else hub(),
        told(f"hf model {name[:200]!r}: what is stored with it cannot be used", way_out),
    ):
        check_config(name, lambda: read(name, "configuration", library.PreTrainedConfig.get_config_dict)[0])
        config = read(name, "configuration", library.AutoConfig.from_pretrained)
        # before the weights are read: a model that cannot be explained is not worth a download
        task = task_of(config, name)
        if text is not None and not task.reads_text:
            raise InvalidArgument(
                f"text means nothing to hf model {name!r}, a {task.architecture}. {received(text)} Leave it out."
            )
        # a configuration of a few bytes can ask for more layers than there is memory
        with bounded_modules(name, stored_parameters(name, weights)):
            model = _model(library, config, task.architecture, name, weights)
        processor, found = image_processor_of(library, config, name)
        check_sides(processor.to_dict(), name)
        preprocess = preprocess_of(processor)
        if preprocess is not None and not found:
            preprocess = replace(preprocess, assumed=PARTS)
        loading = Loading(name, model.eval(), config, labels, text, lambda: tokenizer_of(library, name))
        return replace(task.make(loading), preprocess=preprocess)


def is_model_folder(path: str) -> bool:
    """Whether transformers saved a model in this folder."""
    return is_file(Path(path, "config.json"))


def _model(library: ModuleType, config: Config, architecture: str, name: str, weights: str | None) -> nn.Module:
    import torch

    kind = getattr(library, architecture, None)
    if kind is None:
        raise ModelError(
            f"hf model {name[:200]!r}: transformers {library.__version__} has no {architecture[:200]!r}, as which it "
            "was saved. Install a version that has: pip install --upgrade transformers"
        )
    if weights is None:
        # half precision, as some are stored in, is no gain here: maps are sums over thousands of products
        model, report = read(
            name, "weights", kind.from_pretrained, config=config, dtype=torch.float32, output_loading_info=True
        )
        missing = sorted(map(str, report["missing_keys"]))
        # transformers would only warn, and the maps of a random head look like maps
        if missing:
            raise ModelError(
                f"hf model {name!r}: its weights lack {len(missing)} tensors of a {architecture} "
                f"({', '.join(missing[:3])[:300]}), which would be random. Name a model that was trained for this task."
            )
        check_kinds(name, model)
        return cast("nn.Module", model)
    try:
        built: nn.Module = kind(config)
    except GradsightError:
        raise
    except Exception as error:
        raise ModelError(
            f"hf model {name!r}: it cannot be built: {one_line(error)}. {received(architecture)}"
        ) from error
    if weights.lower() != "none":
        load_weights(built, weights)
    return built
