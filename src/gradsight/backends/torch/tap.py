"""Running a view with some of its modules tapped."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import nn

from gradsight.backends.parts import path_to
from gradsight.backends.torch.outputs import flat, mapped
from gradsight.backends.torch.tap_points import TapPoint, TapSearch
from gradsight.backends.wanted import Wanted
from gradsight.contracts import Part
from gradsight.errors import ModelError
from gradsight.foreign import Inputs, Outputs

Tap: TypeAlias = Callable[[str, nn.Module, tuple[Inputs, ...], torch.Tensor], torch.Tensor]
"""``(name, module, arguments, output) -> output``: what the rest of the model goes on with."""

_running = threading.local()


def maps_in(output: Outputs) -> list[torch.Tensor]:
    """The tensors of a module's output that could be maps; the first is meant.

    One that comes alone, whatever it is; of several, those of real numbers that could have positions.
    """
    if isinstance(output, torch.Tensor):
        return [output]
    tensors = [x for x in flat(output) if isinstance(x, torch.Tensor) and x.ndim >= 3]
    return list({id(x): x for x in tensors if x.is_floating_point() or x.is_quantized}.values())


_AT_FORWARD = TapPoint("", 0)
"""Where nothing else was learned, an output is tapped where its module's forward gives it."""


class Pass:
    """The taps of one pass, each called at the point where its module's output is made.

    Args:
        taps: by module.
        points: see `tap_points.TapPoint`; without one, an output is what its module's forward gives.

    Attributes:
        parts: by module, where it gives several tensors that could be maps: how many, and where the one that is meant
            is in its output.
    """

    def __init__(
        self, taps: Mapping[str, Tap], points: Mapping[tuple[str, int], TapPoint], parts: dict[str, Part]
    ) -> None:
        self._taps, self._points, self.parts = taps, points, parts
        self._counts: dict[str, int] = {}
        self._tapped: dict[str, tuple[torch.Tensor, int]] = {}
        self._within: dict[tuple[str, int, int], list[str]] = {}
        for (name, _), point in points.items():
            if name in taps and name != point.module:
                self._within.setdefault((point.module, point.call, point.gap), []).append(name)

    def at(
        self, name: str, gap: int, module: nn.Module, arguments: tuple[Inputs, ...], output: torch.Tensor
    ) -> torch.Tensor:
        """What the model goes on with in the place of ``output``."""
        if gap == 0:
            self._counts[name] = self._counts.get(name, -1) + 1
            self._tapped.pop(name, None)
        call = self._counts.get(name, 0)
        point = self._points.get((name, call), _AT_FORWARD)
        asked = self._within.get((name, call, gap), [])
        is_here = gap == 0 if point is _AT_FORWARD else point.module == name and point.gap == gap
        if name in self._taps and is_here:
            asked = [name, *asked]
        if not asked:
            self._check(name, output)
            return output
        for asking in asked:
            output = _tapped(self._taps[asking], asking, module, arguments, output, point)
        self._tapped[name] = output, output._version
        return output

    def _check(self, name: str, output: torch.Tensor) -> None:
        """See that hooks act as they did in the trial: none that is still to come puts something else in its place."""
        if name in self._tapped and (self._tapped[name][0] is not output or self._tapped[name][1] != output._version):
            raise ModelError(
                f"a hook on layer {name!r} changes its output in one pass and leaves it alone in another: there "
                "is no telling what the layer's output is. Name another layer, or remove the hook."
            )


def _tapped(
    tap: Tap, name: str, module: nn.Module, arguments: tuple[Inputs, ...], output: torch.Tensor, point: TapPoint
) -> torch.Tensor:
    if point.refused:
        raise ModelError(
            f"layer {point.module!r} cannot be told from what is kept beside it: the model goes on with its output by "
            "another way too, as where a hook replaces the output and keeps what it makes of its own, or where an "
            "output that is kept shares its memory with an input. Keep it in a hook of its own, or name another layer."
        )
    if not point.kept or output.requires_grad or not output.is_floating_point():
        return tap(name, module, arguments, output)
    tapped = tap(name, module, arguments, output.clone())
    return output.copy_(tapped)  # whoever holds the tensor goes on with the tap's


class _Gate:
    """A point in a module's call that does nothing unless the current thread runs the view for one of our passes."""

    def __init__(self, name: str, gap: int) -> None:
        self.name, self.gap = name, gap

    def __call__(
        self, module: nn.Module, arguments: tuple[Inputs, ...], keywords: dict[str, Inputs], output: Outputs
    ) -> Outputs:
        now: Pass | TapSearch | None = getattr(_running, "now", None)
        if now is None:
            return output
        arguments = (*arguments, *keywords.values())
        maps = maps_in(output)
        if not maps:
            return output
        if len(maps) > 1:
            now.parts[self.name] = len(maps), path_to(maps[0], output) or ""
        tapped = now.at(self.name, self.gap, module, arguments, maps[0])
        if tapped is maps[0]:
            return output
        if maps[0] is output:
            return tapped
        return mapped(lambda x: tapped if x is maps[0] else x, output)


