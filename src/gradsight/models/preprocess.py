"""What is done with a photo before a model gets it, where the user knows better than the model's source."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from gradsight.checks import taken
from gradsight.errors import InvalidArgument, received
from gradsight.foreign import Module
from gradsight.imaging import Preprocess
from gradsight.limits import PIXELS
from gradsight.models.following.follow import Followed
from gradsight.models.following.usable import keeps_pixels, usable
from gradsight.models.importing import find
from gradsight.models.keras.families import family
from gradsight.models.model import PlacesPhotos, PreprocessLike
from gradsight.rules import Function, Number

GREY = ((0.449,), (0.226,))  # the means over RGB of ImageNet's mean and std


def named(preprocess: str | PreprocessLike) -> PreprocessLike:
    """A preprocessing that was given as it is, or by its name.

    Args:
        preprocess: a `Preprocess`; a function of float32 (h, w, 3), RGB in 0..255, or of a photo;
            ``"package.module:name"`` of one of them; or the name of a family of ``keras.applications``, such as
            ``"xception"``.

    Raises:
        InvalidType: it is none of these.
        UnknownName: there is no such family, module or function.
        MissingDependency: a family was named, and Keras is not installed.
        ModelError: importing the module failed.
    """
    found: object = preprocess
    if isinstance(preprocess, str):
        found = find(preprocess, "preprocess") if ":" in preprocess else family(preprocess)
    way_out = "Pass 'package.module:function', or a family of keras.applications such as 'xception'."
    return taken("preprocess", found, Function("a gs.Preprocess, a function of a picture, or the name of one"), way_out)


def overridden(
    preprocess: PreprocessLike | None,
    given: PreprocessLike | None,
    overrides: dict[str, object],
    model: Module = None,
) -> PreprocessLike | None:
    """A source's preprocessing with what the user gave in its place, or in place of parts of it.

    Args:
        preprocess: the source's.
        given: what `named` found, or None.
        overrides: fields of `Preprocess`.
        model: whose it is.

    Raises:
        InvalidArgument: it cannot be replaced so, a value breaks a rule, or a function cannot be followed.
        InvalidType: a function takes no picture, or gives none.
        UnknownName: there is no such fit or interpolation.
    """
    if given is not None:
        for name in ("mean", "std"):
            if name in overrides:
                raise InvalidArgument(f"preprocess and {name} exclude each other. {received(given)} Leave one out.")
    if isinstance(given, Preprocess):
        preprocess = given
    # It changes values alone, so that the source's way of resizing and cutting stays.
    elif callable(given) and not isinstance(given, PlacesPhotos) and keeps_pixels(given, preprocess):
        overrides = {"function": given, **overrides}
    elif given is not None:
        preprocess = usable(given, preprocess, model)
    return _override(preprocess, overrides) if overrides else preprocess


def _override(preprocess: object, overrides: dict[str, object]) -> Preprocess:
    if isinstance(preprocess, Followed):
        raise InvalidArgument(
            f"{' and '.join(overrides)} cannot be replaced in a function that makes the whole picture. "
            f"{received(preprocess.called and preprocess.called.function)} Leave them out, or pass a "
            "gs.Preprocess(...) in its place."
        )
    if not isinstance(preprocess, Preprocess):
        names = " and ".join("preprocess" if name == "function" else name for name in overrides)
        raise InvalidArgument(
            f"{names} can only replace those of a gradsight.imaging.Preprocess, and the source of this model gives "
            f"another preprocessing. {received(preprocess)} Have the function return (model, Preprocess(...), labels)."
        )
    changes: dict[str, Any] = dict(overrides)
    scales = [name for name in ("mean", "std") if name in changes]
    if len(scales) == 2:  # a number in either makes it grey; of one alone it is for all channels
        for name in scales:
            changes[name] = _row(changes[name])
    if scales and preprocess.function is not None:
        if len(scales) < 2:
            raise InvalidArgument(
                f"mean and std must be given together here: they replace a function, which scales pictures in a way of "
                f"its own. {received(changes[scales[0]])} Give both."
            )
        # They replace what the function did.
        changes["function"] = None
    crop = changes.pop("crop", None)
    if changes.get("fit", preprocess.fit) != preprocess.fit:
        changes["resize"] = None  # which was meant for the other fit
    elif "size" in changes and preprocess.resize is not None:
        changes["resize"] = round(preprocess.resize * max(changes["size"]) / max(preprocess.size))
    changes["assumed"] = tuple(part for part in preprocess.assumed if part not in _settled(overrides))
    changed = replace(preprocess, **changes)
    return changed if crop is None else replace(changed, resize=_before_crop(crop, changed))


def _settled(overrides: dict[str, object]) -> set[str]:
    """The parts of a preprocessing that are no longer assumed, since the user said them."""
    parts = set(overrides)
    if "function" in overrides:
        parts |= {"mean", "std"}
    if overrides.get("fit", "crop") != "crop":  # then the picture is seen as a whole, whatever its size
        parts.add("crop")
    return parts


def _before_crop(crop: object, preprocess: Preprocess) -> int:
    """To what length a picture is resized, so that a share of it is cut out; rounded as timm does."""
    crop = taken("crop", crop, Number(1e-3, 1), "Pass 0.875.")
    if preprocess.fit in ("keep", "none"):
        raise InvalidArgument(
            f"crop needs pictures of one size, and this model takes each in its own (fit={preprocess.fit!r}). "
            f"{received(crop)} "
            "Give a fit and a size as well: fit='crop', size=224."
        )
    side = min(preprocess.size) / float(crop)
    PIXELS.check(side * side, f"crop {crop} is too small: it asks for pictures of {side:.3g} x {side:.3g} pixels")
    return math.floor(side)


def _row(value: object) -> object:
    """A number as a row with one; anything else as it is."""
    number = Number().read(value)
    return value if number is None else (number,)
