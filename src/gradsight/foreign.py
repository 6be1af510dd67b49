"""What belongs to a framework or to the user: it is passed on, and little is asked of it.

These names say what a value is where its type cannot be said, since no framework is imported here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of NumPy or of the model's framework."""

Inputs: TypeAlias = Any
"""A batch as a model takes it: an array, or a tuple, list or dict of them, nested as the model has it."""

Outputs: TypeAlias = Any
"""Whatever a model gives: an array, or arrays nested in tuples, lists, dicts and objects of a class of its own."""

Module: TypeAlias = Any
"""A `torch.nn.Module` or a `keras.Model`, or a layer of one."""

Json: TypeAlias = Any
"""What a text of JSON holds: a dict, a list, a text, a number, a truth value or None, nested as its writer had it."""

Ops: TypeAlias = Any
"""Array functions under the names of the Array API standard, for the arrays of one framework."""
