"""How precisely PyTorch computes with a tensor here."""

from __future__ import annotations

import torch

HALVES = (torch.float16, torch.bfloat16)


def is_coarse(tensor: torch.Tensor) -> bool:
    """Whether what is computed with such a tensor has about three digits, and not seven or more.

    Half precisions have no more; nor has float32 where autocast is on, or where a GPU multiplies in TF32, as PyTorch
    lets it in convolutions by itself.
    """
    if tensor.dtype in HALVES:
        return True
    device = tensor.device.type
    if tensor.dtype != torch.float32:
        return False
    return torch.is_autocast_enabled(device) or (device != "cpu" and _multiplies_in_tf32())


def _multiplies_in_tf32() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # PyTorch answers no such question once its old and its new settings were mixed
        return True
