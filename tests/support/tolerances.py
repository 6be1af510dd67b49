"""How far apart two float32 results of the same computation may lie."""

from __future__ import annotations

import math

import numpy as np

EPS = float(np.finfo(np.float32).eps)


def rounding(*, terms: int, layers: int = 1) -> float:
    """The difference that rounding makes, as a share of the largest number that is summed on the way.

    A processor's kernels sum in an order of their own. Each of the errors is half an EPS of the size of the sum so far
    and goes either way, so that they grow with the root of how many there are, however small the sum itself may come
    out; what lies between networks and processors is left by a factor of 4. Where results cancel, their own size says
    nothing: such a comparison is made in float64.

    Args:
        terms: how many products one output is the sum of, such as 9 times the channels of a 3x3 convolution.
        layers: how many such sums follow one another.
    """
    return 4 * EPS * math.sqrt(terms * layers)
