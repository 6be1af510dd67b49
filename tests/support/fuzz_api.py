"""Random calls of everything public: each returns, or says in words what was wrong; the model stays as it was.

``python tests/support/fuzz_api.py --seed 1 --calls 2000`` makes them in this process, under limits of memory and
time, and prints what broke; ``FUZZ_TRACEBACK=1 ... --only 17`` repeats one of them and shows its traceback.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import inspect
import io
import itertools
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image
from torch import nn

import gradsight as gs
from gradsight.errors import GradsightError, received
from gradsight.runs.example import example

MOST_BYTES = 4 << 30
MOST_SECONDS = 60

Maker = Callable[["World"], Any]


class OwnError(Exception):
    """What a function of the user's raises; it may come through as it is."""


def fails(*arguments: Any, **options: Any) -> Any:
    raise OwnError("a function of the user's")


def hostile(name: str) -> type:
    """A class whose objects fail when one of their methods is called."""

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"{name} fails")

    return type(f"Bad{name.strip('_')}", (), {name: method})


SPECIAL = ("repr", "len", "array", "eq", "bool", "iter", "hash", "str", "float", "index", "fspath", "getitem", "call")


class Shaped:
    """Looks like an array, and is none."""

    shape, dtype, ndim = ("a", None), "float32", 2


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def nested_targets(depth: int) -> Any:
    found: Any = gs.Several(0)
    for _ in range(depth):
        found = gs.Several(found)
    return found


HOSTILE: list[Maker] = [
    *(lambda w, x=x: x for x in (None, math.nan, math.inf, -math.inf, 1e308, 1e-320, -1, -2, 0, 1, 2, 3, 7, 1e20, 0.5)),
    *(
        lambda w, x=x: x
        for x in (10**400, -(10**400), 1 << 63, 10**6, 10**9, 1.5, True, False, 1j, ..., NotImplemented)
    ),
    *(
        lambda w, x=x: x
        for x in ("", "a" * 10_000, "\0", "\ud800", "7x7", "gradcam", "0", "-1", "nan", "./", "/nonexistent/a.npz")
    ),
    *(
        lambda w, x=x: x
        for x in (b"", b"\xff\xd8\xff", bytearray(b"a"), slice(3), object(), int, len, print, Decimal(1))
    ),
    *(
        lambda w, x=x: x
        for x in ((), {}, set(), {1}, [None], [[]], [[[1]]], ["a"], ("a",) * 4, [math.nan] * 4, [1, 2, 3, 4])
    ),
    *(
        lambda w, x=x: x
        for x in ([0, 0], (5, 5), [10**9] * 2, {"a": 1}, {0: "a"}, range(3), range(10**9), Fraction(1, 3))
    ),
    *(
        lambda w, x=x: x
        for x in (np.float32(math.nan), np.int64(1), np.uint8(2), np.bool_(True), np.str_("a"), np.float64(0.5))
    ),
    lambda w: (x for x in range(3)),
    lambda w: itertools.count(),
    lambda w: iter([]),
    lambda w: recursive(),
    lambda w: nested(5),
    lambda w: nested(2000),
    lambda w: nested_targets(2000),
    lambda w: fails,
    lambda w: lambda *a, **k: None,
    lambda w: lambda *a, **k: a[0] if a else None,
    lambda w: types.SimpleNamespace(),
    lambda w: Shaped(),
    lambda w: Path("/nonexistent/folder/file"),
    lambda w: w.folder,
    lambda w: Image.new("RGB", (1, 1)),
    lambda w: Image.new("L", (5, 0)),
    lambda w: np.array(3),
    lambda w: np.array([]),
    lambda w: np.zeros((0, 3, 4, 4)),
    lambda w: np.array([1, 2]),
    lambda w: np.full((2, 2), np.nan),
    lambda w: np.zeros((2, 3)),
    lambda w: np.ones((3, 20, 24)),
    lambda w: np.array([object(), None]),
    lambda w: np.array(["a", "b"]),
    lambda w: np.ones((2, 3, 16, 16), np.complex64),
    lambda w: np.datetime64("2020-01-01"),
    lambda w: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
    lambda w: torch.tensor(2),
    lambda w: torch.full((2, 3, 16, 16), math.nan),
    lambda w: torch.rand(1, 3, 16, 16, requires_grad=True),
    lambda w: torch.empty(2, 3, 16, 16, device="meta"),
    lambda w: torch.rand(3, 3).to_sparse(),
    lambda w: torch.zeros(2, 2, dtype=torch.bfloat16),
    lambda w: w.model,
    lambda w: gs.Top(2),
    lambda w: w.explanation,
    lambda w: w.preprocess,
    *(lambda w, x=x: hostile(f"__{x}__")() for x in SPECIAL),
]


