"""How a model is explained, as a value: it can be pickled, written as JSON, and made an explainer again elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from gradsight.checks import optional, taken
from gradsight.errors import GradsightError, InvalidType, received
from gradsight.explaining.asked import Methods, kept, methods_of
from gradsight.layouts import ORDERS
from gradsight.models.spec import VERSION, read_json
from gradsight.registry import Method
from gradsight.rules import Choice, Each, Either, Sides, Text, Whole
from gradsight.targets import TargetLike, check_target
from gradsight.targets.labels import plain
from gradsight.targets.plain import from_plain, to_plain
from gradsight.variants import as_method

if TYPE_CHECKING:
    from gradsight.explaining.explainer import Explainer
    from gradsight.models.as_model import ModelLike

_SIDE = Whole(1, 1 << 20)
GRID = Either[tuple[int, ...]]((Each(_SIDE, (1, 2, 3)), Sides()))
"""The positions that tokens fold to."""


@dataclass(frozen=True)
class ExplainSpec:
    """What an `Explainer` explains, where, and by which methods; together with a `ModelSpec` it says a map.

    >>> from gradsight import Top
    >>> from gradsight.explaining.spec import ExplainSpec
    >>> spec = ExplainSpec(method=("gradcam", "smooth(layercam)"), targets=Top(2))
    >>> ExplainSpec.from_json(spec.to_json()) == spec
    True

    Attributes:
        method: the method's name, or a tuple of them; one that no name says is a `Method`.
        layer: the layer's name, a tuple of them, or None to choose.
        targets: what is explained.
        layout, grid, batch_size: as `Explainer` takes them.

    Raises:
        InvalidArgument, InvalidType, UnknownName: a value that is none of these.
    """

    method: str | Method | tuple[str | Method, ...] = "gradcam"
    layer: str | tuple[str | None, ...] | None = None
    targets: TargetLike | None = None
    layout: str | None = None
    grid: tuple[int, ...] | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        # Here too, and not only in `Explainer`: a spec may be made by itself, or come from JSON.
        check_target(self.targets)
        layer = tuple(self.layer) if isinstance(self.layer, list | tuple) else self.layer
        for name in layer if isinstance(layer, tuple) else (layer,):
            optional("layer", name, Text("a layer's name"))
        values: dict[str, object] = {
            "method": _names(self.method),
            "layer": layer,
            # An array is neither equal to another one nor the same after JSON; a list may be changed by the user.
            "targets": kept(plain(self.targets)),
            "layout": optional("layout", self.layout, Choice(ORDERS, "layout")),
            "grid": optional("grid", self.grid, GRID, "Pass 14 or (14, 14)."),
            "batch_size": taken("batch_size", self.batch_size, Whole(1), "Pass 32."),
        }
        for name, value in values.items():
            # The dataclass is frozen; what was given in another form is kept in one, so that equal specs are equal.
            object.__setattr__(self, name, value)

    @property
    def methods(self) -> tuple[str | Method, ...]:
        """The methods, also where it is one."""
        return self.method if isinstance(self.method, tuple) else (self.method,)

    @property
    def layers(self) -> tuple[str | None, ...]:
        """The layers, also where it is one; None for one that is chosen."""
        return self.layer if isinstance(self.layer, tuple) else (self.layer,)

    def explainer(self, model: ModelLike) -> Explainer:
        """The explainer of a model that explains so."""
        from gradsight.explaining.explainer import Explainer  # which makes such values, and so imports this module

        return Explainer(
            model,
            method=self.method,
            layer=self.layer,
            targets=self.targets,
            layout=self.layout,
            grid=self.grid,
            batch_size=self.batch_size,
        )

    def to_json(self) -> str:
        """It as JSON, for `from_json`.

        Raises:
            InvalidType: a method or a target is a function, or holds a picture.
        """
        for method in self.methods:
            # `_names` left it a `Method`, since no name says all of it.
            if isinstance(method, Method):
                raise InvalidType(
                    f"an ExplainSpec is written as JSON where its methods have names. {received(method)} Enter the "
                    "function under one, @gs.method('mine', ...), or pickle the spec."
                )
        values = {name: getattr(self, name) for name in _FIELDS}
        return json.dumps({"version": VERSION, **values, "targets": to_plain(self.targets)})

    @classmethod
    def from_json(cls, text: str) -> ExplainSpec:
        """The value that `to_json` wrote.

        Raises:
            InvalidArgument: the text is no such JSON.
        """
        values = read_json(text, "ExplainSpec", _FIELDS)
        values["targets"] = from_plain(values.get("targets"))  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]


_FIELDS = tuple(field.name for field in fields(ExplainSpec))


def _names(method: Methods) -> str | Method | tuple[str | Method, ...]:
    # One method stays one, and a tuple a tuple: a call gives back one explanation or several by that.
    names = [_name(each) for each in methods_of(method)]
    return tuple(names) if isinstance(method, list | tuple) else names[0]


def _name(method: Method) -> str | Method:
    """A method by its name, where that says all of it."""
    try:
        known = as_method(method.name)
    except GradsightError:  # a function of the user's, which was entered under no name
        return method
    # A function of the user's may have the name of a registered method and be another.
    return method.name if (known.title, known.source) == (method.title, method.source) else method
