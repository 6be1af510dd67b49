"""What is used of the messages that an ONNX file is made of: onnx says their types in no way that a checker reads."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import Any, Protocol


class Tensor(Protocol):
    """A constant."""

    name: str
    dims: Sequence[int]
    data_type: int

    def ByteSize(self) -> int:  # noqa: N802 - protobuf's name
        """How large it is in the file."""


class Node(Protocol):
    """An operator: the names of what it takes and gives, and its attributes."""

    op_type: str
    domain: str
    name: str
    input: MutableSequence[str]
    output: MutableSequence[str]
    attribute: Any
    metadata_props: Any


class Graph(Protocol):
    """Operators in an order in which they can run."""

    node: Any
    initializer: Any
    input: Any
    output: Any
    value_info: Any


class File(Protocol):
    """What a file holds: one graph, and the functions that it calls."""

    graph: Graph
    functions: Any
    opset_import: Any
    ir_version: int
    metadata_props: Any

    def CopyFrom(self, other: File) -> None:  # noqa: N802 - protobuf's name
        """Become a copy."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """As it would be in a file."""
