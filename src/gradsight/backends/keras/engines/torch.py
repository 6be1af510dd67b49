"""Keras on PyTorch: the tapped outputs become leaves, and variables ask for no gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsight.backends.keras.engines.once import slopes_of, starting_at
from gradsight.backends.keras.engines.protocol import Body, Linearized
from gradsight.backends.keras.engines.replay import replayed
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.forward import Tail as Behind
from gradsight.backends.keras.outputs import floating_in, tensors_in
from gradsight.backends.keras.trees import Form, mapped
from gradsight.backends.torch.biases import along_itself
from gradsight.backends.torch.cutting import checked_tail
from gradsight.backends.torch.derivatives import hessian_products
from gradsight.backends.torch.graph import Node, dominators, topological
from gradsight.backends.torch.tail import Tail
from gradsight.backends.unchanged import unchanged
from gradsight.foreign import Inputs, Outputs
from gradsight.locks import Lock
from gradsight.recent import PASSES, Recent

if TYPE_CHECKING:
    from gradsight.backends.ablation import Ablation
    from gradsight.backends.keras.view import View


class Torch:
    """See `protocol.Engine`."""

    def __init__(self, view: View) -> None:
        """Work on a view; its variables are looked up in every pass, and it keeps the traced tails."""
        self._variables, self._kept = view.variables, view.kept
        self._tracing = Lock()

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the weights within it, by how often each was written into."""
        return unchanged(lambda: [variable.value._version for variable in self._variables])

    def _scope(self) -> contextlib.AbstractContextManager[object]:
        """Variables without a gradient, and what a pass assigns to them stays within the pass."""
        scope: contextlib.AbstractContextManager[object] = keras.StatelessScope(
            [(v, v.value.detach()) for v in self._variables]
        )
        return scope

    def plain(self, key: Hashable | None, body: Body, inputs: Inputs) -> Outputs:  # noqa: ARG002 - compiles nothing
        """The outputs, without a gradient."""
        with torch.inference_mode(False), torch.no_grad(), self._scope():
            return body(inputs, _unstarted)

    def each(self, key: Hashable, body: Body, several: Sequence[Inputs]) -> Iterator[Outputs]:  # noqa: ARG002
        """The outputs for inputs of one kind, one after the other."""
        return (self.plain(None, body, inputs) for inputs in several)

    def gradients(self, body: Body, inputs: Inputs, leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of a body that gives one number its gradients at some of the tensors that it starts at."""
        return slopes_of(self.linearize(None, starting_at(leaves, body), inputs))

    def linearize(self, key: Hashable, body: Body, inputs: Inputs) -> Linearized:  # noqa: ARG002 - compiles nothing
        """The outputs, the leaves, and the way back."""
        leaves: dict[str, torch.Tensor] = {}

        def start(name: str, output: torch.Tensor) -> torch.Tensor:
            leaves[name] = output.clone() if output.requires_grad else output.detach().requires_grad_()
            return leaves[name].clone()  # what follows may write into it

        with torch.inference_mode(False), torch.enable_grad(), self._scope():
            outputs = body(inputs, start)
        ends = floating_in(outputs)
        live = [i for i, x in enumerate(ends) if x.requires_grad]

        def pull(cotangents: list[torch.Tensor]) -> dict[str, torch.Tensor]:
            k = len(cotangents[0])
            if not live:
                return {name: x.new_zeros((k, *x.shape)) for name, x in leaves.items()}
            gradients = _pulled([ends[i] for i in live], list(leaves.values()), [cotangents[i] for i in live])
            return dict(zip(leaves, gradients, strict=True))

        # Without the graph, which the way back holds: a caller that keeps the outputs need not keep it.
        bare = mapped(lambda x: x.detach() if isinstance(x, torch.Tensor) and x.requires_grad else x, outputs)
        return Linearized(bare, {name: x.detach() for name, x in leaves.items()}, pull)

    def tail(
        self, name: str, raw: torch.Tensor, forward: KerasForward, more: Callable[[], Inputs], times: int
    ) -> Outputs:
        """The outputs with ``raw`` in the place of a leaf; row j of ``raw`` belongs to row j % n."""
        if torch.is_grad_enabled() and raw.requires_grad:  # a traced tail may use what has no second derivative
            with sdpa_kernel(SDPBackend.MATH):
                return self._replay(forward.body, name, more(), raw)
        with torch.inference_mode(False), torch.no_grad():
            if name not in forward.tails:
                forward.tails[name] = self._believed(name, forward)
            tail = forward.tails[name]
            return self._replay(forward.body, name, more(), raw) if tail is None else tail(raw.contiguous(), times)

    def ablated(self, name: str, ablation: Ablation, forward: KerasForward) -> None:
        """None: a mask costs no more than a copy."""

    def rounds_at_once(self, _name: str, _ablation: Ablation, _forward: KerasForward) -> int:
        """One: a round takes what its copies of the leaf take."""
        return 1

    def _replay(self, body: Body, name: str, inputs: Inputs, raw: torch.Tensor) -> Outputs:
        with self._scope():  # its own: what a pass that is traced assigns must not be found by the next
            return replayed(body, name)([inputs, raw], _unstarted)

    def _believed(self, name: str, forward: KerasForward) -> Behind | None:
        """The traced tail, which gives this pass's outputs again, with what bypasses it; None where there is none."""
        leaf, inputs = forward.leaves[name], forward.inputs
        sizes = tuple(tuple(x.shape[1:]) for x in tensors_in(inputs))
        key = (forward.key, name, leaf.dtype, leaf.shape[1:], Form(inputs), sizes)
        with self._tracing:
            tails = self._kept.of(sizes, partial(Recent[Hashable, Tail | None], PASSES))
            kept: Tail | None = tails.get(key)
            if kept is not None:
                bypasses = kept.bypasses(inputs, leaf)
                if kept.gives(forward.outputs, leaf, bypasses):
                    return _behind(kept, bypasses)
            # One that no longer holds is traced again; that a layer has none is remembered, and not tried again.
            if kept is not None or key not in tails:
                run = partial(self._replay, forward.body, name)
                kept = tails[key] = checked_tail(run, inputs, forward.outputs, leaf, 0)
            return None if kept is None else _behind(kept, kept.bypasses(inputs, leaf))

    serves_any_rows = False
    activations = torch.nn.functional
    aside = staticmethod(torch.no_grad)

    def trace_level(self) -> object:
        """Which function transform is at work: within `torch.vmap`, tensors are those of one step."""
        return torch._C._functorch.maybe_current_level()

    @staticmethod
    def like(values: NDArray[np.bool_], tensor: torch.Tensor) -> torch.Tensor:
        """Ones and zeros as a tensor, in the precision and on the device of another."""
        return torch.from_numpy(values).to(tensor)

    def slopes(
        self, function: Callable[[list[torch.Tensor]], torch.Tensor], tensors: list[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Values (n, k) of tensors, and each column's sum by each tensor."""
        with torch.inference_mode(False), torch.enable_grad():
            tensors = [x.detach().clone().requires_grad_() for x in tensors]
            values = function(tensors)
            k = values.shape[1]
            if not values.requires_grad:
                return values, [x.new_zeros((k, *x.shape)) for x in tensors]
            each = torch.eye(k, dtype=values.dtype, device=values.device)[:, None].expand(k, *values.shape)
            return values.detach(), _pulled([values], tensors, [each])

    def along(self, function: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> torch.Tensor:
        """The derivative of a tensor by ``tensors`` in the direction of themselves."""
        return along_itself(function, [x.detach() for x in tensors])

    def curvature(
        self, function: Callable[[torch.Tensor], torch.Tensor], leaf: torch.Tensor, direction: torch.Tensor
    ) -> list[torch.Tensor]:
        """The Hessian of each column's sum by ``leaf``, times ``direction``."""
        return hessian_products(function, leaf, direction)

    def cuts(self, body: Body, inputs: Sequence[torch.Tensor]) -> set[str]:
        """The started tensors that every path from the first input passes."""
        marked: dict[str, Node | None] = {}
        source = inputs[0].detach().clone().requires_grad_()

        def start(name: str, output: torch.Tensor) -> torch.Tensor:
            if not output.requires_grad:
                return output
            output = output.clone()
            marked[name] = output.grad_fn
            return output

        with torch.inference_mode(False), torch.enable_grad(), self._scope():
            end: torch.Tensor = body([source.clone(), *inputs[1:]], start)
        passed = dominators(topological(end.grad_fn), source)
        return {name for name, node in marked.items() if node in passed}


def _unstarted(_name: str, output: torch.Tensor) -> torch.Tensor:
    return output


def _behind(tail: Tail, bypasses: tuple[torch.Tensor, ...]) -> Behind:
    return lambda raw, times: tail(raw, bypasses, times)


def _pulled(
    outputs: list[torch.Tensor], leaves: list[torch.Tensor], cotangents: list[torch.Tensor]
) -> list[torch.Tensor]:
    """In one batched backward pass, or one by one where that fails."""
    k = len(cotangents[0])
    grad = partial(torch.autograd.grad, retain_graph=True, allow_unused=True)
    if k > 1:
        with contextlib.suppress(RuntimeError):  # some operation has no batched gradient
            batched = grad(outputs, leaves, cotangents, is_grads_batched=True)
            return [x.new_zeros((k, *x.shape)) if g is None else g for x, g in zip(leaves, batched, strict=True)]
    rows = [grad(outputs, leaves, [c[j] for c in cotangents]) for j in range(k)]
    return [
        torch.stack([torch.zeros_like(x) if g is None else g for g in parts])
        for x, parts in zip(leaves, zip(*rows, strict=True), strict=True)
    ]
