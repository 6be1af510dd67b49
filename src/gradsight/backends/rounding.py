"""Whether two arrays are one up to rounding."""

from __future__ import annotations

import numpy as np

from gradsight.contracts import Floats

_UNITS = 64
"""By so many units of rounding of the largest number another order of operations may differ."""


def is_close(values: Floats, expected: Floats, unit: float) -> bool:
    """Whether arrays are equal up to the rounding of another order of operations; what is no number is equal too.

    Args:
        values: some.
        expected: the others.
        unit: of rounding, in the precision that they were computed in.
    """
    if values.shape != expected.shape:
        return False
    scale = float(np.abs(expected).max(initial=0, where=np.isfinite(expected)))
    return np.allclose(values, expected, rtol=0, atol=_UNITS * unit * scale, equal_nan=True)
