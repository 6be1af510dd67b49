"""What the files are called that are written of an explanation: after its photo, method, layer and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradsight.names import distinct, key, safe

if TYPE_CHECKING:
    from gradsight.results.explanation import Explanation

_LONGEST_WAY = 40
"""Of the part of a name that says the method or the layer."""


def overlay_names(stem: str, explanations: Sequence[Explanation], suffix: str) -> list[list[str]]:
    """The files of the overlays of one photo: ``STEM.METHOD.CLASS.png``, with the layer where there are several.

    Args:
        stem: how all of them begin.
        explanations: of this photo alone, one for each layer and method.
        suffix: how they end, such as ``".png"``.

    Returns:
        For each explanation a name for each target.
    """
    found = []
    for explanation, start in zip(explanations, _starts(stem, explanations), strict=True):
        # One explanation at a time: names must differ within it, and its method and layer tell it from the others.
        labels = label_names([(target.index, target.label) for target in explanation.targets[0]])
        found.append([f"{start}.{label}{suffix}" for label in labels])
    return found


def figure_names(stem: str, explanations: Sequence[Explanation], kind: str, suffix: str) -> list[str]:
    """The file of one picture for each explanation: ``STEM.METHOD.caption.png``; arguments as `overlay_names`."""
    return [f"{start}.{kind}{suffix}" for start in _starts(stem, explanations)]


def _starts(stem: str, explanations: Sequence[Explanation]) -> list[str]:
    layers = layer_names([_layers_of(explanation) for explanation in explanations])
    methods = method_names([explanation.method for explanation in explanations])
    # The layer is in the name only where it tells explanations apart.
    several = len(methods) < len(explanations)
    return [".".join([stem, methods[e.method], *([layers[_layers_of(e)]] if several else [])]) for e in explanations]


def _layers_of(explanation: Explanation) -> str:
    return "_".join(explanation.layers) or "input"


def label_names(targets: Sequence[tuple[int | None, str]]) -> list[str]:
    """A name for the file of each target, (index, label): that of the label, with the index where others share it.

    >>> label_names([(281, "tabby"), (282, "tiger cat"), (None, "猫")])
    ['tabby', 'tiger_cat', 'target']
    """
    known = list(dict.fromkeys(targets))
    names = [safe(label).strip("_-") or ("target" if index is None else f"class_{index}") for index, label in known]
    # By `key`, since cat.png and Cat.png are one file to some file systems.
    holders = Counter(key(name) for name in names)
    told = [
        name if index is None or holders[key(name)] == 1 else f"{name}_{index}"
        for name, (index, _) in zip(names, known, strict=True)
    ]
    # After all of that two may still be one: labels in letters that ASCII does not have, or without an index.
    files = dict(zip(known, distinct(told), strict=True))
    return [files[target] for target in targets]


def layer_names(layers: Sequence[str]) -> dict[str, str]:
    """A name for files about each layer."""
    return _names(layers, also=".", otherwise="model")


def method_names(methods: Sequence[str]) -> dict[str, str]:
    """A name for files by each method, which may be ``"fuse(layercam, by='max')"`` or a function's."""
    return _names(methods, also="", otherwise="method")


def _names(texts: Sequence[str], *, also: str, otherwise: str) -> dict[str, str]:
    known = list(dict.fromkeys(texts))
    # Cut, since a method with options is long, and stem, layer and label need room in 255 bytes.
    names = [safe(text, also)[:_LONGEST_WAY].rstrip("_") or otherwise for text in known]
    return dict(zip(known, distinct(names), strict=True))
