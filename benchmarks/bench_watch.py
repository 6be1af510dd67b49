"""`gradsight watch` beside plain inference on the same video: decode, preprocess, forward, and nothing else.

Rounds of both take turns in one process, and what is told is the median of their ratios: 1 is as quick as plain
inference. Processor time is told too, which other processes on the machine do not change.

    python benchmarks/bench_watch.py [--frames 300] [--size 640x360] [--model demo] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import gradsight as gs
import torchvision_shim
from gradsight.photos import bundled_photo


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torchvision_shim.install()
    width, height = map(int, asked.size.split("x"))
    model = gs.load_model(asked.model, **({} if asked.model == "demo" else {"weights": "none"}))
    explainer = gs.Explainer(model, targets=0)
    with tempfile.TemporaryDirectory() as folder:
        video, out = Path(folder) / "pan.mp4", Path(folder) / "out.mp4"
        pan(video, asked.frames, (width, height))
        one = {"1": lambda: plain(video, model, 1), "8": lambda: plain(video, model, 8)}
        timed(one["1"]), timed(one["8"])
        best = min(one, key=lambda size: timed(one[size])[0])
        ratios: list[tuple[float, float]] = []
        for number in range(asked.rounds + 1):
            before, ours, after = timed(one[best]), timed(lambda: watched(video, out, explainer)), timed(one[best])
            wall, used = ((before[i] + after[i]) / 2 / ours[i] for i in range(2))
            # The first round warms up what is compiled and cached.
            if number:
                ratios.append((wall, used))
                print(
                    f"plain {asked.frames / before[0]:.1f} and {asked.frames / after[0]:.1f} frames/s (batch {best}), "
                    f"watch {asked.frames / ours[0]:.1f}: {wall:.2f} by the clock, {used:.2f} by processor time",
                    flush=True,
                )
    told = [statistics.median(ratio[i] for ratio in ratios) for i in range(2)]
    print(
        f"{asked.model}, {asked.frames} frames of {asked.size}, {torch.get_num_threads()} threads: watch runs at "
        f"{told[0]:.2f} of plain inference by the clock, {told[1]:.2f} by processor time"
    )


def timed(function: Callable[[], int]) -> tuple[float, float]:
    """Seconds by the clock and of the processors."""
    clock, used = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - used


def plain(video: Path, model: gs.Model, size: int) -> int:
    """Decode, preprocess, forward: how many frames."""
    count = 0
    for batch in batches(video, size):
        inputs = np.stack([model.preprocess.place(picture)[0] for picture in batch])
        with torch.inference_mode():
            model.model(torch.from_numpy(inputs))
        count += len(batch)
    return count


def batches(video: Path, size: int) -> Iterator[list[Image.Image]]:
    """Decoded frames, so many at a time."""
    batch: list[Image.Image] = []
    with av.open(str(video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            batch.append(frame.to_image())
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


def watched(video: Path, out: Path, explainer: gs.Explainer) -> int:
    """All of it: decode, explain, draw, encode."""
    return gs.watch(video, explainer).save(out).frames


def pan(path: Path, count: int, size: tuple[int, int]) -> None:
    """A camera that moves over a photo."""
    width, height = size
    photo = Image.open(BytesIO(bundled_photo().source)).convert("RGB")
    times = 1.4 * max(width / photo.width, height / photo.height)
    photo = photo.resize((round(photo.width * times), round(photo.height * times)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(count):
            left, top = ((side - part) * i // max(1, count - 1) for side, part in zip(photo.size, size, strict=True))
            frame = av.VideoFrame.from_image(photo.crop((left, top, left + width, top + height)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
