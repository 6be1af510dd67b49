"""Snapshots of a training: its weights of now, and nothing of it disturbed."""

from __future__ import annotations

import io
import pickle
import re
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
from conftest import ROOT
from gradsight.callbacks import Film, Snapshots, to_folder, to_mlflow, to_tensorboard, to_wandb
from gradsight.callbacks.snapshots import share_in

pytestmark = pytest.mark.pytorch


def _net() -> torch.nn.Sequential:
    """With all that a pass could disturb: running averages, dropout, a rectifier in place."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(0.4),
        torch.nn.Conv2d(6, 4, 3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )


_X = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(1))
_Y = torch.arange(8) % 4


def _train(net: torch.nn.Module, after: object = None, steps: int = 6) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(_X), _Y).backward()
        optimizer.step()
        if after is not None:
            after(net, step)
    assert net.training
    return {name: value.clone() for name, value in net.state_dict().items()} | {"rng": torch.get_rng_state()}


def test_a_training_with_snapshots_has_the_same_bits(tmp_path):
    plain = _train(_net())
    methods = ["gradcam", "smoothgradcampp(samples=3)", "scorecam(top=2)"]
    for method in methods:
        snapshots = Snapshots(_X[:2], method=method, to=to_folder(tmp_path), targets=1)
        watched = _train(_net(), snapshots)
        assert len(snapshots.film.moments) == 6
        assert all(torch.equal(plain[name], watched[name]) for name in plain), method


def test_it_shows_the_weights_of_now():
    net, found = _net(), []
    snapshots = Snapshots(_X[:2], targets=1)

    def look(model: torch.nn.Module, step: int) -> None:
        mine = snapshots(model, step)
        # Of a copy that no explainer has seen before.
        fresh = gs.Explainer(pickle.loads(pickle.dumps(model)))(_X[:2], targets=1)
        np.testing.assert_allclose(mine.maps, fresh.maps, atol=1e-6)
        found.append(mine.maps)

    _train(net, look)
    assert not np.allclose(found[0], found[-1])


def test_steps_that_are_due():
    snapshots = Snapshots(_X[:1], every=4, at=(1, 5))
    assert [step for step in range(10) if snapshots(_net(), step) is not None] == [0, 1, 4, 5, 8]


def test_gradients_and_modes_stay():
    net = _net()
    net[1].eval()
    torch.nn.functional.cross_entropy(net(_X), _Y).backward()
    before = [parameter.grad.clone() for parameter in net.parameters()]
    Snapshots(_X[:2])(net, 0)
    assert all(torch.equal(a, b.grad) for a, b in zip(before, net.parameters(), strict=True))
    assert [module.training for module in net] == [True, False, *[True] * 5]


def test_share_of_the_heat_in_boxes(tmp_path):
    """A net that looks at the red channel: heat lies where red is."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 1, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1))
        net[0].bias.zero_()
    batch = torch.zeros(2, 3, 8, 8)
    batch[0, 0, :4, :4] = 1
    batch[1, 0, 4:, 4:] = 1
    snapshots = Snapshots(batch, boxes=[[(0, 0, 4, 4)], [(0, 0, 4, 4)]], to=to_folder(tmp_path), layer="1")
    snapshots(net, 3)
    assert (tmp_path / "scalars.csv").read_text() == "step,name,value\n3,photo-0/in_box,1\n3,photo-1/in_box,0\n"
    assert share_in(np.zeros((2, 2)), [(0, 0, 1, 1)]) == 0


