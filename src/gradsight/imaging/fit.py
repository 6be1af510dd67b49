"""Make a picture into what a model wants, and remember where it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.checks import optional, taken
from gradsight.errors import GradsightError, InvalidArgument, InvalidType, ModelError, one_line, received
from gradsight.foreign import Array
from gradsight.imaging.cut import FILTERS, Cut, check_share, cut_out
from gradsight.imaging.placement import Placement
from gradsight.imaging.read import Readable, looked_at
from gradsight.imaging.sizes import FITS, resized_to
from gradsight.limits import INPUT_PIXELS
from gradsight.rules import Choice, Each, Either, Flag, Function, Number, Sides, Text, Whole

PARTS = ("size", "fit", "crop", "interpolation", "mean", "std")
"""What can be assumed of a preprocessing: its fields, and the share that is cut out, which ``resize`` says."""

_ROUNDINGS = ("nearest", "down", "even")
_UNITS = "They are in units of [0, 1] pictures: divide what is meant for 0..255 by 255."
_CONTRACT = "It gets a float32 array (height, width, 3), RGB in 0..255, and returns one of the same height and width."


def _channels(one: Number) -> Either[float | tuple[float, ...]]:
    """One number for all channels, or one for each."""
    return Either((one, Each(one, (1, 3), "three of them (RGB), or one in a sequence (grey)")))


_VALUES = {"mean": _channels(Number(-1e6, 1e6)), "std": _channels(Number(1e-6, 1e6)), "fill": _channels(Number(0, 1))}


class _Parts(TypedDict, total=False):
    """What `Preprocess` is given beside the size."""

    resize: int | None
    fit: str
    interpolation: str
    mean: float | Sequence[float]
    std: float | Sequence[float]
    fill: float | Sequence[float]
    rounding: str
    multiple: int
    channels_last: bool
    function: Callable[[NDArray[np.float32]], Array] | None
    assumed: Sequence[str]


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its pictures.

    Attributes:
        size: (height, width) of the model's input, or one number for a square; with ``fit="keep"`` the most that its
            (shorter, longer) side has.
        resize: brings the picture to this length instead of ``min(size)``, and ``size`` is cut out of the centre; with
            ``fit="crop"`` it is that of the picture's shorter side (None: the picture just covers ``size``).
        fit: ``"crop"`` resizes the shorter side and cuts out the centre, pixel for pixel as torchvision's ``Resize``
            and ``CenterCrop`` (black where the picture does not reach); ``"squash"`` stretches the whole picture to
            ``size``; ``"letterbox"`` puts the whole picture inside, its aspect kept, on grey; ``"keep"`` resizes it,
            its aspect kept, and the model's input is as large as that, for each picture another size; ``"none"``
            leaves it as it is, whatever its size, and ``size`` means nothing.
        interpolation: Pillow's filter: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"`` or ``"box"``.
        mean: subtracted from each channel of the [0, 1] picture: three values, or a number for all channels alike. A
            tuple with one value, ``(0.5,)``, makes it a grey, one-channel model.
        std: divides each channel after that, given in the same way.
        fill: the grey of the letterbox, in [0, 1]; or one value for each channel.
        rounding: where half a pixel is left over, ``"nearest"``: cuts begin at the nearest even one, as torchvision's;
            ``"down"``: at the one before, as those of transformers, and so are the sides of a letterboxed picture;
            ``"even"``: as nearest, and borders are as wide as Pillow's ``ImageOps.pad`` makes them.
        multiple: with ``fit="keep"``, sides are cut down to a multiple of this.
        channels_last: the input is (height, width, channels), as most Keras models have it, rather than (channels,
            height, width).
        function: used instead of mean and std. It gets the fitted picture as float32 (height, width, 3), RGB in 0..255
            (or (height, width, 1), grey, where ``mean`` has one value), and returns the input of the same height and
            width, (height, width, channels), which ``channels_last`` then decides about.
        assumed: which of `PARTS` nobody said, so that a source of models took what is usual; empty where all is known.
            Two that differ in nothing else are equal.

    Raises:
        InvalidArgument: a size, mean, std or fill that breaks these rules.
        InvalidType: the function is none.
        UnknownName: there is no such fit, interpolation, rounding or part.
    """

    size: tuple[int, int] = (224, 224)
    resize: int | None = None
    fit: str = "crop"
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    fill: float | tuple[float, ...] = 0.5
    rounding: str = "nearest"
    multiple: int = 1
    channels_last: bool = False
    function: Callable[[NDArray[np.float32]], Array] | None = None
    assumed: tuple[str, ...] = field(default=(), compare=False)

    if TYPE_CHECKING:  # what is given, where it is wider than what is kept

        def __init__(self, size: int | Sequence[int] = ..., **parts: Unpack[_Parts]) -> None: ...

    def __post_init__(self) -> None:
        size = taken("size", self.size, Sides(), "Pass 224 or (240, 320).")
        # Here and not at the first photo: nothing of that size could go through a model.
        INPUT_PIXELS.check(size[0] * size[1], f"`size` is too large: {size[0]} x {size[1]} pixels")
        parts = taken("assumed", self.assumed, Each(Text(), range(len(PARTS) + 1)))
        plain: dict[str, Any] = {
            "size": size,
            "resize": optional("resize", self.resize, Whole(1, 1 << 20), "Pass 256."),
            "fit": taken("fit", self.fit, Choice(FITS, "fit")),
            "interpolation": taken("interpolation", self.interpolation, Choice(tuple(FILTERS), "interpolation")),
            "rounding": taken("rounding", self.rounding, Choice(_ROUNDINGS, "rounding")),
            "multiple": taken("multiple", self.multiple, Whole(1, 1 << 20), "Pass 32."),
            "channels_last": taken("channels_last", self.channels_last, Flag()),
            "function": optional("function", self.function, Function("a function of a picture, or None"), _CONTRACT),
            "assumed": tuple(taken("assumed", part, Choice(PARTS, "part of a preprocessing")) for part in parts),
            **self._values(),
        }
        for name, value in plain.items():
            # The dataclass is frozen; values are kept in one form, so that two that mean the same are equal.
            object.__setattr__(self, name, value)

    def _values(self) -> dict[str, Any]:
        """Mean, std and fill, each of them a value for each channel; fill may be one for all."""
        given = {name: taken(name, getattr(self, name), rule, _UNITS) for name, rule in _VALUES.items()}
        # How many channels there are is said by mean or std, whichever has several values; fill follows them.
        fill = given.pop("fill")
        channels = next((len(value) for value in given.values() if isinstance(value, tuple)), 3)
        values = {name: value if isinstance(value, tuple) else (value,) * channels for name, value in given.items()}
        if len(values["mean"]) != len(values["std"]):
            raise InvalidArgument(
                "`mean` and `std` must have one value (grey) or three (RGB), both the same number. "
                f"{received((values['mean'], values['std']))}"
            )
        if isinstance(fill, tuple) and len(fill) != channels:
            raise InvalidArgument(f"`fill` must have one value, or as many as `mean`. {received(fill)} Pass 0.5.")
        return {**values, "fill": fill}

    def __call__(self, image: Readable) -> NDArray[np.float32]:
        """Make the model's input, as ``place`` does, without the placement."""
        return self.place(image)[0]

    def place(self, image: Readable) -> tuple[NDArray[np.float32], Placement]:
        """Make the model's input, and tell where it lies on the picture.

        Args:
            image: whatever ``read_image`` reads.

        Returns:
            The normalised input of shape (channels, height, width), or (height, width, channels) with
            ``channels_last``, float32, and its placement.

        Raises:
            ImageError: the picture cannot be read, or the model's input would be gigantic.
            InvalidType: the function returned something else than an array of the picture's height and width.
            ModelError: the function failed on the picture, or returned NaN or infinity.
        """
        window, placement = self._cut(image)
        pixels = np.asarray(window, dtype=np.float32).reshape(window.height, window.width, len(self.mean))
        made = self._normalised(pixels) if self.function is None else self._made(self.function, pixels)
        return np.ascontiguousarray(made if self.channels_last else made.transpose(2, 0, 1)), placement

    def laid_out(self, channels_last: bool) -> Preprocess:
        """The same with the axes of the model's images."""
        return self if self.channels_last == channels_last else replace(self, channels_last=channels_last)

    def record(self) -> dict[str, Any]:
        """What is done with a picture, as plain values for JSON; None for what does not apply."""
        varies, by_function = self.fit in ("keep", "none"), self.function is not None
        return {
            "size": None if self.fit == "none" else list(self.size),
            "fit": self.fit,
            "crop": None if varies else min(self.size) / (self.resize or min(self.size)),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "mean": None if by_function else [float(value) for value in self.mean],
            "std": None if by_function else [float(value) for value in self.std],
            "function": name_of(self.function) if by_function else None,
            "fill": np.asarray(self.fill, dtype=float).tolist(),
            "rounding": self.rounding,
            "multiple": self.multiple,
            "channels_last": self.channels_last,
            "assumed": bool(self.assumed),
            "assumed_parts": list(self.assumed),
        }

    def window(self, image: Readable) -> Image.Image:
        """Show what the model gets before it is normalised: an RGB (or grey, L) picture."""
        return self._cut(image)[0]

    def _normalised(self, pixels: NDArray[np.float32]) -> NDArray[np.generic]:
        # Channel by channel, each with a number of its own: three numbers to each pixel take five times as long.
        planes = np.array(pixels.transpose(2, 0, 1), order="C")
        for plane, mean, std in zip(planes, self.mean, self.std, strict=True):
            np.divide(plane, np.float32(255), out=plane)
            np.subtract(plane, np.float32(mean), out=plane)
            np.divide(plane, np.float32(std), out=plane)
        return planes.transpose(1, 2, 0)

    def _made(
        self, function: Callable[[NDArray[np.float32]], Array], pixels: NDArray[np.float32]
    ) -> NDArray[np.generic]:
        """What a function of the user's makes of a picture."""
        try:
            returned = function(pixels)
            made = np.asarray(returned)
        # An error of ours says already what is wrong, such as one of `Followed`.
        except GradsightError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {one_line(error)}"
            raise ModelError(f"preprocess: its function failed on a picture. {text} {_CONTRACT}") from error
        height, width = pixels.shape[:2]
        if made.ndim != 3 or made.shape[:2] != (height, width) or made.dtype.kind not in "fiub":
            raise InvalidType(
                f"preprocess: its function must return numbers of shape ({height}, {width}, channels), "
                f"without a batch axis. {received(returned)} {_CONTRACT}"
            )
        if not np.isfinite(made).all():
            bad = int((~np.isfinite(made)).sum())
            raise ModelError(
                f"preprocess: its function must return finite numbers. Received: {bad} NaN or infinite values of "
                f"{made.size}. Look for a division by zero, such as by the range of a picture of one colour."
            )
        return made.astype(np.float32)

    def _cut(self, image: Readable) -> tuple[Image.Image, Placement]:
        # Looked at without a copy: a photo is resized from here, and never changed.
        picture = looked_at(image)
        original = (picture.height, picture.width)
        if len(self.mean) == 1:
            # Before the resize, which then has one channel to do instead of three.
            picture = picture.convert("L")
        resized = resized_to(original, self.size, self.fit, self.resize, self.rounding, self.multiple)
        size = resized if self.fit in ("keep", "none") else self.size
        check_share(original, resized, size)
        # Torchvision pads with black; only a letterbox has a colour of its own.
        fill = np.broadcast_to(self.fill if self.fit == "letterbox" else 0, len(self.mean))
        return cut_out(picture, Cut(resized, size, self.rounding), FILTERS[self.interpolation], fill)


def name_of(function: object) -> str:
    """What a function is called, with its module where that tells more; of an object the name of its class."""
    function = getattr(function, "func", function)  # that of a functools.partial
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    return ".".join(filter(None, (module, name))) if name else type(function).__name__
