"""The networks of ``keras.applications``, with the preprocessing and the classes of their ImageNet weights."""

from __future__ import annotations

from pathlib import Path

from gradsight.errors import InvalidArgument, ModelError, received, unknown
from gradsight.files import exists
from gradsight.foreign import Module
from gradsight.imaging import Preprocess
from gradsight.models.keras.backend import INSTALL, import_keras, keras_backend, quiet, said
from gradsight.models.keras.families import Builder, builders, preprocess_input_of
from gradsight.models.keras.inputs import photos_of
from gradsight.models.keras.weights import SUFFIXES, load_weights
from gradsight.models.labels import imagenet_labels
from gradsight.models.model import Model
from gradsight.registry import source

_WEIGHTS = ("imagenet", "none")


@source(
    "keras",
    title="the networks of keras.applications, pretrained or with a file of weights",
    example="keras:Xception",
    packages=lambda: ("keras", keras_backend()),
    install=INSTALL,
)
def application(name: str, *, weights: str | None = None, size: tuple[int, int] | None = None) -> Model:
    """Build a network of ``keras.applications``, which ends in softmax as Keras builds it.

    The photo is squashed to the network's size by the nearest pixel, as ``keras.utils.load_img(path, target_size=...)``
    and ``img_to_array`` do, and goes through the family's own ``preprocess_input(..., data_format="channels_last")``.
    Before that it is turned as its EXIF orientation says, transparency is laid over white, and 16-bit greys are scaled;
    ``load_img`` does none of this.

    Args:
        name: as in ``keras.applications``, in any case.
        weights: ``"imagenet"`` (the default), which are downloaded unless they lie in Keras's cache; ``"none"`` for
            random weights; or a file of weights for the network with its 1000 classes.
        size: build the network for this (height, width) in place of its own. The weights of most fit every size; those
            with a dense layer over positions (VGG) take one only.

    Raises:
        UnknownName: there is no such network, or no such weights.
        InvalidArgument: there is no such file, or the network cannot be built for that size.
        MissingDependency: Keras 3 or its backend is not installed.
        ModelError: the network does not run on this backend, or its weights cannot be fetched or do not fit.
    """
    networks = builders()
    found = next((network for network in networks if network.lower() == name.lower()), None)
    if found is None:
        raise unknown("network in keras.applications", name, networks)
    name, builder, kind = found, networks[found], _kind(weights)
    if kind == "imagenet":
        model = _pretrained(builder, name, size)
    else:
        model = _built(builder, name, size)
        if kind == "file" and weights is not None:
            load_weights(model, weights)
    return Model(model, _preprocess(model, builder, pretrained=kind == "imagenet"), imagenet_labels())


def _kind(weights: str | None) -> str:
    """``"imagenet"``, ``"none"`` or ``"file"``."""
    if weights is None or weights.lower() in _WEIGHTS:
        return "imagenet" if weights is None else weights.lower()
    if exists(weights) or Path(weights).suffix.lower() in SUFFIXES:
        return "file"
    raise unknown("weights", weights, _WEIGHTS, f"Or give a file that exists, {', '.join(SUFFIXES)}.")


def _built(builder: Builder, name: str, size: tuple[int, int] | None, weights: str | None = None) -> Module:
    options = {} if size is None else {"input_shape": _shape(size)}
    try:
        with quiet():
            return builder(weights=weights, **options)
    except ValueError as error:
        if size is not None:
            raise InvalidArgument(
                f"size: the Keras network {name!r} cannot be built for it: {said(error)}. {received(size)} "
                "Leave size out."
            ) from error
        raise ModelError(
            f"The Keras network {name!r} cannot be built: {said(error)}. "
            "Set KERAS_BACKEND to another backend, or name another network."
        ) from error


def _shape(size: tuple[int, int]) -> tuple[int, int, int]:
    first = import_keras().config.image_data_format() == "channels_first"
    return (3, *size) if first else (*size, 3)


def _pretrained(builder: Builder, name: str, size: tuple[int, int] | None) -> Module:
    try:
        # at its own size first: Keras refuses its classes with any other input_shape
        model = _built(builder, name, None, "imagenet")
    except ModelError:
        raise
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise ModelError(
            f"The imagenet weights of the Keras network {name!r} could not be fetched: {said(error)}. "
            "Give --weights FILE, or --weights none for random weights."
        ) from error
    if size is None or model.input_shape == (None, *_shape(size)):
        return model
    resized = _built(builder, name, size)
    try:
        resized.set_weights(model.get_weights())
    except ValueError as error:
        own = photos_of(model)
        raise InvalidArgument(
            f"size: the imagenet weights of {name} fit its own size only, {own and own[:2]}, because it has a dense "
            f"layer over positions. {received(size)} Leave size out."
        ) from error
    return resized


def _preprocess(model: Module, builder: Builder, *, pretrained: bool) -> Preprocess | None:
    """What Keras's own examples do. Keras says which values its weights take, and not how a photo gets to its size."""
    takes = photos_of(model)
    if takes is None:
        return None
    return Preprocess(
        size=(takes.height or 224, takes.width or 224),
        fit="squash",
        interpolation="nearest",
        channels_last=takes.channels_last,
        function=preprocess_input_of(builder),
        assumed=("fit", "crop", "interpolation", *(() if pretrained else ("mean", "std"))),
    )