class World:
    """A tiny model with photos, and every public value that can be made of them."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4),
        ).train()  # fmt: skip
        self.segmenting = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)).eval()
        signal_model = nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
        )
        volume_model = nn.Sequential(
            nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)
        )
        random_state = np.random.default_rng(0)
        self.batch = torch.rand(2, 3, 16, 16)
        self.photo = Image.fromarray(random_state.integers(0, 255, (20, 24, 3), dtype=np.uint8))
        self.path = folder / "photo.png"
        self.photo.save(self.path)
        for concept in ("red", "blue"):
            (folder / "concepts" / concept).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (20, 20), concept).resize((20 + i, 20)).save(
                    folder / "concepts" / concept / f"{i}.png"
                )
        self.preprocess = gs.Preprocess((16, 16))
        self.labels = ["cat", "dog", "bird, sparrow", "fish"]
        self.loaded = gs.Model(self.model, self.preprocess, self.labels)
        self.answering = gs.Model(self.model, self.preprocess, self.labels, reads=lambda text: {})
        self.explainer = gs.Explainer(self.loaded)
        self.segmenter = gs.Explainer(self.segmenting, preprocess=self.preprocess, targets=gs.Pixels(1), layer="0")
        self.explanation = self.explainer([self.photo, self.photo], targets=gs.Classes(0, 1))
        self.signed = self.explainer(self.batch, targets=gs.Contrast(0, 1), method="layercam")
        self.signal = gs.Explainer(signal_model.eval())(torch.rand(1, 2, 40))
        self.volume = gs.Explainer(volume_model.eval())(torch.rand(1, 1, 8, 8, 8))
        self.concepts = gs.Concepts.read(folder / "concepts")
        self.dissection = self.explainer.dissect(self.concepts, layer=self.explanation.layer, quantile=0.1)
        self.exciting = self.explainer.top_activating([self.path], [0, 1])
        self.neurons = self.explanation.neurons(2)
        self.placement = gs.Placement((20, 24), (16, 16), (0.0, 0.0, 20.0, 24.0))
        self.candidate = self.explainer.layers(self.batch)[0]
        self.run = gs.open_run(example(folder / "run"))
        self.explanation.save(folder / "explanation.npz")
        self.dissection.save(folder / "dissection.npz")
        models = (self.model, self.segmenting)
        self._before = [(m, {k: v.clone() for k, v in m.state_dict().items()}, _modes(m)) for m in models]

    def changed(self) -> bool:
        """Whether a model is no longer what it was."""
        return any(
            _modes(model) != modes
            or any(not torch.equal(model.state_dict()[name], value) for name, value in state.items())
            or any(p.grad is not None for p in model.parameters())
            for model, state, modes in self._before
        )

    def calls(self) -> list[tuple[str, Callable[..., Any]]]:
        """Everything public that can be called, by what it is called."""
        values = ("explainer", "segmenter", "explanation", "signed", "signal", "volume", "concepts", "dissection",
                  "exciting", "neurons", "placement", "candidate", "preprocess", "loaded", "run")  # fmt: skip
        found: list[tuple[str, Callable[..., Any]]] = []
        for name in gs.__all__:
            value = getattr(gs, name)
            if isinstance(value, type) and issubclass(value, Exception):
                continue
            found.append((f"gs.{name}", value))
            if isinstance(value, type):
                static = [n for n, m in inspect.getmembers_static(value) if isinstance(m, classmethod) and n[0] != "_"]
                found += [(f"gs.{name}.{n}", getattr(value, n)) for n in static]
        for name in values:
            value = getattr(self, name)
            found += [(f"{name}.{member}", call) for member, call in _members(value)]
        return found


def _modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


OFTEN = ("gs.Explainer", "gs.explain", "gs.Preprocess", "gs.load_model", "explainer.__call__", "segmenter.__call__",
         "explainer.layers", "explainer.top_activating", "explanation.overlay", "explanation.figure",
         "explanation.heatmaps",
         "signal.overlay", "volume.figure")  # fmt: skip
"""Every other call or so is of one of these, which take more than others."""

SHOWN = ("__call__", "__getitem__", "__repr__", "_repr_html_")


def _members(value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a value, and its properties as calls without arguments."""
    for name, member in inspect.getmembers_static(type(value)):
        if isinstance(member, property) and name[0] != "_":
            yield name, functools.partial(_property, value, name)
        elif isinstance(member, types.FunctionType) and (name[0] != "_" or name in SHOWN):
            yield name, getattr(value, name)


