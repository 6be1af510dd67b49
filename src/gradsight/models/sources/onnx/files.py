"""Models from ``.onnx`` files, as PyTorch modules."""

from __future__ import annotations

import ast
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gradsight.errors import GradsightError, MissingDependency, ModelError, one_line, received
from gradsight.foreign import Array, Outputs
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.claims.bounds import check_input, told
from gradsight.models.claims.packed import check_filled
from gradsight.models.formats import file_format
from gradsight.models.model import Model
from gradsight.models.preprocess import GREY
from gradsight.models.sources.onnx import graph
from gradsight.models.sources.onnx.constants import fold_constants
from gradsight.models.sources.onnx.graph import Input
from gradsight.models.sources.onnx.protos import File
from gradsight.models.sources.onnx.reference import Reference
from gradsight.models.sources.onnx.sizes import check_arrays, check_calls
from gradsight.targets.scores import Scores

if TYPE_CHECKING:
    import torch

    from gradsight.models.sources.onnx.network import Network


SUFFIX = ".onnx"
INSTALL = "pip install 'gradsight[onnx]'"
_AGAIN = "Export it again: torch.onnx.export(model.eval(), (example,), 'model.onnx', dynamo=True)."
_ORIGINAL = "Explain the model that it was exported from: --model package.module:function, or a .pt2 or .keras file."
_TOLERANCE = 1e-3  # of the scale of the outputs
_HALF_TOLERANCE = 5e-2
_LONGEST = 1_000_000  # in letters, of the names of classes

Examples: TypeAlias = "tuple[torch.Tensor, ...]"
"""Two batches of images."""


@file_format(SUFFIX)
def load(path: Path) -> Model:
    """Load an ONNX file as a PyTorch module with gradients and named layers.

    Its operators are converted one by one, the weights of half precision to single precision. Of the file nothing is
    run but the operators of classifiers, and files beside it are read only as its own external data. Where onnxruntime
    is installed, the outputs for one random image must agree with it.

    The module takes (n, channels, height, width), also where the graph takes (n, height, width, channels), and floats
    where the graph takes integers (pixels of 0..255). A softmax or sigmoid at the end is left out: scores are logits.
    Graphs that were exported with a batch of one are mended to take any, as far as that can be done and checked.

    Args:
        path: the file, which is there.

    Raises:
        InvalidArgument: there is no such file.
        MissingDependency: onnx, onnx2pytorch or PyTorch is not installed.
        ModelError: the file is damaged or reads other files, its operators are not known, or its conversion differs
            from onnxruntime.
    """
    check_filled(path, "model")
    _import()
    with told("model: what is in the ONNX file cannot be used", f"{received(str(path))} {_AGAIN}"):
        return _loaded(path)


def _loaded(path: Path) -> Model:
    model = _read(path)
    activation = graph.without_activation(model)
    # now, since the graph is changed from here on, and the reference must see the file's own
    reference = Reference(model)
    half = _prepared(path, model)
    takes = graph.input_of(model)
    if takes is None:
        raise ModelError(
            f"model must take one image and nothing else, and this ONNX file takes "
            f"{', '.join(value.name for value in model.graph.input)[:200]}. {received(str(path))} {_ORIGINAL}"
        )
    # noise, not zeros: a wrong weight shows in no product with zero
    examples = _examples(takes, path)
    if examples is not None:
        check_arrays(model, {takes.name: _sizes(examples[0], takes)}, str(path))
    module, outputs = _converted(path, model, takes, examples)
    example = None if examples is None else examples[0]
    if example is not None:
        example = example.permute(0, 2, 3, 1) if takes.channels_last else example
        reference.compare(path, example, outputs, _HALF_TOLERANCE if half else _TOLERANCE, _ORIGINAL)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    scores = Scores(_first, activation) if activation else None
    labels = _labels(metadata, model)
    return Model(module, _preprocess(takes, metadata), labels, scores, left_out=activation)


def _first(outputs: Outputs) -> Array:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _import() -> None:
    """Load the packages.

    Raises:
        MissingDependency: one is missing or broken.
    """
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")  # of theirs, when they are loaded
            import onnx2pytorch  # noqa: F401
    except Exception as error:  # PyTorch and torchvision that do not belong together raise RuntimeError
        raise MissingDependency(
            f"An {SUFFIX} file needs packages that are missing or do not work: {one_line(error)}. Run: {INSTALL}"
        ) from error


def _read(path: Path) -> File:
    import onnx
    import onnx.inliner

    try:
        onnx.checker.check_model(str(path))  # of files beside it too: they must be there, in its folder, and no links
        model: File = onnx.load(str(path))
        check_calls(model, str(path))
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except GradsightError:
        raise
    except Exception as error:  # damaged bytes end in almost any exception
        raise ModelError(
            f"model: the {SUFFIX} file cannot be read: {one_line(error)}. {received(str(path))} {_AGAIN}"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"model: the {SUFFIX} file holds no network. {received(str(path))} {_AGAIN}")
    return model