def test_pictures_of_photos(tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    photo.save(tmp_path / "a b.png")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    snapshots = Snapshots(
        [tmp_path / "a b.png", tmp_path / "a b.png"],
        preprocess=gs.Preprocess(16),
        targets=gs.Top(2),
        to=[to_folder(tmp_path / "out")],
        height=48,
    )
    explanation = snapshots(net, 7)
    snapshots.end()
    folder = tmp_path / "out"
    names = ["a_b-2.1", "a_b-2.2", "a_b.1", "a_b.2"]
    assert sorted(path.name[:-4] for path in (folder / "step-000007").iterdir()) == names
    with Image.open(folder / "step-000007" / "a_b.1.png") as drawn:
        expected = explanation.overlay(0, 0, max_side=192).resize((64, 48), Image.Resampling.BICUBIC)
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    with Image.open(folder / "training.webp") as film, Image.open(folder / "filmstrip.png") as strip:
        assert film.n_frames == 1
        assert strip.height > 4 * 48


def test_a_batch_is_drawn_on_pictures_or_on_nothing():
    pictures = [np.full((20, 20, 3), 200, np.uint8)] * 2
    on_nothing, on_pictures = Snapshots(_X[:2]), Snapshots(_X[:2], pictures=pictures)
    for one in (on_nothing, on_pictures):
        one(_net().eval(), 0)
    dark, light = (
        np.asarray(Image.open(io.BytesIO(one.film.moments[0].pictures[0]))).mean() for one in (on_nothing, on_pictures)
    )
    assert dark + 40 < light


def test_a_film_is_bounded_and_keeps_first_and_last():
    film, picture = Film(), Image.new("RGB", (8, 8))
    for step in range(1000):
        film.add(step, ["a"], [picture], [""])
        steps = [moment.step for moment in film.moments]
        assert (steps[0], steps[-1]) == (0, step)
    assert 48 <= len(steps) <= 97
    assert len(set(np.diff(steps[:-1]))) == 1


def test_an_animation_has_a_frame_for_each_moment(tmp_path):
    snapshots = Snapshots(_X[:1])
    for step in range(5):
        snapshots(_net() if step < 3 else _train_for(step), step)
    snapshots.film.animate(tmp_path / "x.webp", seconds=0.1)
    with Image.open(tmp_path / "x.webp") as film:
        assert film.n_frames == 5
    assert snapshots.film.strip(3).width < snapshots.film.strip().width


def _train_for(steps: int) -> torch.nn.Module:
    net = _net()
    _train(net, steps=steps)
    return net


class _Full:
    """A writer of a disk that gets full."""

    def __init__(self) -> None:
        self.left = 1

    def write(self, step, pictures, scalars):
        if not self.left:
            raise OSError("no space left")
        self.left -= 1

    def end(self, film):
        """Nothing."""


def test_a_later_failure_does_not_end_the_training():
    net, snapshots = _net(), Snapshots(_X[:1], to=_Full())
    snapshots(net, 0)
    with pytest.warns(UserWarning, match="no snapshot of step 1: .*no space left"):
        assert snapshots(net, 1) is None


def test_the_first_failure_is_told():
    with pytest.raises(gs.GradsightError, match="nolayer"):
        Snapshots(_X[:1], layer="nolayer")(_net(), 0)
    with pytest.raises(gs.GradsightError, match="`boxes` must have an entry for each of 1 photo"):
        Snapshots(_X[:1], boxes=[[], []])(_net(), 0)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("every", 0, "`every` must be"),
        ("to", 3, "`to` must be a writer"),
        ("boxes", [[(1, 2)]], r"`boxes\[0\]` must be"),
        ("metod", "gradcam", "metod"),
        ("height", 3, "`height` must be"),
        ("height", 10**9, "`height` must be"),
        ("at", 5, "`at` must be whole numbers"),
        ("at", [1.5], "`at` must be whole numbers"),
        ("boxes", [5], r"`boxes\[0\]` must be"),
        ("pictures", "photo.jpg", "`pictures` must be a list"),
        ("pictures", Image.new("RGB", (4, 4)), "`pictures` must be a list"),
    ],
)
def test_arguments_are_checked(argument, value, words):
    with pytest.raises(gs.GradsightError, match=words):
        Snapshots(_X[:1], **{argument: value})


@pytest.mark.parametrize("step", [1.5, "a", None, 1 << 70])
def test_a_step_is_a_whole_number(step):
    for call in (Snapshots(_X[:1]), Snapshots(_X[:1]).take):
        with pytest.raises(gs.GradsightError, match="`step` must be a whole number"):
            call(_net(), step)


def test_boxes_may_be_tensors_and_steps_a_set():
    snapshots = Snapshots(_X[:2], boxes=torch.tensor([[[0, 0, 12, 12]]] * 2), at={3}, every=100)
    assert [step for step in range(6) if snapshots.due(step)] == [0, 3]
    snapshots.take(_net(), torch.tensor(3))
    assert snapshots.film.moments[0].step == 3


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.4, 0.4), (40, 2, 60, 9), (-9, 0, -1, 5)])
def test_a_box_without_a_pixel_of_the_photo_is_told(box):
    with pytest.raises(gs.GradsightError, match=r"`boxes\[0\]` must have pixels of what is explained, .* 12 x 12"):
        Snapshots(_X[:1], boxes=[[(0, 0, 4, 4), box]])(_net(), 0)


def test_a_first_snapshot_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(gs.GradsightError, match="cannot be written"):
        Snapshots(_X[:1], to=to_folder(tmp_path / "file"))(_net(), 0)


