"""Which model, and what it gets to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

from gradsight.cli import parsing
from gradsight.cli.options.panels import MODEL, PICTURE

_ROWS = 32
"""How many variations of a photo go through the model at once, if not given."""


class Loading(TypedDict, total=False):
    """Keyword arguments of `load_model`."""

    weights: str | None
    labels: str | None
    text: str | None
    arguments: dict[str, object]
    device: str


class Settings(TypedDict, total=False):
    """Keyword arguments of `Explainer` about the model."""

    name: str
    batch_size: int
    probabilities: bool


class PictureLoading(TypedDict):
    """Keyword arguments of `load_model` about the picture."""

    fit: str | None
    interpolation: str | None
    size: tuple[int, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    crop: float | None
    preprocess: str | None


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and how it is run."""

    model: Annotated[
        str,
        MODEL.option("--model", "-m", metavar="MODEL", help="`gradsight models` lists them."),
        # The model inside of the package: the first call works without a download.
    ] = "demo"
    weights: Annotated[
        str | None,
        MODEL.option(metavar="FILE|NAME", help="A file of weights, or a name that the source knows: imagenet, none."),
    ] = None
    arg: Annotated[
        list[str] | None,
        MODEL.option(
            metavar="NAME=VALUE",
            help="An argument of package.module:function: a number, true, false, none, or a text. Can be repeated.",
        ),
    ] = None
    device: Annotated[
        str | None,
        MODEL.option(metavar="cpu|cuda|...", help="Where a PyTorch model runs."),
    ] = None
    batch_size: Annotated[
        int | None,
        MODEL.option(
            metavar="N",
            min=1,
            help="How many pictures go through the model at once; if not given, as many photos as are quickest, and "
            "32 variations of one.",
        ),
    ] = None

    def loading(self) -> Loading:
        """Keyword arguments of `load_model`."""
        made = Loading(weights=self.weights, arguments=dict(map(parsing.argument, self.arg or [])))
        if self.device is not None:
            made["device"] = self.device
        return made

    def settings(self) -> Settings:
        """Keyword arguments of `Explainer`."""
        # 32 is not the option's default: `explain` must see that no number was typed, and then finds the quickest.
        return {"name": self.model, "batch_size": self.batch_size or _ROWS}


@dataclass(frozen=True)
class LabelledModelOptions(ModelOptions):
    """A model with classes, or with answers that it chooses from."""

    labels: Annotated[
        str | None,
        MODEL.option(metavar="FILE|FOLDER", help="The names of the classes; imagenet for those of ImageNet."),
    ] = None

    def loading(self) -> Loading:
        """Keyword arguments of `load_model`."""
        return Loading(**super().loading(), labels=self.labels)


@dataclass(frozen=True)
class ClassifierOptions(LabelledModelOptions):
    """A model that scores classes, perhaps of a photo and a text."""

    text: Annotated[
        str | None,
        MODEL.option(
            metavar="TEXT",
            help="What a model that reads a text beside the photo is given: a question, or a caption's beginning.",
        ),
    ] = None
    probabilities: Annotated[
        bool,
        MODEL.option(
            "--probabilities",
            help="Explain probabilities of a Keras model that ends in softmax or sigmoid, not the logits before.",
        ),
    ] = False

    def loading(self) -> Loading:
        """Keyword arguments of `load_model`."""
        return Loading(**super().loading(), text=self.text)

    def settings(self) -> Settings:
        """Keyword arguments of `Explainer`."""
        return Settings(**super().settings(), probabilities=self.probabilities)


@dataclass(frozen=True)
class PictureOptions:
    """How a photo becomes the model's input, where that differs from what the model's source says."""

    fit: Annotated[
        str | None,
        PICTURE.option(metavar="WAY", help="How it is brought to its size: crop, squash, letterbox, keep or none."),
    ] = None
    interpolation: Annotated[
        str | None,
        PICTURE.option(metavar="NAME", help="How it is resized: nearest, bilinear, bicubic, lanczos or box."),
    ] = None
    size: Annotated[
        str | None,
        PICTURE.option(metavar="N|HxW", help="Its size in pixels, such as 224 or 240x320."),
    ] = None
    mean: Annotated[
        str | None,
        PICTURE.option(metavar="A,B,C", help="Subtracted from pixels in 0..1; one number: grey."),
    ] = None
    std: Annotated[str | None, PICTURE.option(metavar="A,B,C", help="Divides them after that.")] = None
    crop: Annotated[
        float | None,
        PICTURE.option(metavar="SHARE", help="How much of its resized shorter side is seen, such as 0.875."),
    ] = None
    preprocess: Annotated[
        str | None,
        PICTURE.option(
            metavar="NAME",
            help="In place of mean and std: a family of keras.applications, such as resnet50, or "
            "package.module:function of yours, which gets float32 (height, width, 3), RGB in 0..255.",
        ),
    ] = None

    def loading(self) -> PictureLoading:
        """Keyword arguments of `load_model`."""
        return {
            "crop": self.crop,
            "fit": self.fit,
            "interpolation": self.interpolation,
            # Read here and not where they are typed: an error then names the option, in our words.
            "size": parsing.sides(self.size, "--size"),
            "mean": parsing.numbers(self.mean, "--mean"),
            "std": parsing.numbers(self.std, "--std"),
            "preprocess": self.preprocess,
        }
