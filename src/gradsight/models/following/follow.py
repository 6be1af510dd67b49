"""A function that makes a photo a model's input, as a `Preprocess` that knows the way back onto the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import InvalidArgument, InvalidType, ModelError, one_line, received
from gradsight.imaging import Placement, Preprocess, name_of, read_image
from gradsight.models.following.calling import Called, Unusable, call_of, random_state, same_state, undisturbed
from gradsight.models.following.pictures import SIDES, smooth, unlike
from gradsight.models.following.trial import Trial, Tried
from gradsight.models.following.ways import Colours, Seen, colours_of, ways_of

_WAY_OUT = (
    "Pass a gs.Preprocess(...), or an object with the method place(photo) -> (array, gs.Placement), which says where "
    "the array lies on the photo"
)

_UNLIKE = 10
"""From how many grey levels on, in the mean over parts of the picture, two results are of different pictures."""

_SMALLEST = 16
"""Pixels that a side must have for a test picture to tell anything."""


@dataclass(frozen=True)
class Followed(Preprocess):
    """The `Preprocess` that does what a function does, and runs the function itself: its pixels are the model's.

    Attributes:
        called: the function, with the way to hand it a photo.
        level: how much one grey level is, in each of its channels.
    """

    called: Called | None = None
    level: tuple[float, ...] = ()

    def place(self, image: Any) -> tuple[NDArray[np.float32], Placement]:
        """Make the model's input by the function, and tell where it lies on the photo, as the matching way would.

        Raises:
            ImageError: the picture cannot be read.
            InvalidArgument: the function does something else to a photo of this size than to those it was tried on.
            ModelError: the function failed on the photo.
        """
        photo = read_image(image)
        # Made by both: the function's pixels go to the model, and the way's say where they lie.
        wanted, placement = replace(self.way, channels_last=True).place(photo)
        made = self._run(photo)
        self._check(photo, made, wanted)
        return np.ascontiguousarray(made if self.channels_last else made.transpose(2, 0, 1)), placement

    @property
    def way(self) -> Preprocess:
        """The matching `Preprocess`."""
        return Preprocess(**{field.name: getattr(self, field.name) for field in fields(Preprocess)})

    def record(self) -> dict[str, Any]:
        """The record of the matching way, with the function's name."""
        assert self.called is not None
        return {**super().record(), "function": name_of(self.called.function)}

    def _run(self, photo: Image.Image) -> NDArray[np.float32]:
        assert self.called is not None
        try:
            return self.called(photo)
        except Exception as error:
            text = f"{type(error).__name__}: {one_line(error)}"
            raise ModelError(f"`preprocess` failed on a photo of {_sides(photo)}: {text}.") from error

    def _check(self, photo: Image.Image, made: NDArray[Any], wanted: NDArray[Any]) -> None:
        """See that the function does to this photo what it did to those that it was tried on."""
        assert self.called is not None
        sides, level = (photo.height, photo.width), np.asarray(self.level, np.float32)
        known = made.shape == wanted.shape and unlike(made / level, wanted / level) < _UNLIKE
        # Once for each size of photos: on test pictures of that size a shift shows that a plain photo would hide.
        if known and sides not in self.called.known and min(sides) >= _SMALLEST:
            try:
                known = (
                    Trial(self.called, Colours({}, np.asarray(self.level, np.float64)), [sides]).of(self.way).worst.near
                )
            except Exception:  # which it did not raise on the photo itself
                known = False
        if not known:
            raise InvalidArgument(
                f"`preprocess` does something else to this photo of {_sides(photo)} than {shown(self.way)}, which it "
                f"matched on the test pictures, so that nothing says where its result lies on the photo. "
                f"{received(self.called.function)} {_WAY_OUT}."
            )
        self.called.known.add(sides)


