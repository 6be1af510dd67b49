"""A model of Keras on the page: its answers, points and sides are those of its explainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradsight as gs
import keras_files
from gradsight.imaging import read_image
from gradsight.pages.answer import answered
from gradsight.pages.asked import Asked
from gradsight.pages.draw import Look, panels
from gradsight.pages.limits import Limits
from gradsight.pages.points import points_of
from gradsight.pages.served import ready
from gradsight.pages.sides import sides_of
from gradsight.photos import bundled_photo

saved = keras_files.saved  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_model_in_a_file_is_answered_about(saved: Any) -> None:
    model = gs.load_model(str(saved.folder / "net.keras"), labels=["ant", "bee", "cow"])
    served, photo = ready(gs.Explainer(model), "net"), read_image(bundled_photo().source)
    made = answered(served, photo, Asked(classes=("bee", "ant")), Limits())
    own = served.explainer(photo, targets=gs.Classes(1, 0))
    assert np.array_equal(made.explanations[0].maps, own.maps)
    assert [panel.title.partition(",")[0] for panel in panels(made, Look())] == ["bee", "ant"]
    assert len(points_of(served, photo, Asked(), Limits()).explanation.labels[0]) == 3
    assert (
        sides_of(served, photo, Asked(), "bee", "cow", Limits()).explanations[0].labels[0][2] == "bee rather than cow"
    )
