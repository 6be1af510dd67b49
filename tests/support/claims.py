"""How a claim of a hostile file is answered: soon, in one printable line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gradsight.errors import GradsightError


def refused(
    call: Callable[[], Any], *words: str, kind: type[GradsightError] = GradsightError, limit: float = 20.0
) -> str:
    """The error, which is one printable line, comes soon and says all of ``words``.

    ``limit`` is in seconds, on a slow machine.
    """
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert time.monotonic() - began < limit
    assert text.isprintable()
    assert len(text) < 1500
    for word in words:
        assert word in text
    return text
