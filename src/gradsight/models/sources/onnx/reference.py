"""What onnxruntime gives for an ONNX graph, to hold its conversion against."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsight.errors import ModelError, received
from gradsight.foreign import Outputs
from gradsight.models.sources.onnx.protos import File

if TYPE_CHECKING:
    import torch


class Reference:
    """onnxruntime, where it is installed and takes the file."""

    def __init__(self, model: File) -> None:
        """Have it read the graph, before anything in that is changed."""
        self._session: Any = None
        if find_spec("onnxruntime") is None:
            return
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # optimised graphs fuse operators, and round otherwise than what they are made of
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # files above 2 GB, operators or versions that it does not have: no reference then
            self._session = None

    def compare(self, path: Path, images: torch.Tensor, outputs: Outputs, tolerance: float, way_out: str) -> None:
        """See that the outputs of the conversion are those of onnxruntime.

        Args:
            path: of the file, for the message.
            images: as the graph takes them.
            outputs: of the conversion.
            tolerance: as a share of the outputs' scale.
            way_out: the end of the message.

        Raises:
            ModelError: they are not.
        """
        if self._session is None:
            return
        import numpy as np

        given = self._session.get_inputs()[0]
        kind = {"float16": np.float16, "double": np.float64, "uint8": np.uint8, "int8": np.int8, "int32": np.int32}
        try:
            wanted = self._session.run(
                None, {given.name: images.numpy().astype(kind.get(given.type[7:-1], np.float32))}
            )
        except Exception:  # as above
            return
        for ours, theirs in zip(outputs if isinstance(outputs, tuple) else (outputs,), wanted, strict=True):
            scale = float(np.abs(theirs).max()) or 1.0
            same = tuple(ours.shape) == theirs.shape
            gap = float(np.abs(ours.numpy().astype(np.float64) - theirs).max()) / scale if same else float("inf")
            if not gap <= tolerance:
                raise ModelError(
                    f"model: converted to PyTorch, this ONNX file gives other outputs than on onnxruntime (by "
                    f"{gap:.1%} of their scale), so that maps would be wrong. {received(str(path))} {way_out}"
                )
