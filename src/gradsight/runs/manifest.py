"""What a run is of: which model with which weights, explained how, from which photos. A small file of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gradsight.errors import InvalidArgument, received
from gradsight.files import read_text
from gradsight.results import schema

FILE = "manifest.json"

VERSION = 1
"""Of the manifest. It grows when a field is renamed, removed or means something else, not when one is added."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run is of.

    Attributes:
        version: of the manifest.
        name: the model's, for people.
        model: `ModelSpec` as plain values, ``plain(spec)``; None where no spec says the model.
        weights: the digest of the model's weights.
        explain: `ExplainSpec` as plain values; None where it holds a function.
        preprocess: how photos are made the model's input, as an explanation has it; None where that is not known.
        question: what the model is asked; empty if nothing.
        source: where the photos come from, in words.
        features: rows have the activations under the hot area.
        batch_size: how many photos pass the model at once; None while that is to be found out.
        part_size: how many photos are written together; None where the engine says so.
        engine: which one began it.
        shard: (i, n) where it is the i-th of n parts of the photos, counted from 1; None where it is of all.
        versions: of gradsight, Python, the framework and what else makes the figures.
        images: how many photos there are; None before the end.
        failed: how many of them failed; None before the end.
        complete: whether the run came to its end.
    """

    version: int = VERSION
    name: str
    model: Mapping[str, object] | None = field(default=None, hash=False)
    weights: str | None = None
    explain: Mapping[str, object] | None = field(default=None, hash=False)
    preprocess: Mapping[str, object] | None = field(default=None, hash=False)
    question: str = ""
    source: str = ""
    features: bool = False
    batch_size: int | None = None
    part_size: int | None = None
    engine: str = "local"
    shard: tuple[int, ...] | None = None
    versions: Mapping[str, object] = field(default_factory=dict, hash=False)
    images: int | None = None
    failed: int | None = None
    complete: bool = False

    def to_json(self) -> str:
        """It as JSON, for `from_json`."""
        return json.dumps(schema.to_plain(self), indent=1, default=str)

    @classmethod
    def from_json(cls, text: str, name: str = "a manifest") -> Manifest:
        """The value that `to_json` wrote; nothing in it is loaded or run.

        Raises:
            InvalidArgument: the text is no such JSON, or of a newer version.
        """
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidArgument(f"{name} must be JSON. {received(text)} Name the folder of a run.") from None
        return schema.from_plain(cls, plain, name, VERSION)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """That of a run.

        Raises:
            InvalidArgument: there is none, or it cannot be read.
        """
        path = folder / FILE
        return cls.from_json(read_text(path, "the manifest of a run"), repr(str(path)))

    def differs(self, other: Manifest) -> tuple[str, ...]:
        """What of another manifest is not the same, in words, where that would make other rows."""
        return tuple(_differences(self, other))

    def begun(self) -> Manifest:
        """The same without what is only known at the end."""
        return replace(self, images=None, failed=None, complete=False)


def plain(spec: object) -> Mapping[str, object] | None:
    """A `ModelSpec` or an `ExplainSpec` as plain values; None where there is none, or none that JSON can say."""
    from gradsight.errors import InvalidType

    if spec is None:
        return None
    try:
        values = json.loads(spec.to_json())  # type: ignore[attr-defined]
    except InvalidType:  # it holds a function
        return None
    return dict(values)


_WORDS = {
    "name": "the model",
    "model": "how the model is loaded",
    "weights": "the model's weights",
    "explain": "what is explained",
    "preprocess": "how photos are made the model's input",
    "question": "the question",
    "source": "the photos",
    "features": "whether features are kept",
    "batch_size": "the batch size",
    "part_size": "how many photos are written together",
    "shard": "the shard",
}
"""What makes the rows, and how it is called. The engine and the versions are told, and stop nobody."""


def _differences(one: Manifest, other: Manifest) -> Iterator[str]:
    for name, words in _WORDS.items():
        mine, theirs = getattr(one, name), getattr(other, name)
        # What is not known yet fits whatever it is found to be.
        if mine != theirs and not (name in ("batch_size", "part_size") and None in (mine, theirs)):
            yield f"{words}: {mine!r} there, {theirs!r} now"
