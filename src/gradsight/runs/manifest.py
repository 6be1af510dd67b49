"""What a run is of: which model with which weights, explained how, from which photos. A small file of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradsight.checks import optional
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.files import read_text
from gradsight.results import schema
from gradsight.rules import Each, Whole

if TYPE_CHECKING:
    from gradsight.explaining.spec import ExplainSpec
    from gradsight.models.spec import ModelSpec

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
        layers: what the maps are of, also where that was chosen by itself; empty while it is not known.
        shard: (i, n) where it is the i-th of n parts of the photos, counted from 1; None where it is of all.
        versions: of gradsight, Python, the framework and what else makes the figures.
        images: how many photos there are; None before the end.
        failed: how many of them failed; None before the end.
        complete: whether the run came to its end.
        missing: what a merged run lacks, in words.
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
    layers: tuple[str, ...] = ()
    engine: str = "local"
    shard: tuple[int, ...] | None = None
    versions: Mapping[str, object] = field(default_factory=dict, hash=False)
    images: int | None = None
    failed: int | None = None
    complete: bool = False
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Here too, and not only where a run is begun: it may come from a stranger's file.
        shard = optional("shard", self.shard, Each(Whole(1), (2,)), "Pass (3, 16).")
        if shard is not None and shard[0] > shard[1]:
            raise InvalidArgument(f"`shard` must be (i, n) with i from 1 to n. {received(self.shard)} Pass (3, 16).")
        if self.preprocess is not None and "assumed" not in self.preprocess:
            raise InvalidArgument(f"`preprocess` must say whether it is assumed. {received(self.preprocess)}")

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
            # JSON and nothing else: names of modules in it stay names.
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
        return tuple(differences(self, other))

    def told(self, other: Manifest) -> tuple[str, ...]:
        """What of another manifest is not the same and makes the same rows but for rounding, in words."""
        return tuple(differences(self, other, ("versions",)))

    def begun(self) -> Manifest:
        """The same without what is only known at the end."""
        return replace(self, images=None, failed=None, complete=False, missing=())


def plain(spec: ModelSpec | ExplainSpec | None) -> Mapping[str, object] | None:
    """A `ModelSpec` or an `ExplainSpec` as plain values; None where there is none, or where it holds a function."""
    # A model of the user's own has no spec, and is told from another by its weights.
    if spec is None:
        return None
    try:
        values = json.loads(spec.to_json())
    except InvalidType:
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

_SETTLED = ("batch_size", "part_size")
"""What is found out: as long as it is not known it fits whatever it is found to be."""


def differences(there: Manifest, now: Manifest, names: Iterable[str] = tuple(_WORDS)) -> Iterator[str]:
    """What is not the same in two manifests, in words.

    Args:
        there: the one that was there first.
        now: the other.
        names: of the fields that count.
    """
    # By their JSON, in which a tuple is a list: one of the two was read from a file.
    mine, theirs = (_deciding(json.loads(one.to_json())) for one in (there, now))
    for name in names:
        if mine[name] != theirs[name] and not (name in _SETTLED and None in (mine[name], theirs[name])):
            yield f"{_WORDS.get(name, name)}: {_both(mine[name], theirs[name])}"


def _deciding(plain: dict[str, object]) -> dict[str, object]:
    """Without how many copies of a photo a method passes at once: memory and time, and no row."""
    explain = plain["explain"]
    if isinstance(explain, dict):
        plain["explain"] = {name: value for name, value in explain.items() if name != "batch_size"}
    return plain


def _both(there: object, now: object) -> str:
    if not isinstance(there, dict) or not isinstance(now, dict):
        return f"{_short(there)} there, {_short(now)} now"
    # Of many settings only those that differ.
    changed = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    return ", ".join(f"{name} {_short(there.get(name))} there, {_short(now.get(name))} now" for name in changed)


def _short(value: object) -> str:
    # As it stands in the file, where the reader may look it up.
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


_LONGEST = 70
"""So many characters of a value are shown: labels are a thousand words."""