def install(modules: dict[str, nn.Module], names: Iterable[str]) -> None:
    """Put gates into the named modules of a view, once; they stay and sleep.

    There is one right behind forward, and one behind each of the user's hooks: a hook may put something else in the
    place of what the module gave.
    """
    for name in names:
        module = modules[name]
        hooks: OrderedDict[int, Callable[..., Outputs]] = module._forward_hooks  # type: ignore[assignment]
        if any(isinstance(hook, _Gate) and hook.name == name for hook in hooks.values()):
            continue
        own = list(hooks)
        module.__dict__["forward"] = _gated(module, _Gate(name, 0))  # before hooks that PyTorch calls for every module
        module.register_forward_hook(_Gate(name, 1), with_kwargs=True, prepend=True)
        # PyTorch calls hooks in the order of their dict: each gate is appended, and the later hooks moved behind it.
        for i in range(len(own)):
            module.register_forward_hook(_Gate(name, i + 2), with_kwargs=True)
            for after in own[i + 1 :]:
                hooks.move_to_end(after)


def _gated(module: nn.Module, gate: _Gate) -> Callable[..., Outputs]:
    forward = module.forward

    @functools.wraps(forward)
    def gated(*arguments: Any, **keywords: Any) -> Outputs:
        return gate(module, arguments, keywords, forward(*arguments, **keywords))

    return gated


class running:  # noqa: N801 - used as a function
    """Within it the gates of this thread ask ``now``."""

    def __init__(self, now: Pass | TapSearch) -> None:
        self._now, self._before = now, getattr(_running, "now", None)

    def __enter__(self) -> None:
        _running.now = self._now

    def __exit__(self, *_error: object) -> None:
        _running.now = self._before


class LeafTap:
    """A tap that makes the layers' outputs leaves, where the graph starts, and keeps them.

    Attributes:
        modules: the names of the modules to tap.
        leaves: by layer name, the output as the gradient is taken with respect to it.
        calls: by module name, how often it ran.
    """

    def __init__(self, layers: Iterable[str], known_calls: dict[str, int]) -> None:
        """Keep the output of each layer: of its module's last call, or of call i for a name ending in ``#i``.

        Args:
            layers: layer names.
            known_calls: how often modules ran before; without it every call of a module is kept until the next.
        """
        self._wanted = Wanted(layers, known_calls)
        self.calls = self._wanted.calls
        self.modules = list(self.calls)
        self.leaves: dict[str, torch.Tensor] = {}

    def __call__(
        self, name: str, _module: nn.Module, arguments: tuple[Inputs, ...], output: torch.Tensor
    ) -> torch.Tensor:
        """Make ``output`` a leaf if it is wanted, and give the model a copy to go on with."""
        layer = self._wanted.called(name)
        if layer is None:
            return output
        if not output.is_floating_point():  # it can carry no gradient
            self.leaves[layer] = output.dequantize() if output.is_quantized else output
            return output
        torch.set_grad_enabled(True)  # the model's own no_grad blocks restore their mode when they end
        # Behind another leaf an output has a graph already, and one backward pass goes through
        # both; else the graph starts here, and nothing before it is kept.
        if not output.requires_grad:
            # A module that hands its argument through (dropout, identity) shares it with the code around it, which may
            # write into it; inference tensors can carry no gradient. Both need memory of their own.
            shared = output.is_inference() or any(output is argument for argument in arguments)
            output = (output.clone() if shared else output).detach().requires_grad_()
        self.leaves[layer] = output
        return output.clone()  # in-place operations that follow are legal on it and leave the leaf alone


def numbered(see: Callable[[str, torch.Tensor | None], None]) -> Tap:
    """A tap that shows each call, ``name#0`` the first of a module, and the real numbers that it gave."""
    calls: dict[str, int] = {}

    def tap(name: str, _module: nn.Module, _arguments: tuple[Inputs, ...], output: torch.Tensor) -> torch.Tensor:
        calls[name] = calls.get(name, -1) + 1
        numbers = output.dequantize() if output.is_quantized else output
        see(f"{name}#{calls[name]}", numbers if numbers.is_floating_point() else None)
        return output

    return tap


def replacing(value: torch.Tensor, call: int) -> Tap:
    """A tap that puts ``value`` in the place of the output of the given call, quantized where that is."""
    count = 0

    def tap(_name: str, _module: nn.Module, _arguments: tuple[Inputs, ...], output: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if call != count - 1:
            return output
        if output.is_quantized:
            return torch.quantize_per_tensor(value, output.q_scale(), output.q_zero_point(), output.dtype)
        return value

    return tap
