"""Keras on JAX: a perturbation of zeros is added to the tapped outputs, and each kind of pass is compiled once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core as extended
from numpy.typing import NDArray

from gradsight.backends.dominators import cuts_of
from gradsight.backends.keras.engines.jitted import QUICKLY, Back, Options, jitted, pulled
from gradsight.backends.keras.engines.ordered import Ordered
from gradsight.backends.keras.engines.protocol import Body, Linearized, Start
from gradsight.backends.keras.forward import KerasForward
from gradsight.backends.keras.outputs import floating_in, tensors_in
from gradsight.backends.keras.trees import mapped
from gradsight.backends.unchanged import unchanged
from gradsight.foreign import Array, Inputs, Outputs
from gradsight.recent import PASSES, Recent

if TYPE_CHECKING:
    from gradsight.backends.ablation import Ablation
    from gradsight.backends.keras.view import View

Run: TypeAlias = Callable[[Inputs, Start], Outputs]
"""A body with the values of variables given."""

# Before JAX 0.9 it was elsewhere.
_trace_state: Any = getattr(extended, "get_opaque_trace_state", None) or jax.core.get_opaque_trace_state


class Jax:
    """See `protocol.Engine`."""

    def __init__(self, view: View) -> None:
        """Work on a view, which keeps the compiled passes."""
        self._variables, self._kept = view.variables, view.kept

    def plain(self, key: Hashable | None, body: Body, inputs: Inputs) -> Outputs:
        """The outputs, without a gradient. Without a key, the body is compiled for this once."""
        return self._compiled(None if key is None else ("plain", key), _plain, body)(inputs).tree

    def each(self, key: Hashable, body: Body, several: Sequence[Inputs]) -> Iterator[Outputs]:
        """The outputs for inputs of one kind, one after the other, in NumPy: JAX keeps what it compiled for a shape."""
        run = self._compiled(("each", key), _plain, body, QUICKLY)
        return (mapped(lambda x: np.asarray(x) if keras.ops.is_tensor(x) else x, run(x).tree) for x in several)

    def linearize(self, key: Hashable, body: Body, inputs: Inputs) -> Linearized:
        """The outputs, the leaves, and the way back."""
        outputs, leaves, back = self._compiled(("linearize", key), _linearized, body)(inputs)
        return Linearized(outputs.tree, leaves, partial(pulled, back))

    def gradients(self, body: Body, inputs: Inputs, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Of a body that gives one number its gradients at some of the tensors that it starts at."""
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in leaves.items()}

        def differentiated(run: Run) -> Callable[[Inputs], dict[str, Array]]:
            def number(added: dict[str, Array], inputs: Inputs) -> Array:
                return run(inputs, lambda name, output: output + added[name] if name in added else output)

            # There and back are one function: what goes back needs is not handed from one to another.
            return lambda inputs: jax.grad(number)(zeros, inputs)

        gradients: dict[str, Array] = self._compiled(None, differentiated, body)(inputs)
        return gradients

    def tail(self, name: str, raw: Array, forward: KerasForward, more: object, times: int) -> Outputs:  # noqa: ARG002
        """The outputs with ``raw`` in the place of a leaf; row j of ``raw`` belongs to row j % n.

        The compiler leaves out what the outputs do not need: there is no other way than this, and none is tried.
        """

        def behind(run: Run) -> Callable[[Inputs], Ordered]:
            return lambda pair: _for_rows(run, name, pair[0], lambda row: row, pair[1])

        rows = jnp.reshape(raw, (times, -1, *raw.shape[1:]))
        outputs = self._compiled(("tail", forward.key, name), behind, forward.body)((forward.inputs, rows)).tree
        return mapped(_by_row, outputs)

    def ablated(self, name: str, ablation: Ablation, forward: KerasForward) -> Outputs:
        """The outputs where channels of a leaf are off; the compiler makes what is left of it where it is read."""
        known = (ablation.raw,) if ablation.blank is None else (ablation.raw, ablation.blank)

        def behind(run: Run) -> Callable[[Inputs], Ordered]:
            def of(given: Inputs) -> Ordered:
                inputs, (raw, *blank), off = given
                nothing = blank[0] if blank else jnp.zeros_like(raw)
                return _for_rows(run, name, inputs, lambda x: jnp.where(x, nothing, raw), off)

            return of

        given = (forward.inputs, known, jax.device_put(ablation.off(), ablation.raw.sharding))
        return mapped(_by_row, self._compiled(("ablated", forward.key, name), behind, forward.body)(given).tree)

    def rounds_at_once(self, _name: str, _ablation: Ablation, _forward: KerasForward) -> int:
        """One: a round takes what its copies of the leaf take."""
        return 1

    serves_any_rows = False
    activations = jax.nn
    aside = staticmethod(jax.ensure_compile_time_eval)

    def trace_level(self) -> object:
        """What is traced at the moment; another within a loop."""
        return _trace_state(convention="flax")

    @staticmethod
    def like(values: NDArray[np.bool_], tensor: Array) -> Array:
        """Ones and zeros as an array, in the precision and on the device of another."""
        return jax.device_put(values.astype(tensor.dtype), tensor.sharding)  # cast by NumPy, which compiles nothing

    def slopes(self, function: Callable[[list[Array]], Array], tensors: list[Array]) -> tuple[Array, list[Array]]:
        """Values (n, k) of tensors, and each column's sum by each tensor."""
        values, back = jax.vjp(function, tensors)
        k = values.shape[1]
        each = jnp.broadcast_to(jnp.eye(k, dtype=values.dtype)[:, None], (k, *values.shape))
        return values, jax.vmap(back)(each)[0]

    def along(self, function: Callable[..., Array], tensors: list[Array]) -> Array:
        """The derivative of a tensor by ``tensors`` in the direction of themselves."""
        return jax.jvp(function, tensors, tensors)[1]

    def curvature(self, function: Callable[[Array], Array], leaf: Array, direction: Array) -> list[Array]:
        """The Hessian of each column's sum by ``leaf``, times ``direction``."""
        k = jax.eval_shape(function, leaf).shape[1]
        slopes = (jax.grad(lambda x, j=j: function(x)[:, j].sum()) for j in range(k))
        return [jax.jvp(slope, [leaf], [direction])[1] for slope in slopes]

    def cuts(self, body: Body, inputs: Sequence[Array]) -> set[str]:
        """The started tensors that every path from the first input passes."""
        names: dict[str, str] = {}

        def start(name: str, output: Array) -> Array:
            mark = f"gradsight {len(names)}"
            names[mark] = name
            return checkpoint_name(output, mark)  # an operation that does nothing, and is told by its name

        with keras.StatelessScope():
            jaxpr = jax.make_jaxpr(lambda *tensors: body(list(tensors), start))(*inputs).jaxpr
        made = {variable: i for i, equation in enumerate(jaxpr.eqns) for variable in equation.outvars}
        source = -1
        made[jaxpr.invars[0]] = source
        marked = {
            names[equation.params["name"]]: i
            for i, equation in enumerate(jaxpr.eqns)
            if equation.primitive.name == "name" and equation.params["name"] in names
        }

        def before(node: int) -> list[int]:  # what carries a gradient
            if node == source:
                return []
            arguments = (x for x in jaxpr.eqns[node].invars if not hasattr(x, "val"))
            return [made[x] for x in arguments if x in made and jnp.issubdtype(x.aval.dtype, jnp.floating)]

        end = made.get(jaxpr.outvars[0])
        return set() if end is None else cuts_of(end, source, before, marked)

    def unchanged(self) -> AbstractContextManager[None]:
        """See that nobody changes the weights within it: an array of JAX never changes, and another takes its place."""
        return unchanged(lambda: [variable.value for variable in self._variables], operator.is_)

    def _compiled(
        self,
        key: Hashable | None,
        made: Callable[[Run], Callable[[Inputs], Array]],
        body: Body,
        options: Options = MappingProxyType({}),
    ) -> Callable[[Inputs], Array]:
        """``made(run)``, compiled at its first use for a key; ``run`` is ``body`` with the variables given.

        Without a key it is compiled for whoever holds what is returned, and quickly.
        """
        variables = self._variables

        def whole(values: list[Array], inputs: Ordered) -> Array:
            def run(inputs: Inputs, start: Start) -> Outputs:
                with _Scope(variables, values):
                    return body(inputs, start)

            return made(run)(inputs.tree)

        own = jitted(whole, QUICKLY) if key is None else None

        def called(inputs: Inputs) -> Array:
            # By sizes: a function keeps what was compiled for each for as long as it lives.
            sizes = tuple(tuple(x.shape[1:]) for x in tensors_in(inputs))
            compiled = own or self._kept.of(sizes, partial(Recent, PASSES)).of(key, lambda: jitted(whole, options))
            known = len(variables)
            result = compiled([variable.value for variable in variables[:known]], Ordered.of(inputs))
            # A variable that was met while this was compiled is an argument from now on.
            return result if len(variables) == known else called(inputs)

        return called