def _property(value: Any, name: str, /) -> Any:
    return getattr(value, name)


METHODS = ("gradcam", "layercam", "scorecam(top=2)", "smooth(gradcam)", "rise(masks=3)", "gradient", "fem", "refinecam",
           "fuse(layercam, by='max')", "contrastive(gradcam, rivals=1)", "edge")  # fmt: skip

TARGETS: list[Maker] = [
    *(lambda w, x=x: x for x in (None, 0, 3, "cat", "sparrow", [0, 1], ["cat", 2], [[0, 1], [2, 3]])),
    lambda w: gs.Top(2),
    lambda w: gs.Classes(0, "dog"),
    lambda w: gs.Against(gs.Contrast(0, 1)),
    lambda w: gs.Several(0, gs.Sum(1, 2, name="both")),
    lambda w: gs.Pixels(1, mask=np.ones((2, 16, 16))),
    lambda w: gs.Pixels(1, box=(2, 2, 8, 9)),
    lambda w: gs.Box(0),
    lambda w: gs.Token(at=-1),
    lambda w: gs.Similarity(embedding=[1.0, 0, 0, 0]),
    lambda w: lambda outputs: outputs[:, 0],
    lambda w: np.array([1, 2]),
]

INPUTS: list[Maker] = [
    lambda w: w.batch,
    lambda w: w.batch.numpy(),
    lambda w: w.batch[:1],
    lambda w: w.batch[0],
    lambda w: w.photo,
    lambda w: [w.photo, w.path],
    lambda w: str(w.path),
    lambda w: w.path.read_bytes(),
    lambda w: {"x": w.batch},
    lambda w: (w.batch,),
]


def constant(*values: Any) -> list[Maker]:
    return [lambda w, x=x: x for x in values]


NUMBERS = constant(0, 1, 2, 0.5, 0.04, 4)

