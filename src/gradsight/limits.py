"""Limits on what a file may ask for, checked before anything is allocated; each error names its limit.

What a file says of its own size is not believed: a picture of a few bytes may claim ten billion pixels, and an archive
of 5 MB unpack to 5 GB. Raise a limit where the file is trusted: ``gradsight.limits.PIXELS.value = 10**9``, or for a
command the environment variable, ``GRADSIGHT_MAX_PIXELS=1000000000``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from gradsight.errors import GradsightError, InvalidArgument


@dataclass
class Limit:
    """The most of something that is accepted.

    Attributes:
        name: as in its environment variable, ``GRADSIGHT_MAX_<name>``.
        value: the limit.
        unit: what is counted, such as ``"pixels"``.
    """

    name: str
    value: float
    unit: str

    def __post_init__(self) -> None:
        given = os.environ.get(self.variable, "").replace("_", "")
        if given.isdecimal() and given.isascii() and len(given) <= 30:
            self.value = int(given)

    @property
    def variable(self) -> str:
        """The environment variable that sets it, read when gradsight is imported."""
        return f"GRADSIGHT_MAX_{self.name}"

    def check(self, amount: float, what: str, kind: type[GradsightError] = InvalidArgument) -> None:
        """Check that an amount is within the limit.

        Args:
            amount: how much a file claims, or holds.
            what: the beginning of the sentence, such as ``"'cat.jpg' is too large: 9 x 9 pixels"``.
            kind: the error to raise.

        Raises:
            GradsightError: it is over the limit; the text names the limit and how to raise it.
        """
        if amount > self.value:
            raise kind(
                f"{what}, over the limit of {self.value:,} {self.unit}. If you trust it, raise the limit: "
                f"gradsight.limits.{self.name}.value, or {self.variable} in the environment."
            )


PIXELS = Limit("PIXELS", 200_000_000, "pixels")
"""Of a picture."""

INPUT_PIXELS = Limit("INPUT_PIXELS", 4096**2, "pixels")
"""Of the size that a model is asked to get pictures in."""

TEXT_BYTES = Limit("TEXT_BYTES", 100_000_000, "bytes")
"""Of a file that is read as text: labels, concepts, configurations."""

UNPACKED_BYTES = Limit("UNPACKED_BYTES", 256_000_000, "bytes")
"""Of what an archive unpacks to; more is taken only from an archive that is itself not much smaller."""

PARAMETERS = Limit("PARAMETERS", 500_000_000, "parameters")
"""Of a model whose configuration claims them while there are no weights to show for it."""

PARTS = Limit("PARTS", 25_000, "parts")
"""Of a model: operators of a graph, modules that a configuration asks for."""

COUNT = Limit("COUNT", 1_000_000, "of a kind")
"""Of layers, classes, heads and whatever else a configuration says the number of."""

INPUT_VALUES = Limit("INPUT_VALUES", 50_000_000, "values")
"""Of what a model's file says that it takes: its pictures' channels, heights and widths multiplied."""

ARRAY_BYTES = Limit("ARRAY_BYTES", 2_000_000_000, "bytes")
"""Of one array that the graph in a model's file computes."""

STDIN_BYTES = Limit("STDIN_BYTES", 1_000_000_000, "bytes")
"""Of the photo that comes in by stdin, which may have no end."""

MEMBER_BYTES = Limit("MEMBER_BYTES", 256_000_000, "bytes")
"""Of one picture within a larger file: a tar, or a row of a table."""
