"""What the survey looks at: a model that is ready; small members of timm and of keras.applications."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

CLASSES = 5
CLASS = 2
DEPTH = 4
"""Of models that let one say it."""


class CannotBuild(Exception):
    """A model that is not for the survey, with the reason."""


class Case(NamedTuple):
    """A model that is ready.

    Attributes:
        model: with random weights, in evaluation mode.
        shape: of one image, (1, ...).
        axes: those of its positions.
        feed: from images to what the model takes.
        target: what is explained.
    """

    model: Any
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    feed: Callable[[Any], Any]
    target: Any

    def run(self, inputs: Any) -> None:
        """One plain pass, to see that there is one."""
        if self.model.__class__.__module__.startswith("keras"):
            self.model(inputs, training=False)
            return
        import torch

        with torch.no_grad():
            if isinstance(inputs, dict):
                self.model(**{key: torch.as_tensor(value) for key, value in inputs.items()})
            else:
                self.model(torch.as_tensor(inputs))


class Member(NamedTuple):
    """A model that stands for its family."""

    family: str
    name: str
    build: Callable[[], Case]


def settled(case: Case) -> Case:
    """Batch normalisation as if it had been trained: as they begin, a signal is lost in many layers."""
    import torch

    found = [m for m in case.model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [module.momentum for module in found]
    for module in found:
        module.momentum = 1.0
        module.train(module.track_running_stats)
    try:
        case.run(case.feed(np.random.default_rng(1).standard_normal((4, *case.shape[1:]), np.float32)))
    finally:
        for module, momentum in zip(found, momenta, strict=True):
            module.momentum = momentum
            module.eval()
    return case


def _same(images: Any) -> Any:
    return images


def awake(model: Any) -> Any:
    """Weights that begin as zeros, such as those of some heads, become random: no gradient passes zeros."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()


# One a module of timm.models, the smallest or nearly so; of modules that hold several makes some more.
TIMM = """
    beit_base_patch16_224 eca_botnext26ts_256 halonet_h1 test_byobnet gernet_s mobileone_s1 cait_xxs24_224 coat_tiny
    coat_lite_tiny convit_tiny convmixer_1024_20_ks9_p14 convnext_atto cpubone_nano crossvit_tiny_240 csatv2
    cs3darknet_focus_s cspnext_tiny davit_tiny deepseek_vit_412m deit_tiny_distilled_patch16_224 densenet121 dla46x_c
    dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_lite0 efficientvim_m1
    efficientvit_b0 efficientvit_m0 vit_tiny_patch16_dinov3_qkvb eva02_tiny_patch14_224 fasternet_t0 fastvit_t8
    focalnet_tiny_srf gcvit_xxtiny gemma4_vit_167m ghostnet_050 hardcorenas_b hgnetv2_b0 hiera_tiny_224 hieradet_small
    hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small
    levit_128s levit_conv_128s lowformer_b0 mambaout_femto test_coatnet maxvit_pico_rw_256 poolformer_s12
    gmlp_ti16_224 mixer_s32_224 resmlp_12_224 lcnet_035 mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs
    mobilevitv2_050 mvitv2_tiny mvitv2_small_cls naflexvit_base_patch16_gap nasnetalarge nest_tiny nextvit_small
    nf_regnet_b0 pit_ti_224 pit_ti_distilled_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002
    repghostnet_050 repvit_m1 res2next50 resnest14d resnet10t resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18
    sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
    swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_patch16_224 tnt_s_legacy_patch16_224 tresnet_m twins_svt_small
    twins_pcpvt_small vgg11 visformer_tiny vit_tiny_patch16_224 vit_small_patch14_reg4_dinov2 vit_tiny_r_s16_p8_224
    vit_srelpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw
    legacy_xception xception41p xcit_nano_12_p16_224
"""


def timm_members() -> Iterator[Member]:
    import timm

    listed = TIMM.split()
    for module in timm.list_modules():
        held = timm.list_models(module=module)
        for name in [name for name in listed if name in held] or [_smallest(held)]:
            yield Member(module, name, functools.partial(_of_timm, name))


def _smallest(names: list[str]) -> str:
    """The one with the fewest parameters, of those that can be made without memory for them."""
    import timm
    import torch

    sizes = {}
    for name in names:
        try:
            with torch.device("meta"):
                sizes[name] = sum(x.numel() for x in timm.create_model(name, num_classes=CLASSES).parameters())
        except Exception:  # whatever a constructor raises that reads its own values
            continue
    return min(sizes or names, key=lambda name: sizes.get(name, 0))


def _of_timm(name: str) -> Case:
    import torch

    torch.manual_seed(0)
    for side in (192, 224):  # where the constructor, and the size of its patches, let it
        try:
            return settled(_timm_case(name, side))
        except Exception:
            continue
    return settled(_timm_case(name))


def _timm_case(name: str, side: int = 0) -> Case:
    """A model as it is, or with less depth and an image of a side."""
    import timm

    make = functools.partial(timm.create_model, name, pretrained=False, num_classes=CLASSES)
    shallow = functools.partial(make, depth=DEPTH if side else None)  # timm leaves out what is None
    try:
        model = shallow()
    except TypeError:  # it has no such argument
        model, shallow = make(), make
    known = model.pretrained_cfg
    size = known["input_size"]
    if side and not known.get("fixed_input_size"):
        size = max(known.get("min_input_size") or (3, 0, 0), min(size, (3, side, side)))
    elif side and size[-1] > 256:
        size = (3, 224, 224)
        model = shallow(img_size=size[-1])
    return Case(awake(model), (1, *size), (2, 3), _same, CLASS)


# One a module, its smallest, and the side of its image: as small as it takes, and large enough for a grid.
KERAS: Mapping[str, int] = MappingProxyType(
    {
        "ConvNeXtTiny": 128,
        "DenseNet121": 160,
        "EfficientNetB0": 160,
        "EfficientNetV2B0": 160,
        "InceptionResNetV2": 224,
        "InceptionV3": 224,
        "MobileNet": 160,
        "MobileNetV2": 160,
        "MobileNetV3Small": 160,
        "NASNetMobile": 224,
        "ResNet50": 160,
        "ResNet50V2": 160,
        "VGG16": 128,
        "VGG19": 128,
        "Xception": 160,
    }
)


def keras_members() -> Iterator[Member]:
    for name, side in KERAS.items():
        yield Member(name, name, functools.partial(_of_keras, name, side))


def _of_keras(name: str, side: int) -> Case:
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=CLASSES)
    return Case(model, (1, side, side, 3), (1, 2), _same, CLASS)


def prepare(source: str) -> None:
    """Import what every model needs, once for all."""
    if source == "keras":
        if importlib.util.find_spec("tensorflow"):
            importlib.import_module("tensorflow")  # which Keras loads with every engine, and which takes seconds
        importlib.import_module("keras")
    if source != "keras" or os.environ["KERAS_BACKEND"] == "torch":
        importlib.import_module("torch").set_num_threads(1)
    if source == "transformers":
        importlib.import_module("transformers").logging.set_verbosity_error()
