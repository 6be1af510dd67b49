"""What a model is loaded from, as a value: it can be pickled, written as JSON, and loaded again elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypedDict

from gradsight.checks import optional, taken
from gradsight.errors import InvalidArgument, InvalidType, received, unknown
from gradsight.foreign import Array
from gradsight.imaging import Preprocess
from gradsight.models.model import Model
from gradsight.rules import Instance, Name, Sides, Text
from gradsight.targets import Labels, as_labels
from gradsight.values import number_in

if TYPE_CHECKING:
    from gradsight.models.model import PreprocessLike

VERSION = 1
"""Of the JSON that is written here."""


class Picture(TypedDict, total=False):
    """How photos are made for the model, in place of what its source says; see `load_model`."""

    fit: str | None
    interpolation: str | None
    size: int | Sequence[int] | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    crop: float | None


@dataclass(frozen=True)
class ModelSpec:
    """What `load_model` was asked for. ``gs.load_model("demo").spec`` is one, and ``spec.load()`` loads it again.

    >>> from gradsight.models.spec import ModelSpec
    >>> spec = ModelSpec("demo", picture={"fit": "letterbox"})
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True

    Attributes:
        source: the source's name, or a path.
        weights, labels, text, arguments, preprocess, device: as `load_model` takes them; a path is kept as a text, and
            labels as a tuple of them.
        picture: what was given in place of the source's ``fit``, ``interpolation``, ``size``, ``mean``, ``std`` and
            ``crop``; nothing else.

    Raises:
        InvalidArgument, InvalidType: a value that is none of these.
        UnknownName: ``picture`` has no such word.
    """

    source: str
    weights: str | None = None
    labels: str | tuple[str, ...] | None = None
    text: str | None = None
    arguments: Mapping[str, object] | None = None
    preprocess: str | PreprocessLike | None = None
    device: str | None = None
    picture: Picture = field(default_factory=Picture)

    if TYPE_CHECKING:  # what is given, where it is wider than what is kept

        def __init__(
            self,
            source: str | os.PathLike[str],
            weights: str | os.PathLike[str] | None = ...,
            labels: str | os.PathLike[str] | Labels | None = ...,
            text: str | None = ...,
            arguments: Mapping[str, object] | None = ...,
            preprocess: str | PreprocessLike | None = ...,
            device: object = ...,
            picture: Picture = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        way_out = "A model object that you already have goes to gs.Explainer(model)."
        plain = {
            "source": taken("model", self.source, _NAME, way_out),
            "weights": optional("weights", self.weights, _NAME),
            "labels": _labels(self.labels),
            "text": optional("text", self.text, Text()),
            "arguments": optional("arguments", self.arguments, Instance(Mapping, "a dict of keyword arguments")),
            # As a text: a torch.device has no place in JSON.
            "device": None if self.device is None else str(self.device),
            "picture": picture_of(self.picture),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def load(self) -> Model:
        """Load the model; see `load_model`."""
        from gradsight.models.load import load_model  # which takes such a value, and so imports this module

        return load_model(self)

    def told(self, said: Mapping[str, object]) -> ModelSpec | None:
        """The spec of the same model after `Model.told`; None where a spec cannot say what was told.

        Args:
            said: fields of `Model`.
        """
        given = {name: value for name, value in said.items() if name != "name"}  # which changes nothing else
        if not given.keys() <= {"labels", "preprocess"}:
            return None
        if "preprocess" not in given:
            return replace(self, **given)  # type: ignore[arg-type]
        # Of a function it depends on what it takes the place of, so that only a whole preprocessing is the same there.
        whole = isinstance(given["preprocess"], Preprocess)
        return replace(self, **given, picture={}) if whole else None  # type: ignore[arg-type]

    def to_json(self) -> str:
        """It as JSON, for `from_json`.

        Raises:
            InvalidType: it holds a function, or a value that JSON has no word for.
        """
        given = {name: value for name in _FIELDS if (value := getattr(self, name))}
        if self.preprocess is not None and not isinstance(self.preprocess, str):
            given["preprocess"] = _preprocess_values(self.preprocess)
        try:
            # NumPy's numbers are no JSON; `number_in` makes plain ones of them.
            return json.dumps({"version": VERSION, **given}, default=number_in)
        except (TypeError, ValueError):
            raise InvalidType(
                "a ModelSpec is written as JSON where its arguments are numbers, texts, lists and dicts. "
                f"{received(self.arguments)} Pickle it, or have the function make the others itself."
            ) from None

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The value that `to_json` wrote.

        Raises:
            InvalidArgument: the text is no such JSON.
        """
        values = read_json(text, "ModelSpec", _FIELDS)
        preprocess = values.get("preprocess")
        try:
            if isinstance(preprocess, dict):
                values["preprocess"] = Preprocess(**preprocess)
            return cls(**values)  # type: ignore[arg-type]
        except InvalidType:  # a TypeError too, which says what is wrong
            raise
        except TypeError as error:  # no source, or a field of `Preprocess` that there is not
            raise not_written(text, "ModelSpec") from error


_FIELDS = tuple(x.name for x in fields(ModelSpec))
_NAME = Name("a name or a path")


def read_json(text: str, kind: str, names: Sequence[str]) -> dict[str, object]:
    """The fields of a value in JSON that has a version.

    Args:
        text: the JSON.
        kind: what it is of, for the error.
        names: the fields that there are.

    Raises:
        InvalidArgument: it is no such JSON, or of a later version.
    """
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        values = None
    # An unknown field is refused, and not left out: it would change what is loaded.
    known = isinstance(values, dict) and values.get("version") == VERSION and values.keys() <= {"version", *names}
    if not known:
        raise not_written(text, kind)
    return {name: value for name, value in values.items() if name != "version"}


def not_written(text: str, kind: str) -> InvalidArgument:
    """The error about a text that is no JSON of a spec."""
    return InvalidArgument(f"`text` must be what {kind}.to_json() wrote, version {VERSION}. {received(text)}")


def _labels(labels: str | os.PathLike[str] | Labels | None) -> str | tuple[str, ...] | None:
    if labels is None or isinstance(labels, str):
        return labels
    return os.fspath(labels) if isinstance(labels, os.PathLike) else as_labels(labels, "labels")


def picture_of(picture: Mapping[str, object]) -> dict[str, object]:
    """The parts that were given, each in the one form that is kept: a size is (height, width)."""
    for name in taken("picture", picture, Instance(Mapping, "a dict of fit, interpolation, size, mean, std and crop")):
        if name not in Picture.__annotations__:
            raise unknown("argument of load_model", name, [*_FIELDS[1:-1], *Picture.__annotations__])
    given = {name: value for name, value in picture.items() if value is not None}
    if "size" in given:
        given["size"] = taken("size", given["size"], Sides(), "Pass 224.")
    return {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}


def _preprocess_values(preprocess: Callable[..., Array] | object) -> dict[str, object]:
    """The fields of a `Preprocess` that make it again."""
    # Not isinstance: a subclass may do more than its fields say.
    if type(preprocess) is not Preprocess or preprocess.function is not None:
        raise InvalidType(
            f"a ModelSpec is written as JSON where its preprocess is no function of yours. {received(preprocess)} Name "
            "the function, preprocess='package.module:function', or pickle the spec."
        )
    return {x.name: value for x in fields(preprocess) if (value := getattr(preprocess, x.name)) is not None}
