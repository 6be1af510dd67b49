"""Times metrics beside those of grad-cam, torchcam, captum and Quantus: ``make bench-metrics``.

    make bench-metrics ARGS="--images 8"                 a few minutes
    make bench-metrics ARGS="--batch 4 --rows road"      other batches, some of the rows

Photos are COCO's, in ``../shared/data`` beside the checkout; the model is the demo model with its weights. Everybody
measures the same Grad-CAM maps of the same batches, one batch after the other, whoever begins taking turns, with one
thread; time is processor time, since a machine that others use stretches wall time. Rows that go through the model are
counted on both sides. ``difference`` is the largest between figures of one image, where both mean the same.

"five methods" are Grad-CAM, Grad-CAM++, HiResCAM, LayerCAM and XGrad-CAM measured together, as `gradsight.evaluate`
does; peers measure one method at a time, and take five times as long as for one. Quantus is left out where it is not
installed: it is no part of the tests' environment.
"""

# ruff: noqa: E402 - the imports below need the path and the shim
from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))

import torchvision_shim

torchvision_shim.install()

import metric_peers as by
import numpy as np
import torch
from metric_peers import Asked, Peer
from peer_maps import InTwoParts
from torch import nn

import gradsight as gs
from gradsight.cases import Case, Scoring
from gradsight.cases.together import Member, Together
from gradsight.explaining.assemble import maps_of
from gradsight.explaining.method_runs import method_runs
from gradsight.metric_registry import as_metric
from gradsight.variants import as_method

PHOTOS = Path(__file__).resolve().parents[2] / "shared/data/coco/images"
METHODS = ("gradcam", "gradcampp", "hirescam", "layercam", "xgradcam")


@dataclass(frozen=True)
class Row:
    """Metrics of ours, and whose they are beside.

    Attributes:
        metrics: with their options.
        peer: its name.
        call: what runs it.
        few: it takes so long that it is run for two images alone, and so are ours.
    """

    metrics: tuple[str, ...]
    peer: str
    call: Peer
    few: bool = False


_CURVES = (f"deletion(steps={by.STEPS})", f"insertion(steps={by.STEPS}, baseline=black)")
ROWS = {
    "deletion": Row(_CURVES[:1], "Quantus PixelFlipping", by.quantus_deletion, few=True),
    "curves": Row(_CURVES, "torchcam DeletionInsertionMetric", by.torchcam_curves),
    "flipping": Row(
        (f"pixelflipping(steps={by.STEPS}, share=1, baseline=black)",),
        "Quantus PixelFlipping",
        by.quantus_flipping,
        few=True,
    ),
    "road": Row(("road(noise=0)",), "grad-cam ROADCombined", by.grad_cam_road),
    "roadmorf": Row(("roadmorf(noise=0)",), "Quantus ROAD", by.quantus_road),
    "drop": Row(("averagedrop",), "grad-cam DropInConfidence", by.grad_cam_drop),
    "infidelity": Row((f"infidelity(samples={by.SQUARES})",), "captum infidelity", by.captum_infidelity),
    "sensitivity": Row((f"maxsensitivity(samples={by.SAMPLES})",), "captum sensitivity_max", by.captum_sensitivity),
    "quantus": Row((f"maxsensitivity(samples={by.SAMPLES})",), "Quantus MaxSensitivity", by.quantus_sensitivity),
    "randomisation": Row(
        ("randomisation(values=absolute, steps=1000)",), "Quantus MPRT", by.quantus_randomisation, few=True
    ),
}