PLAUSIBLE: dict[str, list[Maker]] = {
    "inputs": INPUTS,
    "photo": [lambda w: w.photo, lambda w: w.path, lambda w: w.batch[0], lambda w: w.photo.resize((16, 16))],
    "photos": [lambda w: [w.path], lambda w: w.photo, lambda w: [w.path, w.folder / "none.png"]],
    "image": [*constant(0, 1, 2), lambda w: w.photo, lambda w: w.path],
    "model": [lambda w: w.model, lambda w: w.loaded, lambda w: w.answering, lambda w: w.segmenting],
    "method": [*constant(*METHODS, ["gradcam", "edge"]), lambda w: gs.smooth("gradcam")],
    "layer": [*constant(None, "0", "2", ["0", "2"], "nothing"), lambda w: w.model[2]],
    "targets": TARGETS,
    "target": [*TARGETS, *constant(0, 1)],
    "rather_than": TARGETS,
    "which": constant(0, 1, "cat", None),
    "preprocess": [lambda w: w.preprocess, lambda w: None, lambda w: lambda image: np.zeros((3, 8, 8), np.float32)],
    "labels": [lambda w: w.labels, *constant(None, ["a", "b"], {"a": 0, "b": 1, "c": 2, "d": 3})],
    "layout": constant(None, "channels_first", "channels_last", "tokens"),
    "grid": constant(None, (8, 8), 8, [4, 4]),
    "scores": [lambda w: None, lambda w: lambda outputs: outputs, lambda w: gs.Scores(lambda outputs: outputs)],
    "feed": [lambda w: None, lambda w: torch.as_tensor],
    "size": constant(None, 8, (8, 9), (8,), (4, 4, 4), (16, 16)),
    "scale": constant("own", "shared", 2.0),
    "signed": constant(None, True, False),
    "colormap": constant(None, "viridis", "bwr"),
    "opacity": constant("value", 0.5, 1),
    "height": constant(None, 50, 320),
    "files": constant((), ["a.png", "b.png"], [None, "a"]),
    "path": [lambda w, x=x: w.folder / x for x in ("out.npz", "new/a.npz", "explanation.npz")],
    "folder": [lambda w: w.folder / "concepts", lambda w: w.folder],
    "concepts": [lambda w: w.concepts, lambda w: w.folder / "concepts", *constant(("a", "b"))],
    "dissection": [lambda w: w.dissection, lambda w: None],
    "channels": constant([0, 1], [3], (5,), 4),
    "channel": constant(0, 1, 5),
    "k": constant(1, 2, 5),
    "by": constant("alpha", "contribution", "max", "mean"),
    "box": constant(None, (1, 2, 8, 9), [0.5, 0, 10, 10.5]),
    "point": constant(None, (3, 4)),
    "mask": [lambda w: None, lambda w: np.ones((16, 16)), lambda w: np.eye(20, 24) > 0, lambda w: np.ones((3, 16, 16))],
    "heat": [lambda w: np.ones((4, 4)), lambda w: np.ones((2, 3, 4, 5), np.float32)],
    "image_size": constant((20, 24), 20),
    "input_size": constant((16, 16), 16, (40,)),
    "question": constant("what is it?"),
    "text": constant(None, "a cat"),
    "embedding": [lambda w: None, lambda w: [1.0, 0, 0, 0], lambda w: torch.rand(4), lambda w: lambda outputs: outputs],
    "spec": [lambda w: w.path, lambda w: w.folder / "out.npz", *constant("demo", "torchvision:resnet5", "nothing")],
    "weights": [lambda w: None, lambda w: "none", lambda w: w.path],
    "fit": constant("crop", "squash", "letterbox", "keep", "none", None),
    "interpolation": constant("bilinear", "box", None),
    "mean": constant(0.5, (0.5,), (0.5, 0.4, 0.3), [0.5] * 3),
    "std": constant(0.5, (0.5,), (0.5, 0.4, 0.3), [0.5] * 3),
    "fill": constant(0.5, (0.1, 0.2, 0.3)),
    "crop": constant(0.5, 0.875, None),
    "rounding": constant("nearest", "down", "even"),
    "multiple": constant(1, 4),
    "resize": constant(None, 20),
    "assumed": constant((), ("size",)),
    "name": constant("a_name", "smoothie", None, 0),
    "title": constant("A title"),
    "source": constant("arXiv:1"),
    "example": constant("a:b"),
    "at": constant(-1, 0, "layer", "input"),
    "remarks": constant(None, {0: ["a"]}),
    "about": constant((), ["a line"]),
    "function": [lambda w: None, lambda w: lambda pixels: pixels, lambda w: lambda outputs: outputs],
    "maps": [lambda w: w.explanation.maps, lambda w: np.zeros((1, 1, 4, 4), np.float32)],
    "arguments": constant(None, {}),
    "write": [lambda w: lambda x: [1, 2, 3]],
    "words": [lambda w: lambda x: [("a", (1,))]],
    "least": constant(0.04, 0.5),
    "quantile": constant(0.1, 0.5),
    "activation": constant("softmax", "sigmoid", ""),
    "missing": constant(""),
    "batch_size": constant(1, 2, 32),
    "probabilities": constant(False, True),
    "channels_last": constant(True, False),
}  # fmt: skip


