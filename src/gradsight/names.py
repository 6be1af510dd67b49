"""Names that differ from each other, and that any file system takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Sequence
from itertools import count

_WRITTEN = re.compile(r"[A-Za-z_]\w*(?:[-+]+\w*)*")
"""A name of a method as people write it: Grad-CAM++, grad_cam."""

_LONGEST = 60
"""Of a safe text, in letters."""


def distinct(names: Sequence[str]) -> list[str]:
    """Make names distinct, also where case does not count: the second ``cat`` becomes ``cat-2``.

    The first holder of a name keeps it, so that ``cat, cat, cat-2`` becomes ``cat, cat-3, cat-2``.

    >>> distinct(["cat", "Cat", "dog"])
    ['cat', 'Cat-2', 'dog']
    """
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(key(name), i)
    # Names that are given come first: a number must not take one of them.
    taken, result = set(first), []
    for i, name in enumerate(names):
        if first[key(name)] != i:
            name = next(other for n in count(2) if key(other := f"{name}-{n}") not in taken)
            taken.add(key(name))
        result.append(name)
    return result


def key(name: str) -> str:
    """What two names share where they are one to a file system that does not tell cases or forms of accents apart."""
    # macOS and Windows do not tell cases apart, and macOS no forms of accents.
    return unicodedata.normalize("NFC", name).casefold()


def safe(text: str, also: str = "") -> str:
    """Reduce a text to ASCII letters, digits, ``_``, ``-`` and what ``also`` holds; empty where nothing is left.

    >>> safe("jack-o'-lantern, crème")
    'jack-o-lantern_creme'
    """
    # NFKD parts a letter from its accent, so that the letter stays when ASCII drops the accent.
    known = unicodedata.normalize("NFKD", text.replace("'", "")).encode("ascii", "ignore").decode("ascii")
    return re.sub(rf"[^A-Za-z0-9_\-{also}]+", "_", known)[:_LONGEST]


def as_registered(text: str, known: Container[str]) -> str:
    """A text in which names are written as they are registered: ``"Grad-CAM++"`` is ``"gradcampp"``.

    Args:
        text: a method, with options or variants if need be.
        known: the names that there are.

    >>> as_registered("smooth(Grad-CAM++, samples=8)", ["gradcam", "gradcampp"])
    'smooth(gradcampp, samples=8)'
    """

    def registered(match: re.Match[str]) -> str:
        plain = match[0].lower().replace("++", "pp").replace("-", "").replace("_", "")
        # A name that is registered just so is meant, though it may read as another one.
        return plain if match[0] not in known and plain in known else match[0]

    return _WRITTEN.sub(registered, text)