def test_a_filmstrip_that_cannot_be_written_does_not_end_the_training(tmp_path):
    ends = types.SimpleNamespace(write=lambda *_: None, end=lambda film: (_ for _ in ()).throw(OSError("no space")))
    snapshots = Snapshots(_X[:1], to=[ends, to_folder(tmp_path)])
    snapshots(_net(), 0)
    with pytest.warns(UserWarning, match="no filmstrip by SimpleNamespace: .*no space"):
        snapshots.end()
    assert (tmp_path / "filmstrip.png").exists()  # those after it have theirs


class _SummaryWriter:
    def __init__(self) -> None:
        self.images, self.scalars = {}, {}

    def add_image(self, name, values, step, dataformats):
        assert dataformats == "HWC"
        self.images[name, step] = values

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def flush(self):
        """Nothing."""


def test_tensorboard_gets_pictures_and_figures():
    writer = _SummaryWriter()
    snapshots = Snapshots(_X[:1], to=to_tensorboard(writer), boxes=[[(0, 0, 12, 12)]], targets=2)
    snapshots(_net(), 2)
    snapshots.end()
    assert set(writer.images) == {("gradsight/photo-0", 2), ("gradsight/filmstrip", 2)}
    assert writer.images["gradsight/photo-0", 2].shape == (160, 160, 3)
    assert set(writer.scalars) == {("gradsight/photo-0/in_box", 2)}


def test_real_event_files_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        Snapshots(_X[:1], to=to_tensorboard(writer), boxes=[[(0, 0, 12, 12)]], targets=2)(_net(), 2)
    events = EventAccumulator(str(tmp_path), {"images": 0, "scalars": 0}).Reload()
    assert events.Tags()["images"] == ["gradsight/photo-0"]
    image = events.Images("gradsight/photo-0")[0]
    assert (image.step, image.width, image.height) == (2, 160, 160)
    assert events.Scalars("gradsight/photo-0/in_box")[0].step == 2


def test_writers_that_are_none():
    with pytest.raises(gs.GradsightError, match="SummaryWriter"):
        to_tensorboard("runs/1")
    with pytest.raises(gs.GradsightError, match=r"wandb\.init"):
        to_wandb("run")


def test_the_page_on_callbacks_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/callbacks.md").read_text(), re.DOTALL | re.MULTILINE)
    names = {}
    exec("".join(blocks), names)
    assert [moment.step for moment in names["snapshots"].film.moments] == [0, 5, 10, 15, 20]
    assert {path.name for path in (tmp_path / "maps").glob("*.*")} == {"filmstrip.png", "training.webp", "scalars.csv"}


def test_a_film_says_where_there_is_no_heat():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 1, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with torch.no_grad():
        net[0].bias.fill_(-100)
    snapshots = Snapshots(_X[:1], layer="1")
    snapshots(net, 0)
    assert snapshots.film.moments[0].captions == ("score 0.00, no heat",)


def test_a_copy_has_no_model():
    snapshots = Snapshots(_X[:1])
    snapshots(_net(), 0)
    copy = pickle.loads(pickle.dumps(snapshots))
    assert len(copy.film.moments) == 1
    assert copy(_net(), 1) is not None


class _Run:
    """A run as W&B has it: what is logged without a commit belongs to the next row, in which a later value counts."""

    def __init__(self):
        self.rows, self.row, self.step = [], {}, 0

    def log(self, values, commit=True):
        self.row.update(values)
        if commit:
            self.rows.append(self.row)
            self.row, self.step = {}, self.step + 1


def test_each_step_has_a_row_of_wandb_with_and_without_rows_of_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(Image=lambda picture: picture))
    for beside in (True, False):
        run = _Run()
        snapshots = Snapshots(_X[:1], targets=1, to=to_wandb(run))
        for step in (1, 2, 3):
            snapshots(_net(), step)
            if beside:
                run.log({"loss": 0.5})
        snapshots.end()
        assert [row["gradsight/step"] for row in run.rows if "gradsight/photo-0" in row] == [1, 2, 3]
        assert "gradsight/filmstrip" in run.rows[-1]
        # No row more than there has to be: the training's own steps are counted by them.
        assert len(run.rows) == (4 if beside else 3)


def test_without_a_run_mlflow_is_told_in_words(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "mlflow", types.SimpleNamespace(active_run=lambda: None, MlflowClient=lambda: None)
    )
    with pytest.raises(gs.GradsightError, match=r"call mlflow\.start_run\(\) first"):
        to_mlflow().write(1, {}, {})
