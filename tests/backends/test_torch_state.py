"""The model is the user's: nothing of it is changed, after a call or after an error, and threads may share it."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.errors import GradsightError, InvalidArgument, InvalidType
from states import state


def mixed_modes() -> nn.Module:
    model = toys.convolutional(inplace=True).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    model[4].register_forward_hook(lambda _m, _i, output: output * 1)
    return model


@pytest.mark.parametrize("make", [mixed_modes, toys.Restless, toys.Reused, toys.Tokens])
@pytest.mark.parametrize("layer", [None, "by name"])
def test_a_call_changes_nothing(make: Any, layer: str | None) -> None:
    model = make()
    if layer:
        names = {toys.Restless: "body.4", toys.Reused: "two", toys.Tokens: "blocks.0"}
        layer = names.get(make, "4")
    inputs = torch.randn(2, 3, 16, 16)
    kept, before = inputs.clone(), state(model)
    explainer = gs.Explainer(model, layer=layer)
    for _ in range(2):
        explainer(inputs, targets=gs.Top(3))
        assert state(model) == before
    assert torch.equal(inputs, kept)
    assert not inputs.requires_grad


def fails_in_forward(_outputs: Any) -> Any:
    raise IndexError("from the target")


@pytest.mark.parametrize(
    ("options", "call", "error"),
    [
        ({"layer": "no such"}, {}, GradsightError),
        ({"layer": "8"}, {}, GradsightError),
        ({}, {"targets": 99}, InvalidArgument),
        ({}, {"targets": fails_in_forward}, IndexError),
        ({"layer": "4"}, {"targets": fails_in_forward}, IndexError),
        ({"layer": "4"}, {"targets": lambda outputs: outputs}, InvalidType),
    ],
)
def test_an_error_changes_nothing(options: Any, call: Any, error: type[Exception]) -> None:
    model, inputs = mixed_modes(), torch.randn(2, 3, 16, 16)
    before = state(model)
    with pytest.raises(error):
        gs.Explainer(model, **options)(inputs, **call)
    assert state(model) == before


def test_an_error_in_the_middle_of_forward_changes_nothing() -> None:
    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise IndexError("inside")

    model, inputs = nn.Sequential(mixed_modes()[:5], Breaks()), torch.randn(2, 3, 16, 16)
    before = state(model)
    with pytest.raises(GradsightError, match="IndexError: inside"):
        gs.Explainer(model, layer="0.4")(inputs)
    assert state(model) == before
    assert torch.is_grad_enabled()


def test_the_model_may_change_between_calls() -> None:
    model, inputs = toys.convolutional(), torch.randn(2, 3, 16, 16)
    explainer = gs.Explainer(model, layer="4")

    def same_as_new() -> None:
        maps = explainer(inputs, targets=1).maps
        np.testing.assert_array_equal(maps, gs.Explainer(model, layer="4")(inputs, targets=1).maps)
        maps_before.append(maps)

    maps_before: list[np.ndarray] = []
    same_as_new()
    with torch.no_grad():
        model[3].weight.mul_(1.5)  # in place
    same_as_new()
    model[8] = nn.Linear(6, 5)  # another head
    same_as_new()
    model[0].weight = nn.Parameter(torch.randn_like(model[0].weight))  # another tensor
    same_as_new()
    model[1].running_mean = torch.ones(4)  # another buffer
    same_as_new()
    model.train()(torch.randn(4, 3, 16, 16))  # BatchNorm statistics move, in place
    same_as_new()
    model[4].register_forward_hook(lambda _m, _i, output: output * 2)
    same_as_new()
    model.double()
    same_as_new()
    for one, two in itertools.pairwise(maps_before[:-1]):
        assert np.abs(one - two).max() > 0


def test_modules_that_are_kept_outside_of_the_registered_ones_are_followed() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = toys.convolutional()
            self.steps = [self.body[i] for i in range(5)]
            self.rest = {"head": self.body[5:]}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for step in self.steps:
                x = step(x)
            return self.rest["head"](x)

    hidden, inputs = Hidden(), torch.randn(2, 3, 16, 16)
    body = hidden.body
    expected = gs.Explainer(body, layer="4")(inputs).maps
    np.testing.assert_array_equal(gs.Explainer(hidden, layer="body.4")(inputs).maps, expected)

    patched = nn.Sequential(body)
    patched.forward = lambda x: body(x)  # a closure, as notebooks write it
    np.testing.assert_array_equal(gs.Explainer(patched, layer="0.4")(inputs).maps, expected)

    bound = nn.Sequential(toys.convolutional())
    bound.load_state_dict({f"0.{k}": v for k, v in body.state_dict().items()})
    bound.forward = bound[0].forward  # a bound method, as wrappers put it
    np.testing.assert_array_equal(gs.Explainer(bound, layer="0.4")(inputs).maps, expected)


def test_eight_threads_give_the_maps_of_one_and_leave_a_plain_forward_alone() -> None:
    batches = [torch.randn(1, 3, 16, 16) for _ in range(10)]
    model, plain = mixed_modes(), toys.convolutional()
    before = state(model)
    layers = ["0", "3", "4"]
    explainer = gs.Explainer(model)
    work = [(i % len(batches), layers[i % 3], i % 5) for i in range(200)]
    expected = {w: explainer(batches[w[0]], layer=w[1], targets=w[2]).maps for w in set(work)}

    def one(w: tuple[int, str, int]) -> bool:
        return np.array_equal(explainer(batches[w[0]], layer=w[1], targets=w[2]).maps, expected[w])

    watched: list[Any] = []
    modes: set[Any] = set()
    stop = threading.Event()
    shared = gs.Explainer(plain)
    wanted = plain(batches[0]).detach()

    def forward() -> None:
        while not stop.is_set():
            scores = plain(batches[0])
            watched.append(torch.equal(scores, wanted) and scores.requires_grad)
            modes.add((torch.is_grad_enabled(), plain.training))
            shared_state.append(len(plain[4]._forward_hooks))

    shared_state: list[int] = []
    runner = threading.Thread(target=forward)
    runner.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, work))
            found = list(pool.map(lambda i: shared(batches[i % 10], targets=i % 5).maps, range(50)))
    finally:
        stop.set()
        runner.join()
    for i, maps in enumerate(found):
        np.testing.assert_array_equal(maps, shared(batches[i % 10], targets=i % 5).maps)
    assert watched
    assert all(watched)
    assert modes == {(True, False)}
    assert set(shared_state) == {0}
    assert state(model) == before


class Counting(nn.Module):
    """Leaves traces of every pass: numbers, lists, caches, tensors, in itself and in what it holds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.passes, self.seen, self.notes = 0, [], {"deep": [0]}
        self.cache: torch.Tensor | None = None
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        self.notes["deep"][0] += 1
        self.count += 1
        features = self.features(x)
        self.seen.append(features)
        if self.cache is None:
            self.cache = 2 * self.head.weight.detach()
        scores = features.mean((2, 3)) @ self.cache.T
        return scores * (self.passes + self.notes["deep"][0] + self.count + len(self.seen))


