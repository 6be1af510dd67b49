"""Keras on PyTorch: the tapped outputs become leaves, and variables ask for no gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsight.backends.keras.engines.graph import cuts_of
from gradsight.backends.keras.engines.replay import replayed
from gradsight.backends.keras.outputs import floating_in, tensors_in
from gradsight.backends.keras.trees import Form, mapped
from gradsight.backends.torch.biases import along_itself
from gradsight.backends.torch.probe import hessian_products
from gradsight.backends.torch.tail import Tail, checked_tail
from gradsight.backends.unchanged import unchanged
from gradsight.foreign import Inputs
from gradsight.locks import Lock
from gradsight.recent import PASSES, Recent


class Torch:
    """See `gradsight.backends.keras.engines`."""

    def __init__(self, view: Any) -> None:
        """Work on a view; its variables are looked up in every pass, and it keeps the traced tails."""
        self._variables, self._kept = view.variables, view.kept
        self._tracing = Lock()

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """See that nobody changes the weights within it, by how often each was written into."""
        return unchanged(lambda: [variable.value._version for variable in self._variables])

    def _scope(self) -> Any:
        """Variables without a gradient, and what a pass assigns to them stays within the pass."""
        return keras.StatelessScope([(v, v.value.detach()) for v in self._variables])

    def plain(self, _key: Any, body: Any, inputs: Inputs) -> Any:
        """The outputs, without a gradient."""
        with torch.inference_mode(False), torch.no_grad(), self._scope():
            return body(inputs, lambda _name, output: output)

    def each(self, body: Any, several: Sequence[Any]) -> Iterator[Any]:
        """The outputs for inputs of one kind, one after the other."""
        return (self.plain(None, body, inputs) for inputs in several)

    def linearize(self, _key: Any, body: Any, inputs: Inputs) -> tuple[Any, dict[str, Any], Callable[[Any], Any]]:
        """The outputs, what was held, and the way back."""
        held: dict[str, Any] = {}

        def start(name: str, output: Any) -> Any:
            held[name] = output.clone() if output.requires_grad else output.detach().requires_grad_()
            return held[name].clone()  # what follows may write into it

        with torch.inference_mode(False), torch.enable_grad(), self._scope():
            outputs = body(inputs, start)
        leaves = floating_in(outputs)
        live = [i for i, x in enumerate(leaves) if x.requires_grad]

        def pull(cotangents: list[Any]) -> dict[str, Any]:
            k = len(cotangents[0])
            if not live:
                return {name: x.new_zeros((k, *x.shape)) for name, x in held.items()}
            found = _pulled([leaves[i] for i in live], list(held.values()), [cotangents[i] for i in live])
            return dict(zip(held, found, strict=True))

        given = mapped(lambda x: x.detach() if isinstance(x, torch.Tensor) and x.requires_grad else x, outputs)
        return given, {name: x.detach() for name, x in held.items()}, pull

    def tail(self, key: Any, body: Any, name: str, raw: Any, forward: Any, times: int) -> Any:
        """The outputs with ``raw`` in the place of what was held; row j of ``raw`` belongs to row j % n."""
        if torch.is_grad_enabled() and raw.requires_grad:  # a traced tail may use what has no second derivative
            with sdpa_kernel(SDPBackend.MATH):
                return self._replay(body, name, forward.more(times), raw)
        with torch.inference_mode(False), torch.no_grad():
            if name not in forward.tails:
                forward.tails[name] = self._believed(key, body, name, forward)
            if forward.tails[name] is None:
                return self._replay(body, name, forward.more(times), raw)
            tail, bypasses = forward.tails[name]
            return tail(raw.contiguous(), bypasses, times)

    def _replay(self, body: Any, name: str, inputs: Inputs, raw: Any) -> Any:
        with self._scope():  # its own: what a pass that is traced assigns must not be found by the next
            return replayed(body, name)([inputs, raw], None)

    def _believed(self, key: Any, body: Any, name: str, forward: Any) -> tuple[Tail, tuple[torch.Tensor, ...]] | None:
        """The traced tail, which gives this pass's outputs again, with what bypasses it; None where there is none."""
        held, inputs = forward.held[name], forward.inputs
        sizes = tuple(tuple(x.shape[1:]) for x in tensors_in(inputs))
        place = (key, name, held.dtype, held.shape[1:], Form(inputs), sizes)
        with self._tracing:
            tails = self._kept.of(sizes, partial(Recent, PASSES))
            kept: Tail | None = tails.get(place)
            if kept is not None:
                bypasses = kept.bypasses(inputs, held)
                if kept.gives(forward.outputs, held, bypasses):
                    return kept, bypasses
            if kept is not None or place not in tails:
                kept = tails[place] = checked_tail(
                    lambda fed, z: self._replay(body, name, fed, z), inputs, forward.outputs, held, 0
                )
            return None if kept is None else (kept, kept.bypasses(inputs, held))

    activations = torch.nn.functional
    aside = staticmethod(torch.no_grad)

    def place(self) -> Any:
        """Which function transform is at work: within `torch.vmap`, tensors are those of one step."""
        return torch._C._functorch.maybe_current_level()

    def slopes(self, function: Any, tensors: list[Any]) -> tuple[Any, list[Any]]:
        """Values (n, k) of tensors, and each column's sum by each tensor."""
        with torch.inference_mode(False), torch.enable_grad():
            tensors = [x.detach().clone().requires_grad_() for x in tensors]
            values = function(tensors)
            k = values.shape[1]
            if not values.requires_grad:
                return values, [x.new_zeros((k, *x.shape)) for x in tensors]
            each = torch.eye(k, dtype=values.dtype, device=values.device)[:, None].expand(k, *values.shape)
            return values.detach(), _pulled([values], tensors, [each])

    def along(self, function: Any, tensors: list[Any]) -> Any:
        """The derivative of a tensor by ``tensors`` in the direction of themselves."""
        return along_itself(function, [x.detach() for x in tensors])

    def curvature(self, function: Any, leaf: Any, direction: Any) -> list[Any]:
        """The Hessian of each column's sum by ``leaf``, times ``direction``."""
        return hessian_products(function, leaf, direction)

    def cuts(self, body: Any, inputs: list[Any]) -> set[str]:
        """The started tensors that every path from the first input passes."""
        marked: dict[str, Any] = {}
        source = inputs[0].detach().clone().requires_grad_()

        def start(name: str, output: Any) -> Any:
            if not output.requires_grad:
                return output
            output = output.clone()
            marked[name] = output.grad_fn
            return output

        with torch.inference_mode(False), torch.enable_grad(), self._scope():
            end = body([source.clone(), *inputs[1:]], start).grad_fn
        nodes: dict[Any, list[Any]] = {}

        def before(node: Any) -> list[Any]:  # kept, so that a node stays one object
            if node not in nodes:
                nodes[node] = [child for child, _ in node.next_functions if child is not None]
            return nodes[node]

        if end is None:
            return set()
        leaf = _leaf(end, source, before)
        return set() if leaf is None else cuts_of(end, leaf, before, marked)


def _leaf(end: Any, source: Any, before: Callable[[Any], list[Any]]) -> Any:
    seen, stack = {end}, [end]
    while stack:
        node = stack.pop()
        if getattr(node, "variable", None) is source:
            return node
        new = [child for child in before(node) if child not in seen]
        seen.update(new)
        stack.extend(new)
    return None


def _pulled(outputs: list[Any], held: list[Any], cotangents: list[Any]) -> list[Any]:
    """In one batched backward pass, or one by one where that fails."""
    k = len(cotangents[0])
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if k > 1:
        with contextlib.suppress(RuntimeError):  # some operation has no batched gradient
            batched = torch.autograd.grad(outputs, held, cotangents, is_grads_batched=True, **options)
            return [x.new_zeros((k, *x.shape)) if g is None else g for x, g in zip(held, batched, strict=True)]
    rows = [torch.autograd.grad(outputs, held, [c[j] for c in cotangents], **options) for j in range(k)]
    return [
        torch.stack([torch.zeros_like(x) if g is None else g for g in parts])
        for x, parts in zip(held, zip(*rows, strict=True), strict=True)
    ]
