"""Running a view with some of its modules tapped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

Tap = Callable[[str, nn.Module, Any, torch.Tensor], torch.Tensor]
"""``(name, module, arguments, output) -> output``: what the rest of the model goes on with."""

_running = threading.local()


def _main_tensor(leaves: Sequence[Any]) -> int | None:
    """Which leaf of a module's output is the map: the first tensor of real numbers that could hold positions."""
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_quantized) and leaf.ndim >= 3:
            return i
    return None


class _Hook:
    """A forward hook that does nothing unless the current thread runs the view for one of our passes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
        tap = getattr(_running, "taps", {}).get(self.name)
        if tap is None:
            return output
        if isinstance(output, torch.Tensor):
            return tap(self.name, module, (*arguments, *keywords.values()), output)
        leaves, spec = pytree.tree_flatten(output)
        main = _main_tensor(leaves)
        if main is None:
            return output
        leaves[main] = tap(self.name, module, (*arguments, *keywords.values()), leaves[main])
        return pytree.tree_unflatten(leaves, spec)


def install(modules: dict[str, nn.Module], names: Sequence[str]) -> None:
    """Hook the named modules of a view, once; the hooks stay and sleep."""
    for name in names:
        module = modules[name]
        if not any(isinstance(hook, _Hook) and hook.name == name for hook in module._forward_hooks.values()):
            module.register_forward_hook(_Hook(name), with_kwargs=True)


@contextlib.contextmanager
def tapped(taps: dict[str, Tap]) -> Iterator[None]:
    """Let ``taps`` see, and replace, what their modules give in this thread."""
    before = getattr(_running, "taps", {})
    _running.taps = taps
    try:
        yield
    finally:
        _running.taps = before


class Holder:
    """A tap that makes the layers' outputs the start of the graph and keeps them.

    Attributes:
        modules: the names of the modules to tap.
        held: by layer name, the output as the gradient is taken with respect to it.
        calls: by module name, how often it ran.
    """

    def __init__(self, layers: Iterable[str], known_calls: dict[str, int]) -> None:
        """Keep the output of each layer: of its module's last call, or of call i for a name ending in ``#i``.

        Args:
            layers: layer names.
            known_calls: how often modules ran before; without it every call of a module is held until the next.
        """
        self._wanted: dict[str, dict[int | None, str]] = {}
        for layer in layers:
            module, _, call = layer.partition("#")
            last = known_calls[module] - 1 if module in known_calls else None
            self._wanted.setdefault(module, {})[int(call) if call.isdigit() else last] = layer
        self.modules = list(self._wanted)
        self.held: dict[str, torch.Tensor] = {}
        self.calls = dict.fromkeys(self._wanted, 0)

    def __call__(self, name: str, _module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """Hold ``output`` if it is wanted, and give the model a copy to go on with."""
        call, wanted = self.calls[name], self._wanted[name]
        self.calls[name] = call + 1
        layer = wanted.get(call, wanted.get(None))
        if layer is None:
            return output
        if not output.is_floating_point():  # it can carry no gradient
            self.held[layer] = output.dequantize() if output.is_quantized else output
            return output
        torch.set_grad_enabled(True)  # the model's own no_grad blocks restore their mode when they end
        if not output.requires_grad:
            # A module that hands its argument through (dropout, identity) shares it with the code around it, which may
            # write into it; inference tensors can carry no gradient. Both need memory of their own.
            shared = output.is_inference() or any(output is argument for argument in arguments)
            output = (output.clone() if shared else output).detach().requires_grad_()
        self.held[layer] = output
        return output.clone()  # in-place operations that follow are legal on it and leave what is held alone


def numbered(see: Callable[[str, torch.Tensor | None], None]) -> Tap:
    """A tap that shows each call, ``name#0`` the first of a module, and the real numbers that it gave."""
    calls: dict[str, int] = {}

    def tap(name: str, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        calls[name] = calls.get(name, -1) + 1
        numbers = output.dequantize() if output.is_quantized else output
        see(f"{name}#{calls[name]}", numbers if numbers.is_floating_point() else None)
        return output

    return tap


def replacing(value: torch.Tensor, call: int) -> Tap:
    """A tap that puts ``value`` in the place of the output of the given call, quantized where that is."""
    count = 0

    def tap(_name: str, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if call != count - 1:
            return output
        if output.is_quantized:
            return torch.quantize_per_tensor(value, output.q_scale(), output.q_zero_point(), output.dtype)
        return value

    return tap
