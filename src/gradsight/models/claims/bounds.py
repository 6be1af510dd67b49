"""What a model's file or configuration claims to be, bounded before anything is made of it."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gradsight.errors import GradsightError, ModelError, cause, one_line
from gradsight.limits import COUNT, INPUT_VALUES, PARAMETERS, PARTS

_COUNTS = re.compile(r"(num|n|number)_.*|.*(layers?|depths?|blocks?|stages?|heads?|classes|labels|groups|experts)")
"""Names in configurations under which there is the number of something; for each of them something is made."""


def check_input(sizes: Iterable[int | None], name: str) -> None:
    """See that what a model's file says that it takes can be made.

    Args:
        sizes: of one picture, its channels too; None for one that may vary.
        name: of the model.

    Raises:
        ModelError: it is over `limits.INPUT_VALUES`.
    """
    known = [size for size in sizes if size is not None]
    shape = " x ".join(f"{size:,}" for size in known)
    # Such an input could not be made: it would fill the memory.
    INPUT_VALUES.check(math.prod(known), f"{name[:200]!r} says that it takes pictures of {shape}", ModelError)


def check_counts(config: object, name: str) -> None:
    """See that no number of things in a configuration is one that nobody has.

    Args:
        config: as JSON gives it, nested.
        name: of the model.

    Raises:
        ModelError: one is over `limits.COUNT`.
    """
    found: list[tuple[str, object]] = [("", config)]
    while found:
        key, value = found.pop()
        if isinstance(value, dict):
            found += [(str(inner), item) for inner, item in value.items()]
        elif isinstance(value, list):
            found += [(key, item) for item in value]
        elif isinstance(value, int | float) and _COUNTS.fullmatch(key.lower()):
            COUNT.check(value, f"{name[:200]!r} says {key[:60]!r}: {value:,}", ModelError)


@contextmanager
def bounded_modules(name: str, stored: float) -> Iterator[None]:
    """Stop making a PyTorch model when it gets larger than there is reason to believe.

    Args:
        name: of the model.
        stored: how many parameters there are weights for: as many are taken on, whatever the limit.

    Raises:
        ModelError: it has more modules than `limits.PARTS`, or more parameters than `limits.PARAMETERS`.
    """
    from torch.nn.modules import module as hooks

    # the hooks are of the whole process: models that other threads build are not counted
    here, counts = threading.get_ident(), {"modules": 0, "parameters": 0}

    def registered(*added: Any) -> None:  # the owner, the name, the module
        child = added[-1]
        if threading.get_ident() != here or child is None:
            return
        counts["modules"] += 1
        PARTS.check(counts["modules"], f"{name[:200]!r} asks for over {PARTS.value:,} modules", ModelError)

    def given(*added: Any) -> None:
        parameter = added[-1]
        if threading.get_ident() != here or parameter is None:
            return
        counts["parameters"] += parameter.numel()
        # As many as there are weights for are taken on: the file itself shows that they exist.
        if counts["parameters"] > stored:
            what = f"{name[:200]!r} asks for {counts['parameters']:,} parameters or more and has weights for {stored:,}"
            PARAMETERS.check(counts["parameters"], what, ModelError)

    handles = (
        hooks.register_module_module_registration_hook(registered),
        hooks.register_module_parameter_registration_hook(given),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def told(what: str, way_out: str) -> Iterator[None]:
    """Say in one line what fails while a file is read: what is in it may be anything, and so may be the error.

    Args:
        what: the beginning of the sentence, such as ``"hf model 'x' cannot be loaded"``.
        way_out: its end.

    Raises:
        ModelError: something failed; errors of gradsight's own pass.
    """
    try:
        yield
    except GradsightError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {type(error).__name__}: {one_line(error)}. {way_out}") from cause(error)
