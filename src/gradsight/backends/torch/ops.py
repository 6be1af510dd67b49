"""PyTorch under the names of the Array API standard, and the few verbs that it lacks."""

from __future__ import annotations

from types import SimpleNamespace

import array_api_compat.torch as array_api
import numpy as np
import torch
from numpy.typing import NDArray

from gradsight.backends.torch.outputs import private
from gradsight.backends.torch.precision import HALVES
from gradsight.contracts import Floats
from gradsight.foreign import Ops


def pick(logits: torch.Tensor, indices: NDArray[np.integer]) -> torch.Tensor:
    """Some classes of each row: (m, classes), (m, k) -> (m, k)."""
    return logits.gather(1, torch.from_numpy(np.ascontiguousarray(indices)).to(logits.device))


def full_precision(tensor: torch.Tensor) -> torch.Tensor:
    """Half precisions as float32: methods sum over thousands of products."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def numpy_of(tensor: torch.Tensor) -> Floats:
    """Copy to NumPy: float64 stays, everything else becomes float32."""
    # By force: without its graph and from its device, in one call.
    numbers: Floats = (tensor if tensor.dtype in _OF_NUMPY else tensor.float()).numpy(force=True)
    return numbers


_OF_NUMPY = (torch.float32, torch.float64)


OPS: Ops = SimpleNamespace(**{**vars(array_api), "pick": pick, "private": private})
"""What methods call."""
