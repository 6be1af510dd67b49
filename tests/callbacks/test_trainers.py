"""Callbacks of trainers: with them a training has the same bits, and snapshots come when they are due."""

from __future__ import annotations

import lightning.pytorch
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import gradsight as gs
from gradsight.callbacks import Snapshots, for_fastai, for_keras, for_lightning, for_transformers, to_folder

pytestmark = pytest.mark.pytorch

_X = torch.randn(12, 3, 10, 10, generator=torch.Generator().manual_seed(1))
_Y = torch.arange(12) % 3


def _layers() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Conv2d(6, 3, 3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )


class _Module(lightning.pytorch.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = _layers()

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


def _by_lightning(callbacks, folder):
    lightning.pytorch.seed_everything(4, verbose=False)
    module = _Module()
    trainer = lightning.pytorch.Trainer(
        max_epochs=3,
        callbacks=callbacks,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(TensorDataset(_X, _Y), batch_size=4, shuffle=True, num_workers=0))
    return {name: value.clone() for name, value in module.state_dict().items()} | {"rng": torch.get_rng_state()}


@pytest.mark.parametrize("make", [for_lightning, for_transformers, for_fastai, for_keras])
def test_what_is_no_snapshots_is_told_before_the_training(make):
    with pytest.raises(gs.GradsightError, match="`snapshots` must be a Snapshots"):
        make(_X)


@pytest.mark.filterwarnings("ignore")  # Lightning warns of itself
@pytest.mark.parametrize(("when", "every", "due"), [("epoch", 1, [0, 1, 2, 3]), ("step", 2, [0, 2, 4, 6, 8])])
def test_lightning(tmp_path, when, every, due):
    plain = _by_lightning([], tmp_path)
    snapshots = Snapshots(_X[:2], targets=1, every=every, to=to_folder(tmp_path / "maps"))
    watched = _by_lightning([for_lightning(snapshots, when)], tmp_path)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert [moment.step for moment in snapshots.film.moments] == due
    assert (tmp_path / "maps" / "filmstrip.png").exists()


class _WithLoss(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _layers()

    def forward(self, x, labels=None):
        logits = self.layers(x)
        found = {"logits": logits}
        return found if labels is None else {"loss": torch.nn.functional.cross_entropy(logits, labels), **found}


def _by_transformers(callbacks, folder):
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(4)
    model = _WithLoss()
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        seed=4,
        remove_unused_columns=False,
    )
    data = [{"x": x, "labels": y} for x, y in zip(_X, _Y, strict=True)]
    Trainer(model=model, args=arguments, train_dataset=data, callbacks=callbacks).train()
    return {name: value.clone() for name, value in model.state_dict().items()} | {"rng": torch.get_rng_state()}


@pytest.mark.filterwarnings("ignore:.*pin_memory")
@pytest.mark.parametrize(("when", "every", "due"), [("epoch", 1, [0, 1, 2]), ("step", 3, [0, 3, 6])])
def test_transformers(tmp_path, when, every, due, capsys):
    plain = _by_transformers([], tmp_path)
    snapshots = Snapshots(_X[:2], targets=1, every=every, to=to_folder(tmp_path / "maps"))
    watched = _by_transformers([for_transformers(snapshots, when)], tmp_path)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert [moment.step for moment in snapshots.film.moments] == due
    assert (tmp_path / "maps" / "filmstrip.png").exists()
