"""Threads, processes and memory: nothing of another thread is touched, and nothing of a call is kept."""

from __future__ import annotations

import asyncio
import copy
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from asking import ANYWHERE
from gradsight.errors import ModelError


class Noisy(nn.Module):
    """It draws random numbers as it runs, in the way that is asked for."""

    def __init__(self, draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.draw = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5), draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        x = x + 0.1 * self.draw(x)
        return self.head(x.mean((2, 3)))


DRAWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rand": lambda x: torch.rand(x.shape),
    "randn_like": torch.randn_like,
    "randint": lambda x: torch.randint(0, 9, x.shape).float(),
    "randperm": lambda x: x[:, torch.randperm(x.shape[1])],
    "normal_": lambda x: torch.empty_like(x).normal_(),
    "bernoulli": lambda x: torch.bernoulli(torch.full_like(x, 0.5)),
    "multinomial": lambda x: x * torch.multinomial(torch.ones(4), 1),
    "dropout": lambda x: nn.functional.dropout(x, 0.3, training=True),
    "feature dropout": lambda x: nn.functional.dropout2d(x, 0.3, training=True),
    "alpha dropout": lambda x: nn.functional.alpha_dropout(x, 0.3, training=True),
    "rrelu": lambda x: nn.functional.rrelu(x - 1, training=True),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.4),
    "gumbel": lambda x: nn.functional.gumbel_softmax(x, dim=1),
}


def images(n: int = 1) -> torch.Tensor:
    return torch.rand((n, 3, 16, 12), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("draw", DRAWS)
def test_what_a_model_draws_is_its_own(draw: str) -> None:
    explainer = gs.Explainer(Noisy(DRAWS[draw]).eval(), layer="conv", targets=1)
    before = torch.get_rng_state()
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        explanation = explainer(images())
        made.append(explanation.scores)
        assert torch.equal(torch.get_rng_state(), torch.manual_seed(seed).get_state())
    torch.set_rng_state(before)
    np.testing.assert_array_equal(made[0], made[1])  # the seed counts
    assert not np.array_equal(made[0], made[2])
    assert any("draws random numbers" in note.text for note in explanation.target_notes[0][0])


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: nn.functional.dropout(x, 0.0, training=True),
        lambda x: nn.functional.dropout(x, 0.5, training=False),
        lambda x: nn.functional.scaled_dot_product_attention(x, x, x),
        lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(3)),
    ],
)
def test_a_model_that_draws_nothing_is_not_said_to(draw: Any) -> None:
    explanation = gs.Explainer(Noisy(draw).eval(), layer="conv")(images())
    assert not any("draws random numbers" in note.text for note in explanation.target_notes[0][0])


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[None]:
    """Do some work in another thread again and again."""
    stop, failed = threading.Event(), []

    def repeat() -> None:
        while not stop.is_set():
            try:
                work()
            except Exception as error:
                failed.append(error)
                return

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


def test_no_number_of_another_thread_comes_twice() -> None:
    torch.manual_seed(5)
    expected = torch.rand(60_000)
    torch.manual_seed(5)
    drawn: list[torch.Tensor] = []

    # A model draws its weights as it is made, which is not what is tried here.
    made = toys.convolutional()
    torch.manual_seed(5)
    with beside(lambda: gs.Explainer(made, preprocess=of_photo)(images())):
        while len(drawn) < 60:
            drawn.append(torch.rand(1000))
            time.sleep(0.03)
    assert torch.equal(torch.cat(drawn), expected)


def of_photo(picture: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.resize((12, 16)), dtype=np.float32) / 255).permute(2, 0, 1)


