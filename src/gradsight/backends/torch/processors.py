"""PyTorch on the processors of this machine: how many threads compute."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gradsight.foreign import Module


def threads_of(model: Module) -> int:
    """How many threads a model computes with in this process; 0 where it is no model of PyTorch on processors alone."""
    # A process that has used a GPU cannot be copied, whatever the model is on.
    if not isinstance(model, nn.Module) or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    tensors = itertools.chain(model.parameters(), model.buffers())
    return torch.get_num_threads() if all(x.device.type == "cpu" for x in tensors) else 0


def compute_with(threads: int) -> None:
    """Let models of this process compute with so many threads."""
    torch.set_num_threads(threads)


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Within it models of this process compute with so many threads."""
    before = torch.get_num_threads()
    compute_with(threads)
    try:
        yield
    finally:
        compute_with(before)
