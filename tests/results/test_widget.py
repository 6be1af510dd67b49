"""The widget: what Python says to the browser, and what the browser draws of it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from browsers import chromium, visited
from gradsight.errors import InvalidArgument, InvalidType
from gradsight.results.example import example

pytest.importorskip("anywidget")
pytestmark = pytest.mark.pytorch

LABELS = ["red <b>", "green", "blue"]


def colours() -> nn.Module:
    """Its score of a class is ten times the mean of one colour: the map of "green" lies where the photo is green."""
    net = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[1].weight.data = 10 * torch.eye(3)[:, :, None, None]
    return net.eval()


def photo() -> Image.Image:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 32:64, 1] = pixels[:, 64:, 2] = 200
    return Image.fromarray(pixels)


def explainer(net: nn.Module | None = None) -> gs.Explainer:
    preprocess = gs.Preprocess((64, 96), mean=(0, 0, 0), std=(1, 1, 1), fit="squash")
    return gs.Explainer(net or colours(), preprocess=preprocess, labels=LABELS, layer="1", name="colours")


def heat_of(widget: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.heat)))


def test_another_class_is_asked_of_the_explainer() -> None:
    own = explainer()
    widget = own(photo(), targets=0).widget()
    assert [title for title, _ in widget.choices] == ["Explained", "What the model says", "All classes"]
    assert heat_of(widget)[32, 10, 0] > 200 > 50 > heat_of(widget)[32, 80, 0]
    answers = widget.answer
    widget.choice = "class 2"
    assert widget.answer == answers + 1
    assert heat_of(widget)[32, 80, 0] > 200 > 50 > heat_of(widget)[32, 10, 0]
    assert widget.caption.startswith("blue, score ")
    widget.method = "layercam"
    assert "LayerCAM" in widget.caption
    # What the explanation has is not made again: without its model the first class is still there.
    del own
    widget.choice, widget.method = "0", "gradcam"
    assert "red <b>, score" in widget.caption
    assert heat_of(widget)[32, 10, 0] > 200


def test_a_class_that_was_looked_at_before_is_shown_with_the_weights_of_now() -> None:
    net = colours()
    own = explainer(net)
    widget = own(photo(), targets=0).widget()
    widget.choice = "class 2"
    assert heat_of(widget)[32, 80, 0] > 200 > 50 > heat_of(widget)[32, 10, 0]
    # Trained meanwhile: red and blue have changed places, and all scores have grown.
    net[1].weight.data = 2 * net[1].weight.data.flip(0)
    widget.choice = "0"
    widget.choice = "class 2"
    assert heat_of(widget)[32, 10, 0] > 200 > 50 > heat_of(widget)[32, 80, 0]
    assert "The model has changed" in widget.message


def test_colours_and_opacity_ask_no_model() -> None:
    own = explainer()
    widget = own(photo(), targets=0).widget()
    before = widget.answer, widget.heat
    widget.opacity, widget.colormap, widget.by_value = 0.9, "viridis", False
    assert (widget.answer, widget.heat) == before
    assert len(widget.photo) + len(widget.heat) + len(json.dumps(widget.colormaps)) < 100_000


def test_of_both_signs_what_speaks_against_lies_in_a_channel_of_its_own() -> None:
    explanation = explainer()(photo(), targets=gs.Contrast(0, 2))
    widget = explanation.widget()
    # The photo is red at the left, green in the middle, and blue at the right.
    heat = heat_of(widget)
    middle, left, right = heat.shape[0] // 2, heat.shape[1] // 6, -heat.shape[1] // 6
    assert widget.signed
    assert heat[middle, left, 0] > 200 > 50 > heat[middle, left, 1]
    assert heat[middle, right, 1] > 200 > 50 > heat[middle, right, 0]
    assert (heat[..., 2] == 255).all()


def test_without_its_model_it_says_so_and_with_one_it_goes_on(tmp_path: Path) -> None:
    own = explainer()
    own(photo(), targets=0).save(tmp_path / "x.npz")
    again = gs.Explanation.load(tmp_path / "x.npz")
    widget = again.widget()
    assert [title for title, _ in widget.choices] == ["Explained", "What the model says"]
    widget.choice = "class 1"
    assert "the model of this explanation is not here" in widget.message
    assert "widget(explainer)" in widget.message
    with_one = again.widget(own)
    with_one.choice = "class 1"
    assert with_one.caption.startswith("green")
    assert not with_one.message


def test_an_explanation_keeps_no_model_and_loads_one_that_has_a_name() -> None:
    import gc
    import weakref

    net = colours()
    found, model = explainer(net)(photo(), targets=0), weakref.ref(net)
    del net
    gc.collect()
    assert model() is None
    widget = found.widget()
    widget.choice = "class 1"
    assert "is not here" in widget.message
    named = gs.explain(photo()).widget()
    gc.collect()
    named.choice = "class 3"
    assert named.caption.startswith("tiger shark, score ")


def test_a_model_that_was_trained_since_is_told() -> None:
    net = colours()
    own = explainer(net)
    widget = own(photo(), targets=0).widget()
    net[1].weight.data *= 2
    widget.choice = "class 1"
    assert "The model has changed" in widget.message


@pytest.mark.parametrize("choice", ["class 99", "class x", "7", "", "class " + "9" * 40])
def test_what_the_browser_sends_is_checked(choice: str) -> None:
    own = explainer()
    widget = own(photo(), targets=0).widget()
    before = widget.heat
    widget.choice = choice
    assert widget.message
    assert widget.heat == before
    widget.method = "no such method"
    assert widget.message


def test_what_cannot_be_shown_is_refused_in_words() -> None:
    signal = gs.Explainer(nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()))
    with pytest.raises(InvalidArgument, match="must be of a picture"):
        signal(torch.rand(1, 2, 40)).widget()
    with pytest.raises(InvalidArgument, match="`image` must be a whole number from 0 to 0"):
        example().widget(image=1)
    with pytest.raises(InvalidType, match=r"`explainer` must be a gs\.Explainer"):
        example().widget("demo")
    batch = explainer()(torch.rand(1, 3, 64, 96), targets=0).widget()
    batch.choice = "class 1"
    assert "made from arrays" in batch.message


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>widget</title><style>CSS</style></head>
<body><main><h1>A widget</h1><div id="el"></div></main><script type="module">
const state = STATE, heard = {};
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const model = {
  get: (name) => (name === "photo" || name === "heat" ? bytes(state[name]) : state[name]),
  set: (name, value) => { state[name] = value; model.changed = name; },
  save_changes: async () => {
    const answer = await window.asked(model.changed, state[model.changed]);
    const before = state.answer;
    Object.assign(state, answer);
    if (state.answer !== before) for (const f of heard["change:answer"] ?? []) f();
  },
  on: (name, f) => (heard[name] ??= []).push(f),
  off: () => {},
};
const made = await import("data:text/javascript;base64,ESM");
made.default.render({ model, el: document.getElementById("el") });
window.ready = true;
</script></body></html>"""


