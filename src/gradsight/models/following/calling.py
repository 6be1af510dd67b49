"""How a function of somebody else's is handed a picture, and what is read from what it gives back."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradsight.errors import InvalidType, one_line, received
from gradsight.models.following.pictures import plain, smooth

Function = Callable[..., Any]
_RETURNS = "one picture as a tensor or array (channels, height, width) or (height, width, channels)"
_SIDES = (97, 131)


class Hand(NamedTuple):
    """A way to hand a picture over: in words, and from the function and the picture to what comes back."""

    words: str
    give: Callable[[Function, Image.Image], Any]


def _floats(picture: Image.Image, highest: float = 255) -> NDArray[np.float32]:
    return np.asarray(picture, dtype=np.float32) * np.float32(highest / 255)


def _tensor(values: NDArray[Any]) -> Any:
    """(1, 3, h, w) of whatever PyTorch is loaded; who wants tensors has loaded it."""
    return sys.modules["torch"].from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


# Every one gives a copy: the function may write into what it gets. Values in 0..255 come before those in [0, 1], of
# which many functions make something as well, only nothing that a model is trained on.
HANDS = (
    Hand("a PIL image", lambda function, picture: function(picture.copy())),
    Hand("a uint8 array as image=", lambda function, picture: function(image=np.array(picture))),
    Hand("a uint8 array (h, w, 3)", lambda function, picture: function(np.array(picture))),
    Hand("a float32 array (h, w, 3) in 0..255", lambda function, picture: function(_floats(picture))),
    Hand("a batch of one such array", lambda function, picture: function(_floats(picture)[None])),
    Hand("a float32 array (h, w, 3) in [0, 1]", lambda function, picture: function(_floats(picture, 1))),
    Hand("a uint8 tensor (3, h, w)", lambda function, picture: function(_tensor(np.array(picture))[0])),
    Hand("a float tensor (3, h, w) in [0, 1]", lambda function, picture: function(_tensor(_floats(picture, 1))[0])),
    Hand("a batch of one such tensor", lambda function, picture: function(_tensor(_floats(picture, 1)))),
)
_TOLD = (0, 2, 7)
"""Of which ways an error says what came of them: a reader wants no more."""


class Unusable(Exception):
    """What came back is no picture; the text says what it is instead."""


class Called:
    """A function and the way to hand it a picture: from a picture to (height, width, channels), float32."""

    def __init__(self, function: Function, hand: Hand, channels_first: bool) -> None:
        self.function, self.hand, self.channels_first = function, hand, channels_first
        self.known: set[tuple[int, int]] = set()  # sizes of photos that it was tried on

    def __call__(self, picture: Image.Image) -> NDArray[np.float32]:
        """Run the function on a copy; random numbers of PyTorch go on as if it had not run.

        Raises:
            Unusable: it gives something else than a picture.
            Exception: whatever the function raises.
        """
        with undisturbed():
            return self.again(picture)

    def again(self, picture: Image.Image) -> NDArray[np.float32]:
        """The same, with the random numbers that come next."""
        made = _values(self.hand.give(self.function, picture))
        return made.transpose(1, 2, 0) if self.channels_first else made


def call_of(function: Function) -> Called:
    """Find out how a function takes a picture.

    Raises:
        InvalidType: it takes none in any of the usual ways, or gives something else than a picture.
    """
    picture, failed, unchanged = smooth(_SIDES), {}, None
    for hand in HANDS:
        if "tensor" in hand.words and "torch" not in sys.modules:
            continue
        try:
            called, same = _tried(function, hand, picture)
        except _Picture as error:
            raise InvalidType(f"`preprocess` must return {_RETURNS}. {received(function)} {error}") from None
        except Exception as error:  # whatever a function raises that gets something it was not written for
            reason = str(error) if isinstance(error, Unusable) else f"{type(error).__name__}: {one_line(error, 90)}"
            failed[hand] = f"{hand.words}: {reason}"
            continue
        if not same:
            return called
        # Transforms of torchvision give back what they do not know: another way may be the one that is meant.
        unchanged = unchanged or called
    if unchanged is not None:
        return unchanged
    told = "; ".join(failed[HANDS[i]] for i in _TOLD if HANDS[i] in failed)
    raise InvalidType(
        f"`preprocess` must take a photo and return {_RETURNS}. {received(function)} It was given {told}. "
        "Pass a function of a PIL image or of an array, or a gs.Preprocess(...)."
    )


class _Picture(Unusable):
    """A PIL image came back, and another one than was given."""


def _tried(function: Function, hand: Hand, picture: Image.Image) -> tuple[Called, bool]:
    """The function as it is called so, and whether it gives back what it was given."""
    with handed():
        returned = hand.give(function, picture)
        if isinstance(returned, Image.Image):
            if returned.size == picture.size and returned.tobytes() == picture.tobytes():
                raise Unusable("it gives the photo back")
            raise _Picture("It returns a PIL image, and the model takes numbers: let it end in ToTensor().")
        values = _values(returned)
        # Channels are few and sides are many, so that the shorter of the outer axes is that of the channels.
        called = Called(function, hand, values.shape[0] < values.shape[2])
        span = np.abs(called.again(plain("white")) - called.again(plain("black"))).max()
    if span > 256:  # more than the pixels themselves: it takes them for [0, 1]
        raise Unusable("values far beyond 0..255 came back")
    made = values.transpose(1, 2, 0) if called.channels_first else values
    return called, any(np.array_equal(made, _floats(picture, highest)) for highest in (255, 1))


def _values(returned: Any) -> NDArray[np.float32]:
    """The numbers of one picture, three axes, in what a function returned.

    Raises:
        Unusable: it holds something else.
    """
    if isinstance(returned, Mapping):  # of albumentations, and of the image processors of transformers
        names = [name for name in ("image", "pixel_values") if name in returned] or list(returned)
        if not names:
            raise Unusable("an empty dict came back")
        returned = returned[names[0]]
    # Image processors of transformers give a list, with one picture for each.
    if isinstance(returned, list | tuple) and len(returned) == 1:
        returned = returned[0]
    if hasattr(returned, "detach"):  # a tensor of PyTorch's
        # NumPy takes neither a tensor with a gradient nor one on a GPU.
        returned = returned.detach().cpu()
    try:
        values = np.asarray(returned)
    except Exception as error:  # a ragged list, or a tensor of another device
        raise Unusable(f"{type(returned).__name__} came back") from error
    kind, shape = type(returned).__name__, values.shape
    # The axis of a batch of one.
    while values.ndim > 3 and len(values) == 1:
        values = values[0]
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.dtype.kind not in "fiub" or 0 in shape:
        raise Unusable(f"{kind} of shape {shape}, dtype {values.dtype}, came back")
    if not np.isfinite(values).all():
        raise Unusable("NaN or infinity came back")
    return values.astype(np.float32)


def undisturbed() -> AbstractContextManager[object]:
    """Within it, what this thread draws of PyTorch comes from elsewhere: the process's random numbers go on as before.

    Those of Python and NumPy are not put back: other threads may draw them, and would get the same ones twice.
    """
    if "torch" not in sys.modules:
        return nullcontext()
    from gradsight.generators import OwnNumbers  # without PyTorch there are none of its numbers

    return OwnNumbers()


@contextmanager
def handed() -> Iterator[None]:
    """Within it a function is tried. Its warnings are hidden: it may not be made for what it is given."""
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_state() -> tuple[Any, Any]:
    """The state of the random numbers of Python and NumPy."""
    return random.getstate(), np.random.get_state()


def same_state(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether two states are the same: then no thread has drawn a number in between."""
    pairs = zip((one[0], *one[1]), (other[0], *other[1]), strict=True)
    return all(np.array_equal(a, b) if hasattr(a, "shape") else a == b for a, b in pairs)