class _Scope(keras.StatelessScope):  # type: ignore[misc, unused-ignore]
    """Variables whose values are given. One that is read besides, and that no layer keeps, joins them.

    It would be compiled as it is today, and stay so when it is assigned to.
    """

    def __init__(self, variables: list[Array], values: list[Array]) -> None:
        super().__init__(list(zip(variables, values, strict=False)))  # others may have joined in the meantime
        self._variables = variables

    def get_current_value(self, variable: Array) -> Array | None:
        """The value given for a variable; None where there is none."""
        value = super().get_current_value(variable)
        has_value = getattr(variable, "_value", variable) is not None
        if value is None and has_value and all(variable is not known for known in self._variables):
            self._variables.append(variable)
        return value


def _plain(run: Run) -> Callable[[Inputs], Ordered]:
    """A pass that starts nowhere."""
    return lambda inputs: Ordered.of(run(inputs, lambda _name, output: output))


def _for_rows(run: Run, name: str, inputs: Inputs, made: Callable[[Array], Array], rows: Array) -> Ordered:
    """A pass for each of ``rows`` with ``made(row)`` in the place of a leaf.

    Only what depends on the rows is mapped over them; of the rest, nothing at all is left at a cut.
    """
    mapped_rows: Ordered = jax.vmap(
        lambda row: Ordered.of(run(inputs, lambda at, output: made(row) if at == name else output))
    )(rows)
    return mapped_rows


