"""Attention in the passes of a PyTorch model: its weights, and gradients of scores by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from gradsight.attention import Attended
from gradsight.backends.attention import BlockOutput, is_like, outputs_of_blocks
from gradsight.backends.passes import ModelPass
from gradsight.backends.rounding import is_close
from gradsight.backends.torch import tap
from gradsight.backends.torch.derivatives import TorchForward
from gradsight.backends.torch.gradients import by_columns, check_graph, with_gradient
from gradsight.backends.torch.graph import Node, dominators, topological
from gradsight.backends.torch.ops import numpy_of
from gradsight.backends.torch.outputs import tensors_in
from gradsight.backends.torch.rectify import Rectifiers
from gradsight.backends.torch.running import Running
from gradsight.backends.torch.seeing import Seeing
from gradsight.errors import ModelError
from gradsight.foreign import Inputs, Outputs
from gradsight.layers import call_name

if TYPE_CHECKING:
    from gradsight.backends.torch.backend import TorchBackend

_NO_TAPS: Mapping[str, tap.Tap] = {}


def seen(running: Running, inputs: Inputs) -> list[torch.Tensor]:
    """The weights of every attention in one pass, without a graph."""
    with torch.inference_mode(False), torch.no_grad():
        seeing = Seeing()
        _run(running, inputs, seeing, None)
        return seeing.weights


def attend(running: Running, shared: ModelPass[TorchForward], numbers: Sequence[int]) -> Attended:
    """See `attends.Attends.attend`."""
    rectifiers = _rectifiers(shared)
    seeing, scores = _passed(running, shared, numbers[0], rectifiers)
    leaves = {f"attention {number}": seeing.weights[number] for number in numbers}
    with with_gradient(), _by_rule(rectifiers, shared):
        check_graph(scores, leaves, running.view.quantized)
        found = by_columns(scores, list(leaves.values()), batched=True)
    zeros = (scores.shape[1],)
    gradients = [
        x.new_zeros(zeros + x.shape) if grad is None else grad for x, grad in zip(leaves.values(), found, strict=True)
    ]
    return Attended([x.detach() for x in seeing.weights], gradients)


def _passed(
    running: Running,
    shared: ModelPass[TorchForward],
    first: int,
    rectifiers: Rectifiers | None,
    taps: Mapping[str, tap.Tap] = _NO_TAPS,
) -> tuple[Seeing, torch.Tensor]:
    """A pass again, with a graph from call ``first`` on: what was seen, and the scores; rectifiers note theirs.

    Raises:
        ModelError: it gave other outputs than the pass.
    """
    seeing = Seeing(first)
    with torch.inference_mode(False):
        with torch.no_grad():
            outputs = _run(running, shared.inputs, seeing, rectifiers, taps)
        if len(seeing.weights) <= first or not _agree(outputs, shared.outputs, seeing):
            raise ModelError(
                "with its attention computed in the open, softmax(q k^T) v, the model gave other outputs than before, "
                "so that weights seen this way are not those it used. Does its attention do something else, or does "
                "the model give something else at each call? Use a method such as 'gradcam'."
            )
        with torch.enable_grad():
            return seeing, shared.score(outputs)


def _run(
    running: Running,
    inputs: Inputs,
    seeing: Seeing,
    rectifiers: Rectifiers | None,
    taps: Mapping[str, tap.Tap] = _NO_TAPS,
) -> Outputs:
    running.ready(inputs, taps)  # which may run the model, so not while it is seen
    with rectifiers or nullcontext(), seeing:
        return running.execute(inputs, taps)


def _rectifiers(shared: ModelPass[TorchForward]) -> Rectifiers | None:
    """What notes the rectifiers of a pass again, if gradients pass them by a rule in it."""
    return None if shared.forward.rule is None else Rectifiers()


def _by_rule(rectifiers: Rectifiers | None, shared: ModelPass[TorchForward]) -> AbstractContextManager[None]:
    return nullcontext() if rectifiers is None else rectifiers.by(shared.forward.rule)


def _agree(outputs: Outputs, expected: Outputs, seeing: Seeing) -> bool:
    """Whether outputs are equal up to the rounding that other orders of sums in every call make."""
    ours, theirs = tensors_in(outputs), tensors_in(expected)
    calls = len(seeing.weights)

    def agrees(a: torch.Tensor, b: torch.Tensor) -> bool:
        if not b.is_floating_point():
            return torch.equal(a, b)
        return is_close(numpy_of(a), numpy_of(b), max(torch.finfo(b.dtype).eps, seeing.unit) * max(1, calls / 4))

    return len(ours) == len(theirs) and all(map(agrees, ours, theirs))


def block_outputs(
    backend: TorchBackend, shared: ModelPass[TorchForward], like: Sequence[int], numbers: Sequence[int]
) -> list[str]:
    """See `attends.Attends.block_outputs`."""
    records: list[tuple[str, int, BlockOutput, Node | None]] = []
    calls: dict[str, int] = {}
    seeing = Seeing()

    def see(name: str, module: nn.Module, arguments: tuple[Inputs, ...], output: torch.Tensor) -> torch.Tensor:
        call = calls[name] = calls.get(name, -1) + 1
        copy = output.clone()  # its node is this output's alone
        # What is handed through is the output of whoever made it.
        if not (output._version == 0 and any(output is argument for argument in arguments)) and is_like(
            output.shape, like
        ):
            composite = next(module.children(), None) is not None
            records.append(
                (name, call, BlockOutput(type(module).__name__, composite, len(seeing.weights)), copy.grad_fn)
            )
        return copy

    with with_gradient():
        source, fed = backend.running.from_leaf(shared.inputs)
        looking = backend.running.looking(shared.inputs)
        names = [name for name in looking.view.modules if name]
        tap.install(looking.view.modules, names)
        with seeing:
            outputs = looking.execute(fed, dict.fromkeys(names, see))
        order = topological(shared.score(outputs).sum().grad_fn)  # which keeps each node one object of Python
        cuts = dominators(order, source)
    return outputs_of_blocks(
        [(call_name(name, call, _counts(calls)), x) for name, call, x, node in records if node in cuts], numbers
    )


def _counts(calls: Mapping[str, int]) -> dict[str, int]:
    return {name: last + 1 for name, last in calls.items()}


def formation_gradients(
    backend: TorchBackend,
    shared: ModelPass[TorchForward],
    axes: Sequence[int],
    numbers: Sequence[int],
    blocks: Sequence[str],
) -> list[torch.Tensor]:
    """See `attends.Attends.formation_gradients`."""
    kept: dict[tuple[str, int], torch.Tensor] = {}
    calls: dict[str, int] = {}

    def keep(name: str, _module: nn.Module, _arguments: tuple[Inputs, ...], output: torch.Tensor) -> torch.Tensor:
        calls[name] = calls.get(name, -1) + 1
        kept[name, calls[name]] = output
        return output.clone()

    modules = {name.partition("#")[0] for name in blocks}
    rectifiers = _rectifiers(shared)
    seeing, _ = _passed(backend.running, shared, numbers[0], rectifiers, dict.fromkeys(modules, keep))
    backend.view.calls.update(_counts(calls))
    parts = [name.partition("#") for name in blocks]
    outputs = [kept[name, int(call) if call else calls[name]] for name, _, call in parts]
    slopes = _slopes(backend, shared, blocks[-1], outputs, axes)
    weights = [seeing.weights[number] for number in numbers]
    with with_gradient(), _by_rule(rectifiers, shared):
        return [_pulled(z, a, slope) for z, a, slope in zip(outputs, weights, slopes, strict=True)]


def _slopes(
    backend: TorchBackend,
    shared: ModelPass[TorchForward],
    last: str,
    outputs: Sequence[torch.Tensor],
    axes: Sequence[int],
) -> list[torch.Tensor]:
    """By block, the gradient of its score s^l by its output tokens: (k, *output)."""
    batch, tokens = axes[0], tuple(axes[1:])
    means = [z.detach().mean(tokens, keepdim=True).expand_as(z) for z in outputs]
    raw = torch.cat(means, batch).contiguous()
    forward = TorchForward(
        shared.inputs, shared.outputs, {last: outputs[-1].detach()}, {}, shared.forward.rule, shared.forward.batch_size
    )
    with with_gradient():
        raw.requires_grad_()
        scores = shared.score(backend.tail(last, raw, batch, forward, len(outputs)))
        check_graph(scores, {last: raw}, backend.view.quantized)
        (gradient,) = by_columns(scores, [raw], batched=True)
    if gradient is None:
        raise ModelError(f"the scores do not depend on layer {last!r}. Use another method, such as 'gradcam'.")
    # Each token of a block counts as much as any other in the mean.
    across = tuple(axis + 1 for axis in tokens)
    shared_out = gradient.mean(across, keepdim=True).expand_as(gradient)
    return list(torch.split(shared_out, outputs[-1].shape[batch], batch + 1))


def _pulled(output: torch.Tensor, weights: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """The gradient by weights of each of ``slopes`` (k, *output) times the output: (k, *weights)."""
    try:
        (found,) = torch.autograd.grad(output, weights, slopes, is_grads_batched=True, retain_graph=True)
    except RuntimeError:  # some operation has no batched gradient
        rows = [torch.autograd.grad(output, weights, slope, retain_graph=True)[0] for slope in slopes]
        found = torch.stack(rows)
    return found
