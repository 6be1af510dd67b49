"""Makes torchvision importable beside a PyTorch that it was not built for. Tests and benchmarks only.

torchvision's wheels are CUDA builds: beside a CPU-only PyTorch their compiled operators do not load, and
``import torchvision`` (so timm's and grad-cam's too) fails with ``operator torchvision::nms does not exist``. Its
models and transforms need none of them. Declaring the two that its Python code asks for is enough.

`install` only leaves a note in the import system: PyTorch is loaded when torchvision is, not before.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # a torch.library.Library takes its operators away when it is collected


class _BeforeTorchvision(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            _declare(Path(spec.origin).parent)
        return spec


def _declare(folder: Path) -> None:
    """Load the compiled operators as torchvision will; where they do not fit this PyTorch, declare two of them."""
    import torch

    for suffix in EXTENSION_SUFFIXES:
        compiled = folder / f"_C{suffix}"
        if compiled.exists():
            with contextlib.suppress(OSError):  # such as: libtorch_cuda.so: cannot open shared object file
                torch.ops.load_library(compiled)
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        _kept.append(library)


def install() -> None:
    """Have the operators declared just before torchvision is first imported."""
    if "torchvision" not in sys.modules and not any(isinstance(f, _BeforeTorchvision) for f in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())
