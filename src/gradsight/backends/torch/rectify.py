"""Other rules for the gradient of rectifiers: noted in the plain pass, and followed on the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from gradsight.backends.rectifiers import NONE_RAN, RULES, tried
from gradsight.backends.torch.gradients import no_gradient_in
from gradsight.backends.torch.relu import RELU, ReluStep, Rule
from gradsight.errors import ModelError, unknown
from gradsight.foreign import Outputs
from gradsight.generators import OwnNumbers
from gradsight.recent import Recent

Function: TypeAlias = Callable[..., Outputs]

Gradients: TypeAlias = tuple[torch.Tensor | None, ...]
"""What a node of the graph takes or gives."""

# Where PyTorch keeps activations; `torch`, tensors and PyTorch's own C++ have some of them under the same names.
_NAMES = {name.strip("_") for name in dir(F) if callable(getattr(F, name))}


class _Kind(NamedTuple):
    """What a trial shows of a function.

    Attributes:
        rectifies: it is a rectifier.
        in_place: it writes into its argument.
        direct: its result's gradient goes to its argument in one step of the graph.
    """

    rectifies: bool
    in_place: bool
    direct: bool


_kinds: Recent[Hashable, _Kind] = Recent(256)


class _Noted(NamedTuple):
    """A rectifier in the graph of a pass.

    Attributes:
        after: where the gradient of its result arrives.
        before: where that of its argument arrives, of a copy that nothing else reads; or, where the step behind
            ``after`` leads to the argument itself, the number of that step.
    """

    after: GradientEdge
    before: GradientEdge | int

    def cut(self, rule: str) -> Iterator[RemovableHandle]:
        """Let gradients pass by a rule until the hooks are removed."""
        node, number = self.after.node, self.after.output_nr
        passed: list[torch.Tensor | None] = []

        def positive(gradients: Gradients) -> Gradients:
            return _with(gradients, number, _positive(gradients[number]))

        def lent(gradients: Gradients) -> Gradients:
            passed[:] = [_positive(gradients[number])]
            return _with(gradients, number, passed[0])

        def instead(gradients: Gradients, place: int, new: torch.Tensor | None) -> Gradients:
            old = gradients[place]
            return _with(gradients, place, old if old is None or new is None else new.to(old.dtype))

        # "guided" leaves the true derivative to what comes next; of deconvnet there is none.
        if rule == "guided":
            yield node.register_prehook(positive)
        elif isinstance(self.before, int):
            place = self.before
            yield node.register_hook(lambda made, came: instead(made, place, _positive(came[number])))
        else:
            copy = self.before
            yield node.register_prehook(lent)
            # Nothing is held that is on its way further: autograd adds into what is nobody else's.
            yield copy.node.register_prehook(lambda gradients: instead(gradients, copy.output_nr, passed.pop()))


def _positive(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.relu()


def _with(gradients: Sequence[torch.Tensor | None], place: int, gradient: torch.Tensor | None) -> Gradients:
    return (*gradients[:place], gradient, *gradients[place + 1 :])


class Rectifiers(TorchFunctionMode):
    """Within it, rectifiers are noted; then gradients of that graph can pass them by other rules, see `by`.

    The pass is the plain one, bit for bit: rectifiers are called as the model calls them, at most on a copy.

    ``"guided"`` (guided backpropagation, arXiv:1412.6806): the positive part, times the true derivative.
    ``"deconvnet"`` (arXiv:1311.2901): the positive part, whatever went forward.
    For ReLU these are the papers' rules. The same is done at every function of ``torch.nn.functional`` that is a
    rectifier by trial, see `gradsight.backends.rectifiers`; activations written out by hand (``x * x.sigmoid()``) are
    not recognised and keep their true derivative.

    Attributes:
        met: how many rectifiers ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = 0
        self._noted: list[_Noted] = []
        self._rule = Rule()

    def __torch_function__(
        self, func: Function, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Outputs:
        """Note what a rectifier makes; everything goes its way."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").strip("_") not in _NAMES or not (args or "input" in kwargs):
            return func(*args, **kwargs)
        named = dict(kwargs)
        x, rest = (args[0], args[1:]) if args else (named.pop("input"), ())
        kind = _kind(func, rest, named)
        self.met += kind.rectifies
        if not (kind.rectifies and torch.is_grad_enabled() and x.requires_grad):
            return func(*args, **kwargs)

        def called(value: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = func(value, *rest, **named)
            return result

        # What is written into a view has its node in the graph of the view's base, and more steps around it.
        is_step = kind.direct and not (kind.in_place and x._is_view())
        if is_step and func in RELU:
            return ReluStep.apply(x, called, self._rule)  # type: ignore[no-untyped-call]
        return self._called(called, x, is_step=is_step, in_place=kind.in_place)

    def _called(
        self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *, is_step: bool, in_place: bool
    ) -> torch.Tensor:
        if is_step:
            edge = get_gradient_edge(x)
            result = function(x)
            after = get_gradient_edge(result)
            steps = after.node.next_functions
            place = next((i for i, step in enumerate(steps) if step == (edge.node, edge.output_nr)), None)
            if place is not None:
                self._noted.append(_Noted(after, place))
                return result
        # Several steps, as where autocast puts one before it: of a copy nothing else has a gradient.
        source = x.clone()
        edge = get_gradient_edge(source)
        result = function(source)
        self._noted.append(_Noted(get_gradient_edge(result), edge))
        return x.copy_(result) if in_place else result

    @contextlib.contextmanager
    def by(self, rule: str | None) -> Iterator[None]:
        """Within it gradients pass the rectifiers that ran by a rule."""
        followed = rule if rule in RULES else ""
        before, self._rule.now = self._rule.now, followed
        try:
            with contextlib.ExitStack() as stack:
                for noted in self._noted if followed else ():
                    for hook in noted.cut(followed):
                        stack.callback(hook.remove)
                yield
        finally:
            self._rule.now = before

    def check(self, quantized: str, rule: str) -> None:
        """Say so where a rule would change nothing: the gradient would be the plain one.

        Args:
            quantized: the kind of a quantized module in the model; empty where there is none.
            rule: its name.

        Raises:
            UnknownName: there is no such rule.
            ModelError: no rectifier ran.
        """
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
        if not self.met and quantized:
            raise ModelError(f"no rectifier that is known ran: {no_gradient_in(quantized)}")
        if not self.met:
            raise ModelError(NONE_RAN)


def _kind(function: Function, rest: tuple[Any, ...], named: dict[str, Any]) -> _Kind:
    """What a function is with these further arguments; found out once for an argument list.

    What a model has learned of it, as of PReLU, is taken as it begins: such a function is one, whatever its slopes.
    """
    # Made for each function of PyTorch's that a model calls, between its products: as little Python as can be.
    key = (function, *[_LEARNED if isinstance(x, torch.Tensor) else repr(x) for x in rest])
    if named:
        learned = [_LEARNED if isinstance(x, torch.Tensor) else repr(x) for x in named.values()]
        key += (*named, *learned)
    return _kinds.of(key, lambda: _found_out(_begun(function, rest, named)))


_LEARNED = "learned"


def _begun(function: Function, rest: tuple[Any, ...], named: dict[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    begins = torch.full((1,), 0.25)
    rest = tuple(begins if isinstance(x, torch.Tensor) else x for x in rest)
    named = {name: begins if isinstance(x, torch.Tensor) else x for name, x in named.items()}

    def applied(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = function(x, *rest, **named)
        return result

    return applied


def _found_out(function: Callable[[torch.Tensor], torch.Tensor]) -> _Kind:
    written: list[bool] = []

    def of(row: NDArray[np.float32]) -> ArrayLike:
        x = torch.from_numpy(row.copy())
        result = function(x)
        written.append(result is x)
        return result.numpy()

    with torch.inference_mode(False), OwnNumbers(), torch.device("cpu"):
        with torch.no_grad():
            rectifies = tried(of)
        return _Kind(rectifies, any(written), rectifies and _is_direct(function))


def _is_direct(function: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    with torch.enable_grad():
        x = torch.ones(1, requires_grad=True).clone()
        edge = get_gradient_edge(x)
        made = function(x).grad_fn
    return made is not None and (edge.node, edge.output_nr) in made.next_functions
