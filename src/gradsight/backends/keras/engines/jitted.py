"""What JAX compiles, and with which options: passes of Keras models, and the ways back through them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import jax

from gradsight.foreign import Array

Back: TypeAlias = Callable[[list[Array]], tuple[dict[str, Array]]]
"""The way back through a pass, as JAX gives it."""

Options: TypeAlias = Mapping[str, object]
"""Options of the compiler."""

QUICKLY: Options = MappingProxyType({"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False})
"""For what runs a few times: compiled in a third of the time, it takes a quarter more."""

# On CPUs the compiler of JAX 0.10 hands sums and products to another library in pieces, and some of them it cuts wrong:
# of the gradients of several classes behind a layer that divides by a root mean square only the first are right.
_WHOLE: Options = MappingProxyType({"xla_cpu_experimental_ynn_fusion_type": ""})


def jitted(function: Callable[..., Array], options: Options) -> Callable[..., Array]:
    """A function that is compiled, with those options that the compiler knows, and what keeps its numbers right."""
    inside: Callable[..., Array] = jax.jit(function)
    if jax.default_backend() != "cpu":
        return inside
    alone: Callable[..., Array] = jax.jit(function, compiler_options={**_known(options), **_known(_WHOLE)})

    def called(*arguments: Array) -> Array:
        # Within another function that is compiled or differentiated JAX takes no options of one inside.
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments))
        return (inside if traced else alone)(*arguments)

    return called


def _known(options: Options) -> Options:
    """Those of the options that this version of the compiler knows."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: object) -> bool:
    try:
        jax.jit(lambda: 0.0, compiler_options={name: value}).lower().compile()
    except Exception:  # another version of the compiler: it has no such option
        return False
    return True


def way_back(options: Options) -> Callable[[Back, list[Array]], dict[str, Array]]:
    """From the way back, as JAX gives it, and cotangents (k, ...) to gradients (k, ...)."""
    # Of one, nothing is mapped: products and convolutions stay what they are.
    alone = jitted(lambda back, rows: jax.tree.map(lambda x: x[None], back([row[0] for row in rows])[0]), options)
    mapped_rows = jitted(lambda back, rows: jax.vmap(back)(rows)[0], options)

    def pulled(back: Back, cotangents: list[Array]) -> dict[str, Array]:
        run = alone if len(cotangents[0]) == 1 else mapped_rows
        gradients: dict[str, Array] = run(back, cotangents)
        return gradients

    return pulled


@functools.cache
def _kept() -> Callable[[Back, list[Array]], dict[str, Array]]:
    return way_back(MappingProxyType({}))


def pulled(back: Back, cotangents: list[Array]) -> dict[str, Array]:
    """The same by one way for all models: what is compiled is kept by what the way back is made of."""
    return _kept()(back, cotangents)
