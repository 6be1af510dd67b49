"""Models that ``torch.export.save`` wrote, ``.pt2``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.errors import ModelError, one_line, received
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.claims.bounds import check_input
from gradsight.models.formats import file_format
from gradsight.models.model import Model
from gradsight.models.preprocess import GREY
from gradsight.models.sources.pt2.archive import load_program
from gradsight.models.weights import check_torch

if TYPE_CHECKING:
    from torch.export import ExportedProgram


_AGAIN = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


@file_format(".pt2")
def load(path: Path) -> Model:
    """Load an exported program as a module whose layers have names and gradients.

    Raises:
        MissingDependency: PyTorch is not installed, or too old to tell what an archive holds.
        ModelError: the file is damaged, could run code, was exported in training mode, or cannot be rebuilt.
    """
    check_torch(path)
    import torch

    program = load_program(path)
    # a program cannot be put into evaluation mode: what it does is written into it
    if _trains(program):
        raise ModelError(
            f"model must be exported in evaluation mode, and this one has batch norm or dropout in training mode. "
            f"{received(str(path))} Export it again: {_AGAIN}"
        )
    try:
        # forward hooks fire in the unflattened modules only, not in program.module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch 2.13 warns of what it does itself when it copies
            model = torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(
            f"model: the exported program cannot be rebuilt: {one_line(error)}. "
            f"{received(str(path))} Export it again with the installed PyTorch."
        ) from error
    shape = _input_shape(program)
    check_input(shape[1:], str(path))
    return Model(model, _preprocess(shape), None)


def _trains(program: ExportedProgram) -> bool:
    for node in program.graph.nodes:
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        if any(a.name in ("train", "training") and v is True for a, v in zip(arguments, node.args, strict=False)):
            return True
    return False


def _input_shape(program: ExportedProgram) -> tuple[int | None, ...]:
    """The first input's shape, None for a size that may vary."""
    first = next(iter(program.graph_signature.user_inputs), None)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name == first:
            shape = getattr(node.meta.get("val"), "shape", ())
            return tuple(side if isinstance(side, int) else None for side in shape)
    return ()


def _preprocess(shape: tuple[int | None, ...]) -> Preprocess | None:
    if len(shape) != 4 or shape[1] not in (1, 3):
        return None
    height, width = (side or 224 for side in shape[2:])
    assumed = PARTS if None in shape[2:] else PARTS[1:]
    if shape[1] == 1:
        return Preprocess(size=(height, width), mean=GREY[0], std=GREY[1], assumed=assumed)
    return Preprocess(size=(height, width), assumed=assumed)
