"""What a page shows, and where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gradsight.cli import parsing
from gradsight.cli.options.model import ClassifierOptions
from gradsight.cli.options.panels import MODEL, RESULT, WHAT
from gradsight.errors import InvalidArgument, received

if TYPE_CHECKING:
    from gradsight.pages.limits import Limits
    from gradsight.pages.serving import Address


@dataclass(frozen=True)
class ModelsOptions:
    """Which models, each as `gradsight explain` takes one."""

    model: Annotated[
        list[str] | None,
        MODEL.option(
            "--model", "-m", metavar="MODEL", help="`gradsight models` lists them. demo if not given. Can be repeated."
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        MODEL.option(
            metavar="FILE|NAME",
            help="A file of weights, or a name that the source knows: one for each model, in order.",
        ),
    ] = None
    arg: Annotated[
        list[str] | None,
        MODEL.option(metavar="NAME=VALUE", help="An argument of package.module:function. Can be repeated."),
    ] = None
    labels: Annotated[
        str | None,
        MODEL.option(metavar="FILE|FOLDER", help="The names of the classes; imagenet for those of ImageNet."),
    ] = None
    text: Annotated[
        str | None, MODEL.option(metavar="TEXT", help="What a model that reads a text beside the photo is given.")
    ] = None
    device: Annotated[str | None, MODEL.option(metavar="cpu|cuda|...", help="Where a PyTorch model runs.")] = None
    probabilities: Annotated[
        bool,
        MODEL.option("--probabilities", help="Explain probabilities of a Keras model that ends in softmax or sigmoid."),
    ] = False

    def each(self) -> list[ClassifierOptions]:
        """The options of each model, as other commands take them.

        Raises:
            InvalidArgument: there are not as many weights as models.
        """
        models, weights = self.model or ["demo"], self.weights or []
        if weights and len(weights) != len(models):
            raise InvalidArgument(
                f"--weights must be given once for each --model, or not at all. {received(weights)} There are "
                f"{len(models)} models; none stands for a model without weights."
            )
        shared = ClassifierOptions(
            arg=self.arg, labels=self.labels, text=self.text, device=self.device, probabilities=self.probabilities
        )
        own: list[str | None] = [*weights] or [None] * len(models)
        return [replace(shared, model=model, weights=one) for model, one in zip(models, own, strict=True)]


@dataclass(frozen=True)
class AddressOptions:
    """Where the page is, and who may see it."""

    host: Annotated[
        str,
        RESULT.option(metavar="ADDRESS", help="0.0.0.0 for other machines too, which needs a password."),
    ] = "127.0.0.1"
    port: Annotated[
        int | None, RESULT.option(metavar="N", min=1, help="The first free one from 7860 on if not given.")
    ] = None
    password: Annotated[
        str | None,
        RESULT.option(
            envvar="GRADSIGHT_PASSWORD",
            metavar="TEXT",
            help="What visitors must type. In GRADSIGHT_PASSWORD nobody else on this machine reads it.",
        ),
    ] = None

    def address(self) -> Address:
        """As the page takes it."""
        from gradsight.pages.serving import Address

        return Address(self.host, self.port, self.password)


@dataclass(frozen=True)
class LimitOptions:
    """How much is taken on from visitors."""

    max_upload: Annotated[int, RESULT.option("--max-upload", metavar="MB", min=1, help="Of a photo's file.")] = 20
    max_megapixels: Annotated[int, RESULT.option("--max-megapixels", metavar="N", min=1, help="Of a photo.")] = 50
    time_limit: Annotated[
        int, RESULT.option("--time-limit", metavar="SECONDS", min=1, help="That an answer may take.")
    ] = 60

    def limits(self) -> Limits:
        """As the page takes them."""
        from gradsight.pages.limits import Limits

        return Limits(
            upload=self.max_upload * 1_000_000, pixels=self.max_megapixels * 1_000_000, seconds=float(self.time_limit)
        )


RunToBrowse = Annotated[
    Path | None, WHAT.option(metavar="RUN", parser=parsing.path, help="A run to browse, as `gradsight run` makes it.")
]
PhotosNow = Annotated[
    Path | None,
    WHAT.option(metavar="DIR", parser=parsing.path, help="Where the run's photos are now, if they were moved."),
]
EvaluationToShow = Annotated[
    Path | None,
    WHAT.option(metavar="DIR", parser=parsing.path, help="An evaluation, as `gradsight evaluate` makes it."),
]
