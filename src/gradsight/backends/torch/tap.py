"""Running a view with some of its modules tapped."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from gradsight.backends.parts import Part, path_to
from gradsight.backends.torch.outputs import leaves_of, mapped
from gradsight.backends.torch.places import Place, Trial
from gradsight.errors import ModelError

Tap = Callable[[str, nn.Module, Any, torch.Tensor], torch.Tensor]
"""``(name, module, arguments, output) -> output``: what the rest of the model goes on with."""

_running = threading.local()


def maps_in(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's output that could be maps; the first is meant.

    One that comes alone, whatever it is; of several, those of real numbers that could have positions.
    """
    if isinstance(output, torch.Tensor):
        return [output]
    tensors = [x for x in leaves_of(output) if isinstance(x, torch.Tensor) and x.ndim >= 3]
    return list({id(x): x for x in tensors if x.is_floating_point() or x.is_quantized}.values())


class Pass:
    """The taps of one pass, each called at the place where its module's output is made.

    Args:
        taps: by module.
        places: see `places.Place`; without one, an output is what its module's forward gives.

    Attributes:
        parts: by module, where it gives several tensors that could be maps: how many, and where the one that is meant
            is in its output.
    """

    def __init__(self, taps: dict[str, Tap], places: dict[tuple[str, int], Place], parts: dict[str, Part]) -> None:
        self._taps, self._places, self.parts = taps, places, parts
        self._counts: dict[str, int] = {}
        self._given: dict[str, tuple[Any, int]] = {}
        self._within: dict[tuple[str, int, int], list[str]] = {}
        for (name, _), place in places.items():
            if name in taps and name != place.module:
                self._within.setdefault((place.module, place.call, place.gap), []).append(name)

    def at(self, name: str, gap: int, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """What the model goes on with in the place of ``output``."""
        if gap == 0:
            self._counts[name] = self._counts.get(name, -1) + 1
            self._given.pop(name, None)
        call = self._counts.get(name, 0)
        place = self._places.get((name, call), Place(name, call))
        asked = self._within.get((name, call, gap), [])
        if name in self._taps and place.module == name and place.gap == gap:
            asked = [name, *asked]
        if not asked:
            self._check(name, output)
            return output
        for asking in asked:
            output = _tapped(self._taps[asking], asking, module, arguments, output, place)
        self._given[name] = output, output._version
        return output

    def _check(self, name: str, output: torch.Tensor) -> None:
        """See that hooks act as they did in the trial: none that is still to come puts something else in its place."""
        if name in self._given and (self._given[name][0] is not output or self._given[name][1] != output._version):
            raise ModelError(
                f"a hook on layer {name!r} changes its output in one pass and leaves it alone in another: there "
                "is no telling what the layer's output is. Name another layer, or remove the hook."
            )


def _tapped(tap: Tap, name: str, module: nn.Module, arguments: Any, output: torch.Tensor, place: Place) -> torch.Tensor:
    if place.refused:
        raise ModelError(
            f"layer {place.module!r} cannot be told from what is kept beside it: the model goes on with its output by "
            "another way too, as where a hook replaces the output and keeps what it makes of its own, or where an "
            "output that is kept shares its memory with an input. Keep it in a hook of its own, or name another layer."
        )
    if not place.kept or output.requires_grad or not output.is_floating_point():
        return tap(name, module, arguments, output)
    given = tap(name, module, arguments, output.clone())
    return output.copy_(given)  # whoever holds the tensor goes on with the tap's


class _Gate:
    """A place in a module's call that does nothing unless the current thread runs the view for one of our passes."""

    def __init__(self, name: str, gap: int) -> None:
        self.name, self.gap = name, gap

    def __call__(self, module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
        now: Pass | None = getattr(_running, "now", None)
        if now is None:
            return output
        arguments = (*arguments, *keywords.values())
        found = maps_in(output)
        if not found:
            return output
        if len(found) > 1:
            now.parts[self.name] = len(found), path_to(found[0], output) or ""
        given = now.at(self.name, self.gap, module, arguments, found[0])
        if given is found[0]:
            return output
        return given if found[0] is output else mapped(lambda x: given if x is found[0] else x, output)


def install(modules: dict[str, nn.Module], names: Iterable[str]) -> None:
    """Put gates into the named modules of a view, once; they stay and sleep."""
    for name in names:
        module = modules[name]
        hooks: Any = module._forward_hooks
        if any(isinstance(hook, _Gate) and hook.name == name for hook in hooks.values()):
            continue
        own = list(hooks)
        module.__dict__["forward"] = _gated(module, _Gate(name, 0))  # before hooks that PyTorch calls for every module
        module.register_forward_hook(_Gate(name, 1), with_kwargs=True, prepend=True)
        for i in range(len(own)):
            module.register_forward_hook(_Gate(name, i + 2), with_kwargs=True)
            for after in own[i + 1 :]:
                hooks.move_to_end(after)


def _gated(module: nn.Module, gate: _Gate) -> Callable[..., Any]:
    forward = module.forward

    @functools.wraps(forward)
    def gated(*arguments: Any, **keywords: Any) -> Any:
        return gate(module, arguments, keywords, forward(*arguments, **keywords))

    return gated


@contextlib.contextmanager
def running(now: Pass | Trial) -> Iterator[None]:
    """Let the gates of this thread ask ``now``."""
    before = getattr(_running, "now", None)
    _running.now = now
    try:
        yield
    finally:
        _running.now = before


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
