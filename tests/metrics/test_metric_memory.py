"""The most memory that measuring takes: that of a few batches, however many photos there are."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.pytorch, pytest.mark.slow]

MEASURE = """
import resource, sys
import numpy as np, torch
import gradsight as gs

count, batch_size, warm = map(int, sys.argv[1:])
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(4),
    torch.nn.Conv2d(16, 8, 3, padding=1), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4),
)
explainer = gs.Explainer(net, preprocess=gs.Preprocess(96))

def photos(count):
    for i in range(count):
        yield np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8)

def measured(count, batch_size):
    return gs.evaluate(
        explainer, photos(count), methods=["gradcam", "layercam", "gradient"], batch_size=batch_size,
        metrics=["deletion(steps=6)", "road(steps=2)", "averagedrop", "maxsensitivity(samples=4)", "mirroring"],
    )

measured(warm, 4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measured(count, batch_size)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def peak(count: int, batch_size: int, env: dict[str, str]) -> float:
    """MiB that measuring so many photos takes above what a first batch of four took."""
    command = [sys.executable, "-c", MEASURE, str(count), str(batch_size), "8"]
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def test_four_times_as_many_photos_take_no_more_memory_and_larger_batches_do(subprocess_env: dict[str, str]) -> None:
    few, many = peak(64, 4, subprocess_env), peak(256, 4, subprocess_env)
    # What is left of the photos are their figures: some kilobytes.
    assert many < few + 16
    assert peak(256, 32, subprocess_env) > many + 16