def _prepared(path: Path, model: File) -> bool:
    """Bring a graph to what is converted, in place; whether it was of half precision.

    Raises:
        ModelError: it has what is not converted, or cannot be explained.
    """
    operators, reason = graph.unreadable(model)
    if operators:
        hint = "Files that onnxruntime has optimised hold its own operators; give the file before that. "
        raise ModelError(
            f"model: this ONNX file cannot be explained, {reason}: {operators[:200]}. {received(str(path))} "
            f"{hint if '.' in operators else ''}{_ORIGINAL}"
        )
    try:
        half = graph.in_single_precision(model)
        fold_constants(model, str(path))
    except GradsightError:
        raise
    except Exception as error:  # constants are computed by operators that may not fit each other
        raise _inconvertible(path, error) from error
    if graph.trains(model):
        raise ModelError(
            f"model must be exported in evaluation mode, and this one has batch norm or dropout in training mode. "
            f"{received(str(path))} {_AGAIN}"
        )
    return half


def _inconvertible(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"model: the ONNX file cannot be converted to PyTorch: {one_line(error)}. {received(str(path))} {_ORIGINAL}"
    )


def _converted(path: Path, model: File, takes: Input, examples: Examples | None) -> tuple[Network, Outputs]:
    """The module, and its outputs for the first of the examples; None where the graph does not say what it takes."""
    import torch

    from gradsight.models.sources.onnx.batch import Misfit, free_batch

    try:
        graph.hide_constants(model)
        graph.drop_modes(model)
        made = _network(model, takes)
        if examples is None:
            return made, None
        with torch.no_grad():
            try:
                free_batch(made, *examples, fixed_size=None not in takes.shape[1:])
            except Misfit:
                # half mended it may be wrong without failing, so it is converted anew
                made = _network(model, takes)
                made.batch = len(examples[0])
            outputs = made(examples[0])
    except Exception as error:  # an operator that onnxruntime runs may fail here in many ways
        raise _inconvertible(path, error) from error
    if not all(output.numel() for output in (outputs if isinstance(outputs, tuple) else (outputs,))):
        raise ModelError(
            f"model must give numbers, and this ONNX file gives an output without any for its own kind of images. "
            f"{received(str(path))} {_AGAIN}"
        )
    return made, outputs


def _network(model: File, takes: Input) -> Network:
    """Convert a copy: onnx2pytorch changes the graph it is given."""
    from gradsight.models.sources.onnx.network import network

    copy = type(model)()
    copy.CopyFrom(model)
    with redirect_stdout(sys.stderr):
        return network(copy, takes.channels_last)


def _sizes(images: torch.Tensor, takes: Input) -> list[int]:
    """The shape of images as the graph takes them."""
    shape = list(images.shape)
    return [shape[0], *shape[2:], shape[1]] if takes.channels_last else shape


def _examples(takes: Input, path: Path) -> Examples | None:
    """Two random batches of what the graph takes, channels first; None where its sizes are not known."""
    import torch

    generator = torch.Generator().manual_seed(0)
    batch, *rest = takes.shape or (None,)
    if len(rest) == 3:
        if takes.channels_last:
            rest = [rest[2], *rest[:2]]
        rest = [rest[0], *(side or 224 for side in rest[1:])]
    if not rest or None in rest:
        return None
    check_input([batch or 1, *(side or 1 for side in rest)], str(path))
    several = torch.rand([2, batch or 1, *(side or 1 for side in rest)], generator=generator) * (takes.highest or 2)
    several = several if takes.highest else several - 1
    return (several.round() if takes.integer else several).unbind()


def _preprocess(takes: Input, metadata: dict[str, str]) -> Preprocess | None:
    """A guess, as far as the graph and its metadata tell: the size, grey or RGB, the range of the values.

    Not assumed are a size that is fixed, and values that the graph's type or Ultralytics's metadata tell.
    """
    if len(takes.shape) != 4:
        return None
    _, *sides = takes.shape
    height, width, channels = sides if takes.channels_last else (*sides[1:], sides[0])
    if channels not in (1, 3):
        return None
    size = (height or 224, width or 224)
    theirs = metadata.get("author") == "Ultralytics"
    known = {"size"} if height and width else set()
    known |= {"mean", "std"} if theirs or takes.integer else set()
    mean, std = Preprocess.mean, Preprocess.std
    if theirs or takes.highest is not None:
        mean, std = (0.0,) * channels, (1.0 if theirs or takes.highest is None else 1 / takes.highest,) * channels
    elif channels == 1:
        mean, std = GREY
    return Preprocess(size=size, mean=mean, std=std, assumed=tuple(part for part in PARTS if part not in known))


def _labels(metadata: dict[str, str], model: File) -> tuple[str, ...] | None:
    """The names of the classes, as Ultralytics writes them: ``{0: 'cat', 1: 'dog'}``; None where they are not."""
    said = metadata.get("names", "")
    try:
        names = ast.literal_eval(said) if len(said) < _LONGEST else None
    except Exception:  # text of the file's, of any kind: a list as a key, brackets without end
        return None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or set(names) != set(range(len(names))):
        return None
    shape = model.graph.output[0].type.tensor_type.shape.dim
    if shape and shape[-1].dim_value not in (0, len(names)):
        return None
    labels = tuple(names[i] for i in range(len(names)))
    return labels if all(isinstance(label, str) and label for label in labels) else None
