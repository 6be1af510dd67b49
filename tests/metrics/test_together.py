"""Methods that are measured together: what they share passes once, and their figures are as if each were alone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from cases_of import case_of, images, network
from gradsight.backends.pieces import pieces
from gradsight.metric_registry import as_metric

pytestmark = pytest.mark.pytorch

ROWS: list[int] = []


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network().float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ROWS.append(len(x))
        found: torch.Tensor = self.body(x)
        return found


def evaluated(methods: list[str], metric: str, photos: int = 1) -> tuple[gs.Evaluation, int]:
    """What is measured, and the rows that went through the model for it."""
    torch.manual_seed(0)
    explainer = gs.Explainer(Counted().eval(), preprocess=gs.Preprocess(16), layer="body.4")
    drawn = np.random.default_rng(0).integers(0, 256, (photos, 16, 16, 3), np.uint8)
    gs.evaluate(explainer, drawn, methods=["gradcam"], metrics=["averagedrop"])  # what is asked once of a model
    ROWS.clear()
    found = gs.evaluate(explainer, drawn, methods=methods, metrics=[metric], batch_size=2)
    return found, sum(ROWS)


def values(evaluation: gs.Evaluation, method: str) -> list[float]:
    return [row.value for row in evaluation.rows if row.method == method]


THREE = ["gradcam", "layercam", "gradcampp"]


@pytest.mark.parametrize(
    ("metric", "each"),
    [
        # 28 passes, of which the last, of a picture without anything, is that of all.
        ("deletion", 27),
        ("insertion(baseline=black)", 27),
        ("maxsensitivity(samples=4)", 0),
        ("lipschitz(samples=4)", 0),
        ("mirroring", 0),
        ("randomisation(steps=2)", 0),
        ("infidelity(samples=8)", 0),
    ],
)
def test_one_method_more_passes_no_row_that_another_has_passed(metric: str, each: int) -> None:
    alone, one = evaluated(THREE[:1], metric)
    together, three = evaluated(THREE, metric)
    assert three - one == 2 * each
    if metric == "deletion":  # the pass, 27 for each of four maps (three controls), and one for all
        assert one == 1 + 4 * 27 + 1
    assert values(together, "gradcam") == values(alone, "gradcam")


@pytest.mark.parametrize("metric", ["maxsensitivity(samples=4)", "shifting", "randomisation(steps=2)"])
def test_figures_do_not_depend_on_who_asked_first(metric: str) -> None:
    methods = [*THREE, "gradient", "guidedbackprop"]
    together, _ = evaluated(methods, metric, photos=3)
    for method in methods:
        assert values(together, method) == values(evaluated([method], metric, photos=3)[0], method)


def test_a_method_that_fails_on_other_images_fails_in_its_own_turn() -> None:
    calls: list[int] = []

    @gs.method("once", title="Once", source="here")
    def once(probe: Any, ops: Any) -> Any:
        """Work the first time alone."""
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no more")
        return ops.sum(probe.activations, axis=1)[:, None]

    found, _ = evaluated(["gradcam"], "maxsensitivity(samples=2)")
    with pytest.raises(ValueError, match="no more"):
        evaluated(["gradcam", "once"], "maxsensitivity(samples=2)")
    assert np.isfinite(values(found, "gradcam")).all()


def test_what_was_measured_is_let_go_of_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        case = case_of(network(), images(), 1, layer="4")
        as_metric("deletion(steps=3)")(case)
        held = weakref.ref(case.scoring)
        del case
        assert held() is None
    finally:
        gc.enable()


def test_a_processor_takes_rows_a_few_at_a_time_and_gives_the_same() -> None:
    ROWS.clear()
    model, batch = Counted().eval(), torch.randn(3, 3, 512, 512)
    case = case_of(model, batch, [[0, 3], [4, 1], [2, 2]], layer="body.4", maps=np.zeros((3, 2, 1, 1)), batch_size=6)
    probe, rows = case.scoring.probe, torch.cat([batch, batch.flip(2)])
    few = max(torch.get_num_threads(), 20 * 2**20 // (8 * batch[0].numel() * 4), 1)
    ROWS.clear()
    found = probe.tail(rows).numpy()
    assert sum(ROWS) == 6
    assert max(ROWS) == min(6, few)
    with torch.no_grad():
        logits = model(rows).numpy()
    classes = np.tile([[0, 3], [4, 1], [2, 2]], (2, 1))
    np.testing.assert_allclose(found, np.take_along_axis(logits, classes, axis=1), rtol=1e-5, atol=1e-5)


def test_rows_of_a_target_that_is_a_function_stay_together() -> None:
    ROWS.clear()
    model, batch = Counted().eval(), torch.randn(2, 3, 1024, 1024)
    case = case_of(model, batch, lambda out: out[:, 0], layer="body.4", maps=np.zeros((2, 1, 1, 1)))
    assert len(list(pieces(case.scoring.probe._pass, batch))) == 1  # type: ignore[attr-defined]
