"""What a user's type checker says of the public API; read by mypy and pyright, and never run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import gradsight as gs

# One method and layer give one explanation, and several give a tuple.

explanation = gs.explain("photo.jpg", targets=gs.Top(2))
assert_type(explanation, gs.Explanation)
explainer = gs.Explainer("demo", method="gradcam")
assert_type(explainer, gs.Explainer)
assert_type(explainer("photo.jpg"), gs.Explanation)

# Arrays say what is in them.

assert_type(explanation.maps, NDArray[np.float32])
assert_type(explanation.heatmaps(), NDArray[np.float32])
assert_type(explanation.mask(), NDArray[np.bool_])
assert_type(explanation.overlay(), Image.Image)
assert_type(explanation.layers, tuple[str, ...])

# Records.

record = explanation.record(0)
assert_type(record, gs.ImageRecord)
notes = explanation.target_notes[0][0]
for note in notes:
    assert_type(note, gs.Note)
    assert_type(note.code, str)

# Streams.

for done in explainer.stream([Path("a.jpg"), Path("b.jpg")]):
    if isinstance(done, gs.Failed):
        assert_type(done.error, BaseException)
    else:
        assert_type(done.explanation, gs.Explanation)

# Models and what they were asked for.

model = gs.load_model("demo")
assert_type(model, gs.Model)
labels: Sequence[str] | None = model.labels

# What is made of many photos.

assert_type(gs.compare("photo.jpg", methods=["gradcam"]), gs.Comparison)
assert_type(gs.evaluate(explainer, ["photo.jpg"]), gs.Evaluation)
assert_type(gs.recommend(explainer, ["photo.jpg"]), gs.Recommendation)
run = gs.run("photos", model="demo", out="run")
assert_type(run, gs.Run)
assert_type(run.filter("border > 0.5"), gs.Run)
assert_type(gs.audit(run), gs.Audit)
for finding in gs.audit(run).findings:
    assert_type(finding, gs.Finding)

# Targets, and what joins them.

assert_type(explainer("photo.jpg", targets=gs.Classes("tabby", 243)), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Pixels("car", box=(20, 60, 52, 100))), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Box("dog", (20, 60, 180, 240))), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Token("dog", at=3)), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Similarity(text="a red square")), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Against("tabby")), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Contrast("tabby", "lynx")), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Sum("tabby", "lynx")), gs.Explanation)
assert_type(explainer("photo.jpg", targets=gs.Several("tabby", gs.Token("dog", at=3))), gs.Explanation)

# Methods made of methods, and one of a user.

for made in (gs.smooth("gradcam"), gs.contrastive("layercam"), gs.refine("gradcam"), gs.eigen_smooth("gradcam")):
    assert_type(explainer("photo.jpg", method=made), gs.Explanation)
several = explainer("photo.jpg", method=["gradcam", "layercam"])
for one in several:
    assert_type(one, gs.Explanation)

# Words, channels, stores, specs.

assert_type(gs.caption("photo.jpg", model=model), gs.Explanation)
assert_type(gs.ask("photo.jpg", "what is on the table?", model=model), gs.Explanation)
dissection = explainer.dissect("concepts", layer="layer4")
assert_type(dissection, gs.Dissection)
assert_type(explanation.neurons(5), gs.Neurons)
assert_type(gs.open_run("run"), gs.Run)
assert_type(gs.merge_runs(["a", "b"], out="whole"), gs.Run)
assert_type(run[0:10], gs.Run)
assert_type(gs.Explanation.load("why.npz"), gs.Explanation)
assert_type(explainer.spec, gs.ExplainSpec)
assert_type(explainer.layers(np.zeros((1, 3, 8, 8), np.float32)), list[gs.Candidate])
preprocess = gs.Preprocess(size=224, mean=(0.5,) * 3, std=(0.5,) * 3)
photo, placement = preprocess.place(Image.new("RGB", (8, 8)))
assert_type(placement, gs.Placement)