def state_of(widget: Any) -> dict[str, Any]:
    names = ("signed", "colormaps", "colormap", "opacity", "by_value", "choices", "choice", "methods", "method",
             "caption", "message", "answer")  # fmt: skip
    binary = {name: base64.b64encode(getattr(widget, name)).decode() for name in ("photo", "heat")}
    return {name: getattr(widget, name) for name in names} | binary


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def drawn(page: Any) -> np.ndarray:
    content = page.evaluate("document.querySelector('canvas').toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), int)


@pytest.mark.browser
def test_the_browser_draws_what_an_overlay_is(browser: Any, tmp_path: Path) -> None:
    own = explainer()
    explanation = own(photo(), targets=0)
    widget = explanation.widget()
    here = Path(gs.__file__).parent / "results"
    text = PAGE.replace("CSS", (here / "widget.css").read_text())
    text = text.replace("ESM", base64.b64encode((here / "widget.js").read_bytes()).decode())
    (tmp_path / "page.html").write_text(text.replace("STATE", json.dumps(state_of(widget)).replace("<", "\\u003c")))

    def asked(name: str, value: Any) -> dict[str, Any]:
        setattr(widget, name, value)
        return state_of(widget)

    # Opened twice: what the page calls must be there before its script runs.
    with visited(browser, "about:blank") as visit:
        page = visit.page
        page.expose_function("asked", asked)
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_function("window.ready && document.querySelector('canvas').width > 10")
        page.wait_for_function("document.querySelector('canvas').width === 96")
        for options in ({}, {"colormap": "viridis"}, {"opacity": 0.6, "colormap": "viridis"}):
            if "colormap" in options:
                page.get_by_label("Colours", exact=True).select_option(options["colormap"])
            if "opacity" in options:
                page.get_by_label("by strength", exact=True).uncheck()
                page.get_by_label("Opacity", exact=True).fill(str(options["opacity"]))
            want = np.asarray(explanation.overlay(**options), int)
            # A JPEG beneath, and the heat in 8 bits.
            assert np.abs(drawn(page) - want).mean() < 4, options
        page.get_by_label("Class", exact=True).select_option("class 2")
        page.wait_for_function("document.querySelector('.gradsight p').textContent.startsWith('blue')")
        page.wait_for_timeout(100)
        want = np.asarray(own(photo(), targets=2).overlay(opacity=0.6), int)
        assert np.abs(drawn(page) - want).mean() < 40
        page.get_by_label("Class", exact=True).select_option("class 0")
        page.wait_for_function("document.querySelector('.gradsight p').textContent.startsWith('red <b>')")
        assert page.locator("b").count() == 0
        page.get_by_label("Method", exact=True).select_option("layercam")
        page.wait_for_function("document.querySelector('.gradsight p').textContent.includes('LayerCAM')")
        assert not visit.problems
        assert not [one for one in visit.requests if not one.startswith("file:")]
        page.screenshot(path=str(tmp_path / "widget.png"))
        assert not visit.axe()