@pytest.mark.parametrize("method", ["gradcam", "ablationcam", "scorecam", "shapleycam", "occlusion", "fullgrad"])
def test_every_pass_starts_from_the_state_that_the_user_left(method: str) -> None:
    model, inputs = Counting().eval(), torch.randn(3, 3, 12, 12)
    with torch.no_grad():
        right = 4 * inputs.new_tensor(model(inputs)[:, 1].tolist()) / 4
    model.passes, model.seen, model.notes["deep"][0], model.cache = 0, [], 0, None
    model.count.zero_()
    explainer = gs.Explainer(model, layer="features.1", method=method, targets=1)
    first = explainer(inputs)
    for _ in range(2):
        again = explainer(inputs)
        np.testing.assert_array_equal(again.maps, first.maps)
        np.testing.assert_allclose(again.scores[:, 0], right, rtol=1e-5)
    assert (model.passes, model.seen, model.notes, model.cache, model.count.item()) == (0, [], {"deep": [0]}, None, 0)
    with torch.no_grad():
        model.head.weight.mul_(-2)
    np.testing.assert_allclose(explainer(inputs).scores[:, 0], -2 * right, rtol=1e-5)
    model.notes["deep"][0] = 4  # and it is the user's state of now
    np.testing.assert_allclose(explainer(inputs).scores[:, 0], -4 * right, rtol=1e-5)


@pytest.mark.parametrize("norm", [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_model_that_writes_as_it_runs_is_traced_all_the_same(norm: Any) -> None:
    model = toys.convolutional().eval()
    norm(model[3])
    explainer = gs.Explainer(model.eval(), layer="2", targets=1)
    inputs = torch.randn(2, 3, 16, 16)
    for method in ("ablationcam", "cam", "shapleycam", "gradcam"):
        if method == "cam":
            with pytest.raises(GradsightError):  # there is another convolution behind the layer
                explainer(inputs, method=method)
        else:
            right = gs.Explainer(model, layer="2", targets=1)(inputs, method=method).maps
            np.testing.assert_array_equal(explainer(inputs, method=method).maps, right)
