"""Trees of tensors as JAX may take and give them."""

from __future__ import annotations

import jax

from gradsight.backends.keras.outputs import tensors_in
from gradsight.backends.keras.trees import Form
from gradsight.foreign import Array, Outputs


@jax.tree_util.register_pytree_node_class
class Ordered:
    """A tree as JAX may take and give it: its tensors in order, all else fixed. JAX itself sorts the keys of dicts."""

    def __init__(self, form: Form, tensors: list[Array]) -> None:
        self._form, self._tensors = form, tensors

    @classmethod
    def of(cls, tree: Outputs) -> Ordered:
        """Of a tree of tensors."""
        return cls(Form(tree), tensors_in(tree))

    @property
    def tree(self) -> Outputs:
        """The tree."""
        return self._form.filled(self._tensors)

    def tree_flatten(self) -> tuple[list[Array], Form]:
        """What JAX sees, and what it keeps."""
        return self._tensors, self._form

    @classmethod
    def tree_unflatten(cls, form: Form, tensors: list[Array]) -> Ordered:
        """The same with other tensors."""
        return cls(form, tensors)
