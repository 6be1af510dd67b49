"""Random numbers of a pass's own: those of the process, which other threads may draw too, are never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradsight.foreign import Array
from gradsight.locks import Lock

Operator: TypeAlias = torch._ops.OpOverload[..., Any]

Arguments: TypeAlias = tuple[Any, ...]
"""What an operator is called with by position: tensors, numbers, lists of them."""

Keywords: TypeAlias = dict[str, Any]

_SEEDED = torch.Tag.nondeterministic_seeded
_PROBABILITIES = ("dropout_p", "dropout", "p")
_borrowing = Lock()


class OwnNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, and in this thread, what PyTorch draws comes from generators of its own.

    Each begins as the process's own is at its first draw, so that ``torch.manual_seed`` counts, and a pass draws the
    same whenever it runs again.

    Attributes:
        drew: something was drawn.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled within a pass, and to say so PyTorch would load its compiler: 2 s at first use.
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drew = False
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Operator, types: Iterable[type], args: Arguments = (), kwargs: Keywords | None = None
    ) -> Array:
        """Run one operator."""
        kwargs = kwargs or {}
        if _SEEDED not in getattr(func, "tags", ()) or not _draws(func, args, kwargs):
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:  # the model's own, which its state is restored with
            return func(*args, **kwargs)
        self.drew = True
        generator = self._generator(_device(args, kwargs))
        if func is torch.ops.aten.native_dropout.default:
            return _dropped(*args, generator=generator)
        seeded = _with_generator(func)
        if seeded is not None:
            return seeded(*args, **{**kwargs, "generator": generator})
        return _lent(generator, lambda: func(*args, **kwargs))

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).set_state(_of_process(device).get_state())
        return self._generators[device]


def _draws(func: Operator, args: Arguments, kwargs: Mapping[str, Any]) -> bool:
    """Whether an operator that may draw does: one with a probability of 0 of dropping anything does not."""
    for argument, value in zip(func._schema.arguments, args, strict=False):
        kwargs = {**kwargs, argument.name: value}
    if kwargs.get("train") is False:
        return False
    defaults = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
    shares = [kwargs.get(name, defaults.get(name)) for name in _PROBABILITIES if _is_share(func, name)]
    return not shares or any(shares)


def _is_share(func: Operator, name: str) -> bool:
    """Whether an argument is the share of what is dropped, and no parameter of a distribution."""
    dropping = any(word in func._schema.name for word in ("dropout", "attention", "rnn", "lstm", "gru"))
    return dropping and any(argument.name == name for argument in func._schema.arguments)


@cache
def _with_generator(func: Operator) -> Operator | None:
    """The overload of an operator that takes a generator; None where there is none."""

    def told(overload: Operator) -> list[tuple[str, str]]:
        return [(a.name, str(a.type)) for a in overload._schema.arguments if a.name != "generator"]

    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    packet = func.overloadpacket
    others = (getattr(packet, name) for name in packet.overloads())
    return next((x for x in others if told(x) == told(func) and x._schema != func._schema), None)


def _device(args: Arguments, kwargs: Keywords) -> torch.device:
    for x in (*args, *kwargs.values()):
        if isinstance(x, torch.Tensor):
            return x.device
    return torch.empty(0, device=kwargs.get("device")).device


def _of_process(device: torch.device) -> torch.Generator:
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        return torch.cuda.default_generators[device.index or 0]
    return getattr(torch, device.type).default_generators[device.index or 0]  # type: ignore[no-any-return]


def _dropped(
    x: torch.Tensor, share: float, _train: bool | None = True, *, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.empty_like(x).bernoulli_(1 - share, generator=generator)
    return x * mask / (1 - share) if share < 1 else x * 0, mask.bool()


def _lent(generator: torch.Generator, run: Callable[[], Array]) -> Array:
    """Run what takes no generator, such as attention on a GPU that drops out: the process's is lent for the moment."""
    process = _of_process(generator.device)
    with _borrowing:
        before = process.get_state()
        process.set_state(generator.get_state())
        try:
            return run()
        finally:
            generator.set_state(process.get_state())
            process.set_state(before)
