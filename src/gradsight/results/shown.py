"""Explanations in words and in notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from gradsight.checks import index as index_of
from gradsight.errors import MissingDependency
from gradsight.results import html
from gradsight.results.pictures import Pictures

if TYPE_CHECKING:
    from gradsight.results.again import Explains
    from gradsight.results.explanation import Explanation
    from gradsight.results.widget import Widget


class Shown(Pictures):
    """Maps as they are shown; see `Explanation`."""

    @property
    def heading(self) -> str:
        """The method, the layer and the model, in words.

        >>> from gradsight.results.example import example
        >>> example().heading
        'Grad-CAM at layer layer4, model example'
        """
        return f"{self.title or self.method} {_where(self.layers)}, model {self.model}"

    def __repr__(self) -> str:
        at = f"layer={self.layer!r}" if self.layer is not None else f"layers={self.layers!r}"
        return (
            f"Explanation(method={self.method!r}, {at if self.layers else 'of the input'}, "
            f"maps={tuple(self.maps.shape)}, labels={self.labels if len(self.labels) < 4 else '...'})"
        )

    def _repr_html_(self) -> str:
        """Shown by notebooks: photos with their overlays, or the heat of a signal or volume, and the notes."""
        return html.of_one(self._whole)

    def widget(self, explainer: Explains | None = None, *, image: int = 0) -> Widget:
        """One image with controls, for a notebook: class, method, colours and opacity.

        Colours and opacity change in the browser. Another class or method asks the model: the explainer that made this
        explanation while it is there, else its model loaded again where a name says which (``"demo"``,
        ``"timm:resnet50"``). Of an explanation that was read from a file or a run, pass an explainer.

        Args:
            explainer: of the model, such as ``gs.Explainer(model)``.
            image: which image.

        Raises:
            MissingDependency: anywidget is not installed (``gradsight[notebook]``).
            InvalidArgument: there is no such image, or its maps are none of a picture.
            InvalidType: ``explainer`` is none.
        """
        self._need_picture()
        image = index_of("image", image, len(self.maps))
        try:
            from gradsight.results.widget import Widget
        except ImportError as error:
            raise MissingDependency(
                f"a widget needs anywidget: {error}. Install it: pip install 'gradsight[notebook]'."
            ) from error
        return Widget(self._whole, image, explainer)

    @property
    def _whole(self) -> Explanation:
        """Itself: nothing is made that is no explanation."""
        return cast("Explanation", self)


def _where(layers: Sequence[str]) -> str:
    """What maps are of, in words."""
    if not layers:
        return "of the image itself"
    return f"at layer {layers[0]}" if len(layers) == 1 else f"at layers {', '.join(layers)}"