def trained(steps: int = 120) -> torch.Tensor:
    """The weights of a small net after training with dropout."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 14 * 10, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(torch.rand(8, 3, 16, 12)), torch.randint(0, 5, (8,)))
        loss.backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_training_with_dropout_ends_with_the_same_bits_beside_explanations() -> None:
    alone = trained()
    model, noisy = toys.convolutional(), Noisy(DRAWS["dropout"]).eval()

    def explain() -> None:
        gs.Explainer(model, method="ablationcam")(images())
        gs.Explainer(noisy, layer="conv", method=["gradcam", "guidedbackprop"])(images())

    with beside(explain):
        together = trained()
    assert torch.equal(alone, together)


def test_a_model_that_is_trained_meanwhile_is_an_error_in_words() -> None:
    model = toys.convolutional()

    def step() -> None:
        with torch.no_grad():
            model[0].weight.add_(1e-3)

    class Training(nn.Module):
        """Another thread makes a step while this one is explained; it happens here, so that it always does."""

        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.body(x)
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
            return scores

    explainer = gs.Explainer(Training().eval(), layer="body.0", targets=0)
    for ask in (explainer, explainer.layers):
        with pytest.raises(ModelError, match=r"the model changed while it was explained: another thread writes"):
            ask(images())


# Memory


@contextmanager
def garbage() -> Iterator[list[Any]]:
    """What only the garbage collector would have freed."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Joined(nn.Module):
    """Something bypasses its last convolution, and its head is one that CAM takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.last, self.norm, self.head = nn.ReLU(), nn.ReLU(), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.relu(self.first(x))
        return self.head(self.last(self.norm(self.second(x)) + x).mean((2, 3)))


@pytest.mark.parametrize("method", [*ANYWHERE, "smooth(gradcam)", "fuse(layercam)"])
def test_nothing_of_a_call_waits_for_the_garbage_collector(method: str) -> None:
    model = Joined().eval()
    explainer = gs.Explainer(model, method=method, targets=gs.Top(2))
    explainer(images(2))  # what PyTorch itself leaves at its first trace of a process
    explainer(images(2).repeat(1, 1, 2, 1))
    with garbage() as found:
        explainer(images(2))
        explainer(torch.rand(2, 3, 20, 12))  # of a new kind: studied and traced
        with pytest.raises(gs.GradsightError):
            explainer(images(2), targets=99)
    weights = {x.data_ptr() for x in (*model.parameters(), *model.buffers())}  # which views share
    tensors = [x for x in found if type(x) in (torch.Tensor, np.ndarray) and x.ndim > 2]
    assert [tuple(x.shape) for x in tensors if getattr(x, "data_ptr", int)() not in weights] == []


def test_what_is_remembered_of_input_sizes_is_bounded() -> None:
    explainer = gs.Explainer(toys.convolutional(), method="ablationcam", layer="0")
    for width in range(8, 48):
        explainer(torch.rand(1, 3, 16, width))
    backend = explainer._model.backend()
    assert len(backend.view.tails) == len(backend._trials._done) == 16
    (tails,) = list(backend.view.tails.values())[-1:]
    assert all(not node.meta for found in tails.values() for node in found._graph.graph.nodes)


# Processes


def test_an_explainer_is_pickled_and_copied_with_its_model() -> None:
    explainer = gs.Explainer(toys.convolutional(), method=["smooth(gradcam)", gs.fuse("layercam", by="max")], targets=1)
    expected = explainer(images())
    for other in (pickle.loads(pickle.dumps(explainer)), copy.deepcopy(explainer)):
        assert other._model._model is not explainer._model._model
        for ours, theirs in zip(other(images()), expected, strict=True):
            np.testing.assert_array_equal(ours.maps, theirs.maps)
            assert ours.method == theirs.method


def _explained(explainer: gs.Explainer) -> np.ndarray[Any, Any]:
    maps: np.ndarray[Any, Any] = explainer(images()).maps
    return maps


def test_a_spawned_process_explains() -> None:
    explainer = gs.Explainer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), layer="0")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_explained, (explainer,)), _explained(explainer))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children_that_are_forked_while_other_threads_explain_go_on() -> None:
    model = toys.convolutional()
    torch.set_num_threads(1)  # OpenMP's own threads do not survive a fork, and wait for ever
    shared, generator = gs.Explainer(model), torch.Generator()
    methods = ["ablationcam", "fullgrad", "gradcam", "shapleycam", "random"]

    def explain() -> None:
        for method in methods:
            width = 12 + int(torch.randint(0, 30, (1,), generator=generator))
            shared(torch.rand(1, 3, 16, width), method=method)
            gs.Explainer(toys.Residual().eval(), preprocess=of_photo)(images(), method=method)

    children = []
    with beside(explain), beside(explain):
        for _ in range(8):
            time.sleep(0.05)
            child = os.fork()
            if child == 0:
                try:
                    for method in methods:
                        shared(images(), method=method)
                        gs.Explainer(model)(images(), method=method)
                    os._exit(0 if gc.isenabled() else 3)
                finally:
                    os._exit(1)
            children.append(child)
    assert [_status(child) for child in children] == [0] * len(children)


def test_a_fork_within_an_explanation_waits_for_nobody_else() -> None:
    children: list[int] = []

    class Forking(nn.Module):
        """It forks as it runs."""

        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()

        def forward(self, x: torch.Tensor) -> Any:
            if not children:
                children.append(os.fork())
                if children[0] == 0:
                    os._exit(0)
            return self.body(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads run, which is meant
        start = time.monotonic()
        explainer = gs.Explainer(Forking().eval(), layer="body.0")
        explainer(images())
    assert time.monotonic() - start < 5
    assert _status(children[0]) == 0


def _status(child: int, patience: float = 30) -> int:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -99


def test_tasks_of_asyncio_explain_side_by_side() -> None:
    explainer = gs.Explainer(toys.convolutional(), targets=1)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(explainer, images()) for _ in range(8)))

    first, *others = asyncio.run(all_of_them())
    for other in others:
        np.testing.assert_array_equal(first.maps, other.maps)