def follow(function: Callable[..., Any]) -> Followed:
    """Find the `Preprocess` that puts pixels where a function does, by trying.

    Marked pictures of several sizes show how the function resizes and cuts, plain ones what it does with colours. The
    way is taken that gives the function's own pixels on all pictures, to one grey level; or, where it resizes by
    another filter than Pillow's, the same picture to about a pixel.

    Args:
        function: from a PIL image to a tensor or array, (channels, height, width) or (height, width, channels), with or
            without a batch axis; or from an array (height, width, 3), RGB in 0..255; or from a tensor. Transforms of
            torchvision, timm and albumentations and image processors of transformers are such functions.

    Raises:
        InvalidType: it takes no photo, or gives no picture.
        InvalidArgument: it draws random numbers, or puts pixels where no `Preprocess` does; the closest one is told.
    """
    called = call_of(function)
    _refuse_random(called)
    try:
        with undisturbed():
            colours = colours_of(called)
            trial = None if colours is None else Trial(called, colours)
            seen, ways = ([], []) if colours is None else ways_of(called, colours.fields)
    except Exception as error:
        text = str(error) if isinstance(error, Unusable) else f"{type(error).__name__}: {one_line(error)}"
        raise InvalidType(
            f"`preprocess` must take photos of any size and colours, and failed on a test picture: {text}. "
            f"{received(function)} {_WAY_OUT}."
        ) from error
    best = None if trial is None else trial.best(ways)
    if best is None or colours is None or not best.worst.near:
        raise _unlike_all(function, colours is None or colours.even, seen, best)
    way = {field.name: getattr(best.way, field.name) for field in fields(Preprocess)}
    return Followed(**way, called=called, level=tuple(colours.level.tolist()))


def _refuse_random(called: Called) -> None:
    """See that a function makes the same of the same picture.

    Raises:
        InvalidArgument: it does not.
    """
    picture = smooth(SIDES[0])
    with undisturbed() as numbers:
        before = random_state()
        first = called.again(picture)
        drew = getattr(numbers, "drew", False) or not same_state(before, random_state())
        # what draws random numbers may do so for one picture in ten, as RandomGrayscale does
        for _ in range(63 if drew else 7):
            again = called.again(picture)
            if again.shape != first.shape or not np.allclose(again, first, rtol=1e-4, atol=1e-6):
                raise InvalidArgument(
                    "`preprocess` must make the same of the same photo, and two runs of this one differ: it is a "
                    f"random augmentation for training (RandomCrop, RandomHorizontalFlip ...). "
                    f"{received(called.function)} Pass the transform that the model is tested with."
                )


def _unlike_all(function: Callable[..., Any], even: bool, seen: list[Seen], best: Tried | None) -> InvalidArgument:
    """The error for a function that does what no `Preprocess` does."""
    kinds = [
        ("it changes colours otherwise than by a mean and std", not even),
        ("it mirrors or swaps sides", any(min(x.step) <= 0 for x in seen)),
        ("it turns or bends the picture", any(x.bent > 2 + max(x.sides) / 100 for x in seen)),
    ]
    kind = next((f": {words}" for words, found in kinds if found), "")
    if best is None:
        closest = "What it gives does not follow the picture's pixels at all." if not seen else ""
    else:
        row, column = best.worst.where
        closest = (
            f"The closest, {shown(best.way)}, differs by {best.worst.grey:.0f} grey levels at row {row}, column "
            f"{column} of its result for a picture of {best.sides[1]} x {best.sides[0]} pixels."
            if np.isfinite(best.worst.grey)
            else f"The closest is {shown(best.way)}, whose results have other sizes."
        )
    return InvalidArgument(
        f"`preprocess` was tried on test pictures and puts pixels where no gs.Preprocess does{kind}, so that a map "
        f"could not be laid back onto the photo. {received(function)} {closest} {_WAY_OUT}.".replace("  ", " ")
    )


def shown(way: Preprocess) -> str:
    """A `Preprocess` as it is written, without what it has by default."""
    usual = Preprocess()
    parts = []
    for field in fields(Preprocess):
        value = getattr(way, field.name)
        told = field.name == "size" and way.fit != "none"
        if field.name in ("assumed", "channels_last") or (not told and value == getattr(usual, field.name)):
            continue
        parts.append(f"{field.name}={'<its mix of colours>' if field.name == 'function' else repr(value)}")
    return f"gs.Preprocess({', '.join(parts)})"


def _sides(photo: Image.Image) -> str:
    return f"{photo.width} x {photo.height} pixels"
