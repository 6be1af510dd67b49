"""Where snapshots go: a folder, TensorBoard, Weights & Biases, MLflow, or what you write yourself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight import imaging
from gradsight.checks import taken
from gradsight.errors import InvalidArgument, InvalidType, received
from gradsight.rules import Name

if TYPE_CHECKING:
    from gradsight.callbacks.film import Film


class Writer(Protocol):
    """What takes the pictures and figures of a training."""

    def write(self, step: int, pictures: Mapping[str, Image.Image], scalars: Mapping[str, float]) -> None:
        """Take what belongs to one step: pictures and figures by name, such as ``"cat"`` and ``"cat/in_box"``."""

    def end(self, film: Film) -> None:
        """The training is over: take its filmstrip."""


class to_folder:  # noqa: N801 - used as a function
    """A writer of files: ``step-000010/NAME.png``, ``scalars.csv``; at the end ``filmstrip.png`` and ``training.webp``.

    Args:
        folder: it is made if need be.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_folder(folder).write(10, {"cat": Image.new("RGB", (4, 4))}, {"cat/in_box": 0.5})
    ...     sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.*"))
    ['scalars.csv', 'step-000010/cat.png']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(taken("folder", folder, Name()))

    def write(self, step: int, pictures: Mapping[str, Image.Image], scalars: Mapping[str, float]) -> None:
        """Write one step."""
        for name, picture in pictures.items():
            imaging.save(picture, self._folder / f"step-{step:06d}" / f"{name}.png")
        if scalars:
            # One file for all steps, each line whole: it can be read while the training goes on.
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / "scalars.csv"
            head = "" if path.exists() else "step,name,value\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(head + "".join(f"{step},{name},{value:.6g}\n" for name, value in scalars.items()))

    def end(self, film: Film) -> None:
        """Write the filmstrip and the animation."""
        imaging.save(film.strip(), self._folder / "filmstrip.png")
        film.animate(self._folder / "training.webp")


class to_tensorboard:  # noqa: N801 - used as a function
    """A writer of TensorBoard's event files.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``, or what ``tf.summary.create_file_writer(folder)`` gives.

    Raises:
        InvalidType: ``writer`` is neither.
    """

    def __init__(self, writer: Any) -> None:
        # By what it can do: tensorboardX and Lightning's experiment are used as PyTorch's writer is.
        if hasattr(writer, "add_image") and hasattr(writer, "add_scalar"):
            self._picture, self._scalar = self._torch_picture, writer.add_scalar
        elif hasattr(writer, "as_default"):
            self._picture, self._scalar = self._tf_picture, self._tf_scalar
        else:
            raise InvalidType(
                "`writer` must be a SummaryWriter of torch.utils.tensorboard, or what tf.summary.create_file_writer "
                f"gives. {received(writer)}"
            )
        self._writer, self._last = writer, 0

    def write(self, step: int, pictures: Mapping[str, Image.Image], scalars: Mapping[str, float]) -> None:
        """Write one step."""
        self._last = step
        for name, picture in pictures.items():
            self._picture(f"gradsight/{name}", np.asarray(picture.convert("RGB")), step)
        for name, value in scalars.items():
            self._scalar(f"gradsight/{name}", value, step)
        # What is looked at while the training goes on must be in the file now.
        self._writer.flush()

    def end(self, film: Film) -> None:
        """Write the filmstrip."""
        self.write(self._last, {"filmstrip": film.strip()}, {})

    def _torch_picture(self, name: str, values: NDArray[np.uint8], step: int) -> None:
        self._writer.add_image(name, values, step, dataformats="HWC")

    # TensorFlow is imported where its own writer was given, and so is there.
    def _tf_picture(self, name: str, values: NDArray[np.uint8], step: int) -> None:
        import tensorflow as tf

        with self._writer.as_default():
            tf.summary.image(name, values[None], step)

    def _tf_scalar(self, name: str, value: float, step: int) -> None:
        import tensorflow as tf

        with self._writer.as_default():
            tf.summary.scalar(name, value, step)


class to_wandb:  # noqa: N801 - used as a function
    """A writer of a run of Weights & Biases.

    Args:
        run: what ``wandb.init(...)`` gave.

    Raises:
        InvalidType: ``run`` is none.
    """

    def __init__(self, run: Any) -> None:
        if not hasattr(run, "log"):
            raise InvalidType(f"`run` must be what wandb.init(...) gave. {received(run)}")
        self._run = run
        self._pending: int | None = None

    def write(self, step: int, pictures: Mapping[str, Image.Image], scalars: Mapping[str, float]) -> None:
        """Log one step. The step is a figure of its own: W&B counts the steps of the training itself."""
        import wandb

        # It belongs to the training's next row. Where there was none since, the one before would be written over.
        if self._pending is not None and self._pending == self._run.step:
            self._run.log({})
        self._pending = self._run.step
        shown = {f"gradsight/{name}": wandb.Image(picture) for name, picture in pictures.items()}
        figures = {f"gradsight/{name}": value for name, value in scalars.items()}
        self._run.log({**shown, **figures, "gradsight/step": step}, commit=False)

    def end(self, film: Film) -> None:
        """Log the filmstrip."""
        import wandb

        self._run.log({"gradsight/filmstrip": wandb.Image(film.strip())})


class to_mlflow:  # noqa: N801 - used as a function
    """A writer of a run of MLflow.

    Args:
        run_id: of the run; the active one if not given.

    Raises:
        InvalidArgument: at the first step, where none is given and none is active.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self._run_id = run_id

    def write(self, step: int, pictures: Mapping[str, Image.Image], scalars: Mapping[str, float]) -> None:
        """Log one step."""
        import mlflow

        client, run = mlflow.MlflowClient(), self._run()
        for name, picture in pictures.items():
            client.log_image(run, picture, artifact_file=f"gradsight/step-{step:06d}/{name}.png")
        for name, value in scalars.items():
            client.log_metric(run, f"gradsight/{name}", value, step=step)

    def end(self, film: Film) -> None:
        """Log the filmstrip."""
        import mlflow

        mlflow.MlflowClient().log_image(self._run(), film.strip(), artifact_file="gradsight/filmstrip.png")

    def _run(self) -> str:
        import mlflow

        active = mlflow.active_run()
        if self._run_id is None and active is None:
            raise InvalidArgument(
                "`run_id` must be given where no run of MLflow is active: call mlflow.start_run() first."
            )
        return self._run_id or active.info.run_id
