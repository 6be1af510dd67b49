"""Which sources know a model's name, found in the text of their packages: none of them is imported for a suggestion."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_BUILDER = re.compile(r"^@register_model(?:\(.*\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_PLACES = {
    "torchvision": ("torchvision", "models", _BUILDER),
    "timm": ("timm", "models", _BUILDER),
    "keras": ("keras", "src/applications", re.compile(r"\"keras\.applications\.([A-Z]\w+)\"")),
}
"""By source: the package, the folder in it that defines models, and how a definition looks."""

_MOST = 3
_LIKE = 0.8
"""How alike a name must be that is offered where no source knows this very one, 0 to 1."""


def suggestions(name: str) -> list[str]:
    """Names of models that may be meant by one without a source, such as ``"torchvision:resnet50"``.

    Args:
        name: what was typed; cases, ``-`` and ``_`` do not count.

    Returns:
        One for each source that knows it; or else the few that look most like it. Empty where there are none.
    """
    wanted, known = _key(name), list(_known())
    # All sources that know it: only the user can say which is meant.
    exact = [full for full, key in known if key == wanted]
    if exact or not wanted:
        return exact
    # Reversed, so that of a name which several sources know the first one stays.
    by_key = {key: full for full, key in reversed(known)}
    return [by_key[key] for key in difflib.get_close_matches(wanted, by_key, n=_MOST, cutoff=_LIKE)]


def _known() -> Iterator[tuple[str, str]]:
    """Each name with its source, and the form in which names are compared."""
    for source, (package, folder, definition) in _PLACES.items():
        names = {name for text in _texts(package, folder) for name in definition.findall(text)}
        yield from ((f"{source}:{name}", _key(name)) for name in sorted(names))


def _texts(package: str, folder: str) -> Iterator[str]:
    """What is written in the files of a package's folder; nothing where it is not installed."""
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(root, folder).rglob("*.py")):
            try:
                yield path.read_text(encoding="utf-8", errors="replace")
            except OSError:  # a suggestion is worth no error
                continue


def _key(name: str) -> str:
    return os.path.basename(name).lower().replace("-", "").replace("_", "")
