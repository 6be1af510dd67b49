"""Counting what a call costs: floating-point operations and bytes, not seconds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

MIB = 2**20


def flops(call: Callable[[], Any]) -> Counter[str]:
    """Floating-point operations of products and convolutions by operator, such as ``"convolution_backward"``.

    Attention goes its plain way meanwhile: PyTorch's fused inference kernel is one operator that nothing counts.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False)
        # It would hook tensors to tell modules apart, and a graph with hooks is differentiated in another way.
        counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        with counter:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    return Counter({str(op).rpartition(".")[2]: count for op, count in counter.get_flop_counts()["Global"].items()})


class _NoModules:
    """What tells the modules that run: none of them, all is of one whole."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most CPU memory that was taken at any moment of ``call``, above what was taken when it began.

    Every allocation and release of PyTorch's CPU allocator is seen, those inside of operators too.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        result = call()
    del result
    results = profiler.profiler.kineto_results  # type: ignore[union-attr]
    events = sorted((e for e in results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns())
    taken = most = 0
    for event in events:
        taken += event.nbytes()
        most = max(most, taken)
    return most


def python_calls(call: Callable[[], Any]) -> int:
    """How many functions of Python's run in it, generators' steps included."""
    count = 0

    def see(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count
