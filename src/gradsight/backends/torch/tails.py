"""The tails of a view's layers: traced once, believed as long as they give a pass's outputs again."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsight.backends.torch import tap
from gradsight.backends.torch.cutting import Behind, checked_tail
from gradsight.backends.torch.derivatives import TorchForward
from gradsight.backends.torch.memory import tensors_of
from gradsight.backends.torch.running import Running
from gradsight.backends.torch.tail import Tail
from gradsight.backends.torch.tracing import suspended
from gradsight.foreign import Inputs, Outputs
from gradsight.recent import PASSES, Recent


class Tails:
    """What a model gives behind a layer, for other outputs of the layer."""

    def __init__(self, running: Running) -> None:
        """Those of a view."""
        self._running = running

    def outputs(
        self, name: str, raw: torch.Tensor, axis: int, forward: TorchForward, times: int, *, traced: bool = True
    ) -> Outputs:
        """The model's output where layer ``name`` gives ``raw``, ``times`` rows for each image of ``forward``.

        A graph of the tail alone runs, traced once. Where there is none, and if not ``traced``, the whole model runs
        with the layer's output replaced, its attention the plain one that has a second derivative.
        """
        raw = raw.contiguous()
        with torch.inference_mode(False):
            # A second derivative is asked for: fused attention has none, and a traced graph may hold it.
            if not traced:
                with sdpa_kernel(SDPBackend.MATH):
                    return self._replay(name, raw, forward, times)
            if name not in forward.tails:
                with torch.no_grad():
                    forward.tails[name] = self._believed(name, axis, forward)
            believed = forward.tails[name]
            if believed is None:
                return self._replay(name, raw, forward, times)
            tail, bypasses = believed
            return tail(raw, bypasses, times)

    def _replay(self, name: str, raw: torch.Tensor, forward: TorchForward, times: int) -> Outputs:
        inputs = self._running.batches.more(forward.inputs, times)
        return self._running.replay(name, inputs, raw.clone())  # what follows may write into it

    def _believed(self, name: str, axis: int, forward: TorchForward) -> tuple[Tail, tuple[torch.Tensor, ...]] | None:
        """The traced tail, which gives this pass's outputs again, with what bypasses it; None where there is none."""
        leaf, batches = forward.leaves[name], self._running.batches
        if leaf.shape[axis] != batches.count(forward.inputs):
            return None  # rows are frames: how many belong to an image is no matter of the tail alone
        sizes = tuple(x.shape[1:] for x in tensors_of(forward.inputs))
        key = (name, axis, tuple(s for i, s in enumerate(leaf.shape) if i != axis), sizes, *_precision(leaf))
        with self._running.lock:
            tails = self._running.view.tails.of(sizes, partial(Recent[Hashable, Tail | None], PASSES))
            kept = tails.get(key)
            if kept is not None:
                bypasses = kept.bypasses(forward.inputs, leaf)
                if kept.gives(forward.outputs, leaf, bypasses):
                    return kept, bypasses
            # One that no longer holds is traced again; that a layer has none is remembered, and not tried again.
            if kept is not None or key not in tails:
                tails[key] = kept = checked_tail(
                    partial(self._run, name),
                    forward.inputs,
                    forward.outputs,
                    leaf,
                    axis,
                    batches.by_image(forward.inputs),
                    self._behind(name),
                )
            return None if kept is None else (kept, kept.bypasses(forward.inputs, leaf))

    def _run(self, name: str, inputs: Inputs, raw: torch.Tensor) -> Outputs:
        return self._running.replay(name, inputs, raw)

    def _behind(self, name: str) -> Behind | None:
        """How to trace what is behind a layer alone; None where passes need to be watched."""
        view = self._running.view
        if view.draws or view.changes_state:
            return None
        weights = {place for x in (*view.root.parameters(), *view.root.buffers()) if (place := _place(x)) is not None}
        return Behind(partial(self._run_behind, name), lambda x: _place(x) in weights)

    def _run_behind(self, name: str, inputs: Inputs, raw: torch.Tensor) -> Outputs:
        with suspended() as resume:

            def put(replacing: tap.Tap, *arguments: Any) -> torch.Tensor:
                output = replacing(*arguments)
                if output is raw:
                    resume()
                return output

            return self._running.replay(name, inputs, raw, lambda replacing: partial(put, replacing))


def _place(tensor: object) -> Hashable:
    """Where the numbers of a tensor lie; None for what is none."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        return None
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _precision(tensor: torch.Tensor) -> tuple[Hashable, ...]:
    """In what precision a pass computes: a traced graph has that of its day, autocast's too."""
    device = tensor.device.type
    return tensor.dtype, device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