def _by_row(x: Array) -> object:
    """Rows of several copies of a batch, (m, n, ...), one after the other."""
    if not keras.ops.is_tensor(x):
        return x
    return x.reshape(-1, *x.shape[2:]) if x.ndim > 1 else x[0]


def _linearized(run: Run) -> Callable[[Inputs], tuple[Ordered, dict[str, Array], Back]]:
    """A pass, its leaves, and the way back to them."""

    def linearized(inputs: Inputs) -> tuple[Ordered, dict[str, Array], Back]:
        # JAX differentiates by arguments: zeros are added to the outputs, whose shapes a first look tells.
        shapes: dict[str, jax.ShapeDtypeStruct] = {}

        def note(name: str, output: Array) -> Array:
            shapes[name] = jax.ShapeDtypeStruct(output.shape, output.dtype)
            return output

        jax.eval_shape(lambda ordered: floating_in(run(ordered.tree, note)), Ordered.of(inputs))
        zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in shapes.items()}

        def perturbed(added: dict[str, Array]) -> tuple[list[Array], tuple[Ordered, dict[str, Array]]]:
            leaves: dict[str, Array] = {}

            def start(name: str, output: Array) -> Array:
                leaves[name] = output + added[name]
                return leaves[name]

            outputs = run(inputs, start)
            return floating_in(outputs), (Ordered.of(outputs), leaves)

        _, back, (outputs, leaves) = jax.vjp(perturbed, zeros, has_aux=True)
        return outputs, leaves, back

    return linearized
