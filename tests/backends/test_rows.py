"""Rows of a batch: private to every pass, apart where they influence each other, and whose is what beside the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
from asking import METHODS_AND_VARIANTS
from gradsight.backends.torch.backend import TorchBackend
from gradsight.backends.torch.running import Running
from gradsight.contracts import Rows

pytestmark = pytest.mark.pytorch

WITHOUT_CAM = [name for name in METHODS_AND_VARIANTS if name != "cam"]
"""CAM needs a mean and a linear layer alone behind the layer."""
BY_PASSES = ["gradcam", "occlusion(window=0.5, stride=0.5)", "scorecam", "rise(masks=6)", "smooth(gradcam)"]


def features(norm: Callable[[int], nn.Module] = nn.Identity) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), norm(6), nn.ReLU(), nn.Conv2d(6, 5, 3, 1, 1), norm(5), nn.ReLU())


class Plain(nn.Module):
    """The network that the others are, but for one line before or behind the features."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.features, self.head = features(norm), nn.Linear(5, 4)
        self.eval()

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.45) / 0.225

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.behind(self.features(self.before(x))).mean((2, 3)))


def images(n: int = 1) -> torch.Tensor:
    return torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(5))


# What goes in belongs to the caller, and every pass starts from it.


class InPlace(Plain):
    def before(self, x: torch.Tensor) -> torch.Tensor:
        return x.sub_(0.45).div_(0.225)


class ThroughAView(Plain):
    def before(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(3):
            x[:, i] -= 0.45
        x.view(-1)[:] = x.flatten() / 0.225
        return x


class WithoutAGraph(Plain):
    def before(self, x: torch.Tensor) -> torch.Tensor:
        x.data.sub_(0.45).div_(0.225)
        return x


class Doubling(nn.Module):
    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2) if self.in_place else x * 2


class Doubled(Plain):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.first = Doubling(in_place)

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


class InItsFirstModule(Doubled):
    def __init__(self) -> None:
        super().__init__(in_place=True)


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize(("writes", "right"), [(InPlace, Plain), (ThroughAView, Plain), (InItsFirstModule, Doubled)])
def test_a_model_may_write_into_what_it_is_given(writes: Any, right: Any, array: bool) -> None:
    given = images(2).numpy().copy() if array else images(2)
    methods = METHODS_AND_VARIANTS
    plain = gs.Explainer(right(), layer="features.5", targets=1)
    explainer = gs.Explainer(writes(), layer="features.5", targets=1)
    for found, truth in zip(explainer(given, method=methods), plain(images(2), method=methods), strict=True):
        scale = np.abs(truth.maps).max()
        np.testing.assert_allclose(found.maps, truth.maps, atol=1e-5 * scale, err_msg=found.method)
    np.testing.assert_array_equal(np.asarray(given), images(2).numpy())


def test_a_write_that_no_graph_sees_is_private_too() -> None:
    given = images(2)
    right = gs.Explainer(Plain(), layer="features.5", targets=1)(images(2), method=BY_PASSES)
    found = gs.Explainer(WithoutAGraph(), layer="features.5", targets=1)(given, method=BY_PASSES)
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a.maps, b.maps, atol=1e-5 * np.abs(b.maps).max(), err_msg=a.method)
    assert torch.equal(given, images(2))