class Counted(nn.Module):
    """The demo model, which counts the rows that go through."""

    rows = 0

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.body = InTwoParts(model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counted.rows += len(x)
        scores: torch.Tensor = self.body(x)
        return scores


@dataclass
class Cost:
    """What a contestant took so far, over so many images."""

    seconds: float = 0.0
    rows: int = 0
    images: int = 0

    def add(self, call: Callable[[], Any], images: int) -> Any:
        Counted.rows, start = 0, time.process_time()
        found = call()
        self.seconds += time.process_time() - start
        self.rows += Counted.rows
        self.images += images
        return found

    def each(self) -> tuple[float, float]:
        """Milliseconds and rows of one image."""
        return 1000 * self.seconds / self.images, self.rows / self.images


@dataclass
class Measured:
    """One row of the table."""

    ours: Cost = field(default_factory=Cost)
    peer: Cost = field(default_factory=Cost)
    five: Cost = field(default_factory=Cost)
    difference: float = float("nan")


def cases(explainer: gs.Explainer, images: torch.Tensor, methods: Sequence[str]) -> list[Case]:
    """A case of each method, which share a scoring and look at other images together."""
    passes = explainer._passes
    batch = passes.batch(images)
    runs = method_runs(passes, batch, [None], [as_method(name) for name in methods], None)
    backend = batch.backend
    scoring = Scoring.of(runs[0].shared, backend)
    explains = [lambda probe, run=run: backend.numpy(run.method.function(probe, backend.ops)) for run in runs]
    scoring.together = Together(Member(run.shared, run.probe, one) for run, one in zip(runs, explains, strict=True))
    maps = [maps_of(run.method, run.probe, run.shared, backend) for run in runs]
    return [Case(one, scoring, run.probe, explain) for one, run, explain in zip(maps, runs, explains, strict=True)]


def ours(row: Row, made: Sequence[Case]) -> np.ndarray:
    """The figures of the first case, (n, metrics)."""
    found = [[as_metric(text)(case)[:, 0] for text in row.metrics] for case in made]
    return np.stack(found[0], axis=-1)


def measure(
    explainer: gs.Explainer, model: nn.Module, images: torch.Tensor, row: Row, found: Measured, turn: int
) -> None:
    """One batch; of two contestants the first is another each time."""
    n = len(images)
    case = cases(explainer, images, METHODS[:1])[0]
    asked = Asked(model, images, case.scoring.probe.targets.classes[:, 0], case)
    _ = asked.heat, asked.before  # given to the peer, and counted as ours below
    # Their maps are there before the clock starts, and nothing else of them.
    one, five = (cases(explainer, images, methods) for methods in (METHODS[:1], METHODS))
    calls = {
        "peer": lambda: found.peer.add(lambda: row.call(asked), n),
        "ours": lambda: found.ours.add(lambda: ours(row, one), n),
        "five": lambda: found.five.add(lambda: ours(row, five), n),
    }
    names = list(calls)
    values = {name: calls[name]() for name in names[turn % 3 :] + names[: turn % 3]}
    theirs, own = values["peer"].reshape(-1, len(row.metrics)), values["ours"]
    # torchcam gives the mean over images alone.
    own = own.mean(axis=0, keepdims=True) if len(theirs) == 1 else own
    if np.isfinite(theirs).any():
        found.difference = float(np.nanmax([found.difference, np.nanmax(np.abs(theirs - own))]))


def table(rows: dict[str, Measured]) -> str:
    """The table, in Markdown."""
    lines = [
        "| ours | peer | ms, peer | ms, ours | times | rows, peer | rows, ours | ms, five | times | difference |",
        "|" + " --- |" * 10,
    ]
    for name, one in rows.items():
        (theirs, peer_rows), (own, own_rows), (five, _) = one.peer.each(), one.ours.each(), one.five.each()
        shown = "another figure" if np.isnan(one.difference) else f"{one.difference:.0e}"
        lines.append(
            f"| {' + '.join(ROWS[name].metrics)} | {ROWS[name].peer} | {theirs:.0f} | {own:.0f} | {theirs / own:.1f} | "
            f"{peer_rows:.0f} | {own_rows:.0f} | {five:.0f} | {5 * theirs / five:.1f} | {shown} |"
        )
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32, help="what everybody is given at once")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    warnings.simplefilter("ignore")  # of peers
    torch.set_num_threads(1)
    loaded = gs.load_model("demo")
    model = Counted(loaded.model).eval()
    explainer = gs.Explainer(model, batch_size=options.batch)
    photos = sorted(options.photos.iterdir())[: options.images]
    images = torch.from_numpy(np.stack([loaded.preprocess(photo) for photo in photos]))
    explainer(images[:1])  # finds the layer, once
    found: dict[str, Measured] = {}
    for name in options.rows:
        row = ROWS[name]
        if row.peer.startswith("Quantus") and importlib.util.find_spec("quantus") is None:
            print(f"# without {name}: Quantus is not installed", file=sys.stderr)
            continue
        found[name] = Measured()
        for turn, batch in enumerate((images[:2] if row.few else images).split(options.batch)):
            measure(explainer, model, batch, row, found[name], turn)
        print(table({name: found[name]}).splitlines()[-1], file=sys.stderr, flush=True)
    print(f"{len(images)} images, {options.batch} at once, one thread, PyTorch {torch.__version__}; of one image:\n")
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps({name: vars(one) for name, one in found.items()}, default=vars, indent=1))


if __name__ == "__main__":
    main()