def arguments(call: Callable[..., Any], world: World, dice: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by the signature: plausible ones, with a hostile one here and there."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except ValueError:
        return [], {}
    positional, keywords = [], {}
    share = dice.choice((0.0, 0.1, 0.3, 1.0))  # of the arguments that are hostile

    def value(name: str) -> Any:
        plausible = PLAUSIBLE.get(name, NUMBERS)
        return dice.choice(HOSTILE if dice.random() < share else plausible)(world)

    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += [value(parameter.name) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
        elif parameter.kind is parameter.VAR_KEYWORD:
            owner = gs.Explanation.overlay if "figure" in getattr(call, "__name__", "") else gs.Explainer
            known = [n for n, p in inspect.signature(owner).parameters.items() if p.kind is p.KEYWORD_ONLY]
            keywords |= {name: value(name) for name in dice.sample(known, dice.choice((0, 1, 2)))}
        elif parameter.default is parameter.empty or dice.random() < 0.4:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value(parameter.name))
            else:
                keywords[parameter.name] = value(parameter.name)
    if positional:  # what comes before *arguments is given by its place
        return positional, {k: v for k, v in keywords.items() if k in _keywords(parameters)}
    return positional, keywords


def _keywords(parameters: list[inspect.Parameter]) -> set[str]:
    return {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def outcome(name: str, call: Callable[..., Any], world: World, dice: random.Random) -> tuple[str, str]:
    """What came of one random call: ``"ok"``, ``"refused"``, or ``"broken"`` with what was wrong."""
    given, options = arguments(call, world, dice)
    described = f"{name}({', '.join([*map(_shown, given), *(f'{k}={_shown(v)}' for k, v in options.items())])})"
    started = time.monotonic()
    signal.alarm(MOST_SECONDS)
    try:
        found = call(*given, **options)
        if name in ("gs.method", "gs.source"):
            found(dice.choice([lambda probe, ops: probe.activations, fails, len]))
        if isinstance(found, Iterator):
            next(found, None)
        repr(found) if type(found).__module__.startswith("gradsight") else None
        result = "ok", described
    except GradsightError as error:
        text = str(error)
        result = ("refused", described) if text and "\n" not in text else ("broken", f"{described}: {text!r}")
    except OwnError:
        result = "refused", described
    except BaseException as error:
        if os.environ.get("FUZZ_TRACEBACK"):
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        result = "broken", f"{described}: {type(error).__name__}: {str(error)[:200]} at {where}"
    finally:
        signal.alarm(0)
    if time.monotonic() - started > MOST_SECONDS:
        result = "broken", f"{described}: {time.monotonic() - started:.0f} s"
    if world.changed():
        result = "broken", f"{described}: the model is not as it was"
    return result


def _shown(value: Any) -> str:
    return received(value).removeprefix("Received: ").removesuffix(".")


def _late(number: int, frame: Any) -> None:
    raise TimeoutError(f"over {MOST_SECONDS} s")


def _peak() -> int:
    """Bytes that this process had at most."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    # On Linux this one begins with what the process had that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Make the calls, and print what came of them as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGALRM, _late)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts: collections.Counter[str] = collections.Counter()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        world = World(Path(folder))
        calls = world.calls()
        for number in range(options.calls) if options.only is None else [options.only]:
            dice = random.Random(f"{options.seed} {number}")
            random.seed(number)
            often = dice.random() < 0.4
            name, call = dice.choice([c for c in calls if c[0] in OFTEN] if often else calls)
            with contextlib.redirect_stdout(io.StringIO()):  # what `print` says that was given for another function
                kind, text = outcome(name, call, world, dice)
            counts[kind] += 1
            if kind == "broken":
                broken.append(f"{number}: {text}")
        os.chdir("/")
    used = _peak()
    if used > MOST_BYTES:
        broken.append(f"{used / 1e9:.1f} GB")
    print(json.dumps({**counts, "calls of": len(calls), "GB": round(used / 1e9, 2), "found": broken}, indent=1))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