class WritesElsewhere(Plain):
    """Writes into the second input, into a dict's tensor, and into a tensor of its own that is registered nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(1)

    def forward(self, x: torch.Tensor, table: dict[str, torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        self.seen += 1
        table["row"].mul_(2)
        return super().forward(x) * table["row"].sum(1, keepdim=True) * (1 + 0 * self.seen)


def test_other_inputs_and_tensors_of_the_model_stay_as_they_are() -> None:
    model, table = WritesElsewhere(), {"row": torch.full((2, 3), 0.5)}
    found = gs.Explainer(model, layer="features.5", targets=1)((images(2), table), method=BY_PASSES)
    right = gs.Explainer(Plain(), layer="features.5", targets=gs.Sum(1, 1, 1))(images(2), method=BY_PASSES)
    for a, b in zip(found, right, strict=True):  # three times 0.5 times 2
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    assert model.seen.item() == 0
    assert torch.equal(table["row"], torch.full((2, 3), 0.5))


def test_functions_of_the_user_may_write_into_the_output() -> None:
    def doubled(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.mul_(2)[:, 1]

    plain, x = Plain(), images(2)
    methods = [name for name in WITHOUT_CAM if not name.startswith(("finercam", "contrastive"))]  # which need classes
    right = gs.Explainer(plain, layer="features.5", targets=gs.Sum(1, 1))(x, method=methods)
    for explainer in (
        gs.Explainer(plain, layer="features.5", targets=doubled),
        gs.Explainer(plain, layer="features.5", targets=1, scores=lambda outputs: outputs.mul_(2)),
    ):
        for found, truth in zip(explainer(x, method=methods), right, strict=True):
            np.testing.assert_allclose(found.scores, truth.scores, rtol=1e-5)
            np.testing.assert_allclose(found.maps, truth.maps, atol=1e-5 * np.abs(truth.maps).max())
            assert not any("influence each other" in note for note in found.notes)


# Rows that influence each other.


def no_statistics(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, track_running_stats=False)


class Centred(Plain):
    """Subtracts the mean of the batch."""

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        return x - 0.5 * x.mean(0, keepdim=True)


class Attending(Plain):
    """Every image attends to the others."""

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(1)
        weights = torch.softmax(rows @ rows.T / rows.shape[1] ** 0.5, dim=1)
        return (weights @ rows).reshape(x.shape)


class ByTheBrightest(Plain):
    """Divides by the largest value of the batch, as before a model that takes [0, 1]."""

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.abs().max()


class ByTheStrongest(Plain):
    """The same behind the layer."""

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.max()


class FarFromZero(Plain):
    """Its scores hardly move beside what they are, and what rows do to each other is a part of that."""

    def __init__(self) -> None:
        super().__init__(no_statistics)
        with torch.no_grad():
            self.head.bias += 50


MIXING: dict[str, Callable[[], nn.Module]] = {
    "no running statistics": lambda: Plain(no_statistics),
    "the mean of the batch": Centred,
    "scores far from zero": FarFromZero,
    "the brightest image": ByTheBrightest,
    "the strongest activation": ByTheStrongest,
    "attention between images": Attending,
}


@pytest.mark.parametrize("kind", MIXING)
def test_where_rows_influence_each_other_nothing_depends_on_the_company(kind: str) -> None:
    model = MIXING[kind]()
    x = images(3)
    # A batch of one row and an explainer that knows no other: what each image has by itself.
    alone = [
        gs.Explainer(model, layer="features.2", targets=1, batch_size=1)(x[i : i + 1], method=WITHOUT_CAM)
        for i in range(3)
    ]
    together = gs.Explainer(model, layer="features.2", targets=1)(x, method=WITHOUT_CAM)
    for j, found in enumerate(together):
        for i in range(3):
            np.testing.assert_array_equal(found.maps[i], alone[i][j].maps[0], err_msg=found.method)
            assert found.scores[i] == alone[i][j].scores[0]
        assert any("influence each other" in note for note in found.notes)
        assert not any("influence each other" in note for note in alone[0][j].notes)


@pytest.mark.parametrize("kind", MIXING)
def test_and_not_on_how_many_rows_go_through_at_once(kind: str) -> None:
    model, x = MIXING[kind](), images()
    many, one = (gs.Explainer(model, layer="features.2", targets=1, batch_size=size) for size in (32, 1))
    for a, b in zip(many(x, method=WITHOUT_CAM), one(x, method=WITHOUT_CAM), strict=True):
        np.testing.assert_array_equal(a.maps, b.maps, err_msg=a.method)
    occlusion = many(x, method="occlusion(window=0.5, stride=0.5)").maps[0, 0]
    covered = x.clone()
    covered[..., :6, :6] = 0
    with torch.no_grad():
        lost = float(model(x)[0, 1] - model(covered)[0, 1])
    assert occlusion[0, 0] == pytest.approx(lost, abs=1e-5)


@pytest.mark.parametrize("brightest", [0, 1, 2])
def test_it_does_not_matter_which_image_is_first(brightest: int) -> None:
    x = images(3)
    x[brightest] *= 2
    for make in (ByTheBrightest, ByTheStrongest):
        found = gs.Explainer(make(), layer="features.2", targets=1)(x)
        alone = [gs.Explainer(make(), layer="features.2", targets=1)(x[i : i + 1]).maps for i in range(3)]
        np.testing.assert_array_equal(found.maps, np.concatenate(alone))


def test_targets_of_each_image_stay_with_their_images() -> None:
    model, x = Plain(no_statistics), images(3)
    targets = [gs.Against(2), gs.Classes(1), gs.Contrast(3, 0)]
    together = gs.Explainer(model)(x, targets=targets)
    classes = gs.Explainer(model)(x, targets=[[0, 1], [2, 3], [1, 2]])
    for i in range(3):
        alone = gs.Explainer(model)(x[i : i + 1], targets=targets[i])
        np.testing.assert_array_equal(together.maps[i], alone.maps[0])
        assert together.labels[i] == alone.labels[0]
        alone = gs.Explainer(model)(x[i : i + 1], targets=[[[0, 1], [2, 3], [1, 2]][i]])
        np.testing.assert_array_equal(classes.maps[i], alone.maps[0])
    assert together.alphas.shape == (3, 1, 5)


def test_the_same_image_twice_shows_that_rows_influence_each_other_too() -> None:
    explainer = gs.Explainer(Centred(), layer="features.2", targets=1)
    twice = explainer(torch.cat([images(), images() + 1e-3]))
    assert any("influence each other" in note for note in twice.notes)
    np.testing.assert_array_equal(twice.maps[:1], explainer(images()).maps)


def test_rows_that_leave_each_other_alone_are_not_told_apart() -> None:
    explainer = gs.Explainer(Plain(nn.BatchNorm2d), layer="features.2", targets=1)
    found = explainer(images(3), method=WITHOUT_CAM)
    assert not any("influence each other" in note for explanation in found for note in explanation.notes)
    assert [*explainer._model.backend().batches.rows.values()] == [Rows()]


# What belongs to an image and what to all of them.


class Scaled(Plain):
    """Takes a factor for all images beside them, which has as many rows as the batch only by chance."""

    def forward(self, x: torch.Tensor, factor: Any) -> torch.Tensor:  # type: ignore[override]
        return self.head((self.features(self.before(x)) * factor).mean((2, 3)))


class Prompted(Plain):
    """Compares each image with prompts that are the same for all."""

    def forward(self, x: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.features(self.before(x)).mean((2, 3)) @ prompts.T


class Tabled(Plain):
    """Takes a row of a table for each image."""

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x) * table.sum(1, keepdim=True)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("method", WITHOUT_CAM)
def test_a_factor_of_one_number_is_that_number(method: str, n: int) -> None:
    number, factor = (
        gs.Explainer(Scaled(), layer="features.5", targets=1, method=method)((images(n), value))
        for value in (2.0, torch.tensor([2.0]))
    )
    np.testing.assert_allclose(factor.maps, number.maps, atol=1e-6 * np.abs(number.maps).max())


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "occlusion(window=0.5, stride=0.5)", "shapleycam"])
def test_prompts_and_tables_as_long_as_the_batch(n: int, method: str) -> None:
    torch.manual_seed(2)
    prompts, table = torch.randn(n, 5), torch.rand(n, 3)
    x = images(n)
    inputs = {Prompted: prompts, Tabled: table}
    for model, extra in inputs.items():
        found = gs.Explainer(model(), layer="features.5", targets=0, method=method)((x, extra))
        for i in range(n):  # another image beside it, so that the number of rows is no longer that of the prompts
            others = torch.cat([x[i : i + 1], images(4)])
            beside = extra if model is Prompted else torch.cat([extra[i : i + 1], torch.rand(4, 3)])
            right = gs.Explainer(model(), layer="features.5", targets=0, method=method)((others, beside))
            np.testing.assert_allclose(found.maps[i], right.maps[0], atol=1e-5 * np.abs(right.maps[0]).max())


# Rounding is no influence: a GPU multiplies in ten bits, and takes another algorithm for another number of rows.


class Coarse(Plain):
    """As on a GPU: what it computes is off by some share, and by something else for each number of rows."""

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(len(x)))
        return x * (1 + 3e-2 * noise)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass has, from now on; a list that the model wrote into would be put back."""
    found: list[int] = []
    run = Running.execute

    def counted(self: Running, inputs: Any, taps: Any) -> Any:
        found.append(len(inputs))
        return run(self, inputs, taps)

    monkeypatch.setattr(Running, "execute", counted)
    return found


@pytest.mark.parametrize("coarse", [True, False])
def test_what_coarse_numbers_round_is_no_influence_of_rows(
    coarse: bool, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchBackend, "is_coarse", staticmethod(lambda _: coarse))
    gs.Explainer(Coarse(), layer="features")(images(6), targets=gs.Top(2))
    # One by one only where such differences cannot be rounding: six passes more.
    assert (rows.count(1) < 6) is coarse


def test_half_precisions_and_autocast_are_coarse() -> None:
    assert not TorchBackend.is_coarse(torch.ones(1))
    assert not TorchBackend.is_coarse(torch.ones(1, dtype=torch.float64))
    assert TorchBackend.is_coarse(torch.ones(1, dtype=torch.float16))
    with torch.autocast("cpu", torch.bfloat16):
        assert TorchBackend.is_coarse(torch.ones(1))
        assert not TorchBackend.is_coarse(torch.ones(1, dtype=torch.float64))  # which autocast leaves as it is
