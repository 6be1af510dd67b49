"""What a part of a run claims, looked at before anything is made of it: a stranger may have written it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from gradsight.errors import InvalidArgument, received
from gradsight.limits import ARRAY_BYTES, COUNT, TEXT_BYTES
from gradsight.runs.schema import VERSION

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

_LENGTHS = 1 << 24
"""The most items that the lists of one column of a row group have: a million rows with five classes each, thrice."""

_EXTENSION = b"ARROW:extension:name"
"""What a column has whose values are of a type that other libraries enter."""


def check_types(file: BinaryIO) -> None:
    """See that no column is of a type that other libraries enter: some of these unpickle what the file holds.

    Rows of a run have plain types alone. Parquet's end, where types stand, is not compressed; PyArrow makes types of
    it as soon as it opens a file, so that this has to be looked at before.

    Raises:
        ValueError: a column is.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(4), "little")
    # A length that is none is told of by PyArrow.
    if length <= size - 8:
        TEXT_BYTES.check(length, f"what the file says of itself is too large: {length:,} bytes")
        file.seek(size - 8 - length)
        end = file.read(length)
        if any(text in end for text in _in_base64(_EXTENSION)):
            raise ValueError("a column is of a type that rows of a run do not have")
    file.seek(0)


def _in_base64(words: bytes) -> Iterator[bytes]:
    """Words as they stand in base64, at each of the three places where they may begin."""
    for first in range(3):
        text = base64.b64encode(b"\0" * first + words)
        # The letters at both ends hold bits of what stands beside the words.
        yield text[(4 * first + 2) // 3 : -4]


def check_version(metadata: Mapping[bytes, bytes]) -> None:
    """See that a part is of a version that is known.

    Raises:
        InvalidArgument: it is of a newer one, or no run wrote it.
    """
    found = metadata.get(b"gradsight.version", b"?")
    if not found.isdigit() or len(found) > 9 or int(found) > VERSION:
        raise InvalidArgument(
            f"the rows of a run must be of version {VERSION} or older. {received(found.decode(errors='replace'))} "
            "Update gradsight, or name the folder of a run."
        )


def check_group(group: parquet.RowGroupMetaData) -> None:
    """See that a row group does not claim more than is read at once.

    Raises:
        InvalidArgument: it does.
        ValueError: its numbers are none.
    """
    COUNT.check(group.num_rows, f"a row group is too large: {group.num_rows:,} rows")
    for i in range(group.num_columns):
        column = group.column(i)
        what = f"the column {column.path_in_schema[:80]!r} of a row group is too large"
        if not 0 <= column.num_values <= _LENGTHS:
            raise ValueError(f"{what}: {column.num_values:,} values")
        ARRAY_BYTES.check(column.total_uncompressed_size, f"{what}: {column.total_uncompressed_size:,} bytes")


def check_texts(column: pyarrow.Array, name: str) -> None:
    """See how large texts become when each row has its own copy, before they do.

    Args:
        column: as it was read, with each text once and a number for each row.
        name: its name.

    Raises:
        InvalidArgument: they become too large.
    """
    import pyarrow
    from pyarrow import compute

    kind = column.type
    if isinstance(column, pyarrow.ChunkedArray):
        for chunk in column.chunks:
            check_texts(chunk, name)
    elif pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        check_texts(column.flatten(), name)
    elif pyarrow.types.is_struct(kind):
        for inner in column.flatten():
            check_texts(inner, name)
    elif pyarrow.types.is_dictionary(kind):
        # By the lengths alone: nothing is copied yet.
        lengths = compute.binary_length(column.dictionary).take(column.indices)
        size = compute.sum(lengths.cast(pyarrow.int64())).as_py() or 0
        ARRAY_BYTES.check(size, f"the column {name!r} of a row group is too large: {size:,} bytes")
