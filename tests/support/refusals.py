"""Errors as people meet them: of the right class, on one line, and with the words that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradsight.errors import GradsightError
from gradsight.models.load import load_model


def refused(kind: type[GradsightError], *words: str, **call: Any) -> str:
    """Call ``load_model`` and check that its error is one line of the right class that says all of ``words``."""
    with pytest.raises(kind) as caught:
        load_model(**call)
    text = str(caught.value)
    assert "\n" not in text
    assert "\x1b" not in text
    for word in words:
        assert word in text
    return text


def line(kind: type[GradsightError], call: Callable[[], Any], *words: str) -> str:
    """Check that the error is one line of the right class that says all of ``words``."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for word in (*words, "Received"):
        assert word in text
    return text
