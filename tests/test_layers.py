"""The layer that is chosen, and how outputs are read as maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import gradsight as gs
import toys
from gradsight.layouts import AmbiguousLayout, Layout, layouts, only_layout
from networks import build

LAST_CUT = "the last cut whose positions have gradients"

# The layer, its grid, its extra tokens; every one is the last cut with gradients at its positions, because ...
TORCHVISION = {
    "resnet18": ("layer4", (7, 7), 0),  # only pooling and a linear layer follow
    "resnet50": ("layer4", (7, 7), 0),
    "resnext50_32x4d": ("layer4", (7, 7), 0),
    "vgg16": ("avgpool", (7, 7), 0),  # adaptive pooling to 7 x 7 changes nothing at 224; dense layers follow
    "alexnet": ("avgpool", (6, 6), 0),
    "mobilenet_v2": ("features", (7, 7), 0),
    "mobilenet_v3_large": ("features", (7, 7), 0),
    "efficientnet_b0": ("features", (7, 7), 0),
    "densenet121": ("features", (7, 7), 0),  # dense connections bypass everything inside of a dense block
    "convnext_tiny": ("features", (7, 7), 0),
    "googlenet": ("inception5b", (7, 7), 0),  # nothing inside of an inception block is a cut
    "inception_v3": ("Mixed_7c", (8, 8), 0),
    "shufflenet_v2_x1_0": ("conv5", (7, 7), 0),
    "mnasnet1_0": ("layers", (7, 7), 0),
    "regnet_y_400mf": ("trunk_output", (7, 7), 0),
    "squeezenet1_1": ("features", (13, 13), 0),  # what follows is a class-score map, where every method is CAM
    "vit_b_16": ("encoder.layers.encoder_layer_10", (14, 14), 1),  # the head reads the class token of the last block
    "swin_t": ("permute", (7, 7), 0),  # the norm before it gives the same features channels last
    "swin_v2_t": ("permute", (7, 7), 0),
    "maxvit_t": ("blocks.3", (7, 7), 0),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_chosen_layer_of_torchvision_families(name: str) -> None:
    layer, grid, extra = TORCHVISION[name]
    size = 299 if name == "inception_v3" else 224
    model, image = build(name), torch.randn(1, 3, size, size)
    best = gs.Explainer(model).layers(image)[0]
    chosen, named = gs.Explainer(model)(image), gs.Explainer(model, layer=layer)(image)
    np.testing.assert_array_equal(chosen.maps, named.maps)
    assert (best.name, best.layout.grid, best.layout.extra) == (layer, grid, extra)
    assert best.chosen
    assert best.cut
    assert best.remark == LAST_CUT


def test_a_side_branch_is_not_chosen_though_it_runs_last() -> None:
    ranked = gs.Explainer(toys.Residual().eval()).layers(torch.randn(1, 3, 16, 16))
    assert ranked[0].name == "join"
    assert {x.name: x.remark for x in ranked}["shortcut"] == "something bypasses it"
    assert [x.chosen for x in ranked] == [True] + [False] * (len(ranked) - 1)


def test_the_last_block_of_a_transformer_with_a_class_token_has_no_gradient() -> None:
    ranked = gs.Explainer(toys.Tokens().eval()).layers(torch.randn(1, 3, 16, 24))
    assert ranked[0].name == "blocks.0"
    assert {x.name: x.remark for x in ranked}["blocks.1"] == "a cut, but no position has a gradient"


def test_a_class_score_map_is_passed_over_for_the_features_before_it() -> None:
    model, inputs = toys.ClassMap().eval(), torch.rand(2, 3, 16, 16)
    ranked = {x.name: x for x in gs.Explainer(model).layers(inputs)}
    assert next(iter(ranked)) == "features"
    assert ranked["classifier.1"].live == 1
    assert "class-score map" in ranked["classifier.1"].remark
    assert "classifier.0" not in ranked  # dropout hands the features through: their layer is `features`
    # Nothing is lost: where the ReLU after it is open, Grad-CAM there is the class map itself, less its bias.
    model.classifier[1].bias.data.fill_(10)
    maps = gs.Explainer(model)(inputs, targets=1).maps[:, 0]
    class_map = nn.functional.conv2d(model.features(inputs), model.classifier[1].weight[1:2])[:, 0]
    np.testing.assert_allclose(maps, class_map.detach().numpy() / 64, rtol=1e-4, atol=1e-6)


def test_the_projection_inside_of_an_attention_pool_is_passed_over_for_the_block_before_it() -> None:
    ranked = {x.name: x for x in gs.Explainer(toys.Pooled().eval()).layers(torch.randn(1, 3, 16, 24))}
    assert next(iter(ranked)) == "block"
    assert ranked["pool.kv"].cut
    assert ranked["pool.kv"].remark == "part of the pool 'pool', which reads the features"


def test_a_body_that_ends_in_a_vector_is_no_pool() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(
                nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()), nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU())
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(x).mean((2, 3))

    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), Body(), nn.Linear(6, 5)).eval()
    assert gs.Explainer(model).layers(torch.randn(1, 3, 16, 16))[0].name == "1.blocks"


def test_a_network_without_a_cut_falls_back_to_the_last_layer_with_a_gradient() -> None:
    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat((self.one(x).mean((2, 3)), self.two(x).mean((2, 3))), 1))

    best = gs.Explainer(Streams().eval()).layers(torch.randn(1, 3, 8, 8))[0]
    assert (best.name, best.cut) == ("two", False)
    assert best.remark == "no layer is a cut; the last with a gradient"

    class Aside(Streams):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            self.aside(x)  # runs last, and no score depends on it
            return scores

    assert gs.Explainer(Aside().eval()).layers(torch.randn(1, 3, 8, 8))[0].name == "two"


def test_the_layer_is_chosen_anew_for_another_input_size_and_another_architecture() -> None:
    model = toys.convolutional()
    explainer = gs.Explainer(model)
    assert explainer(torch.randn(1, 3, 16, 16)).maps.shape == (1, 1, 8, 8)
    assert explainer(torch.randn(1, 3, 8, 12)).maps.shape == (1, 1, 4, 6)
    model[4] = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU())
    assert explainer(torch.randn(1, 3, 16, 16)).layer == "4"
    assert explainer.layers(torch.randn(1, 3, 16, 16))[1].name == "4.2"


@pytest.mark.parametrize(
    ("shape", "size", "known", "expected"),
    [
        ((2, 512, 7, 7), (224, 224), (), [((0, 1, 2, 3), (7, 7), 0)]),
        ((2, 7, 7, 768), (224, 224), (), [((0, 3, 1, 2), (7, 7), 0)]),
        ((2, 7, 7, 768), (1024, 1024), (), [((0, 3, 1, 2), (7, 7), 0)]),
        ((2, 8, 8, 8), (64, 64), (), [((0, 1, 2, 3), (8, 8), 0)]),
        ((2, 14, 20, 96), (224, 320), (), [((0, 3, 1, 2), (14, 20), 0)]),
        ((2, 512, 1, 26), (32, 100), (), [((0, 1, 2, 3), (1, 26), 0)]),
        ((2, 512, 1, 1), (224, 224), (), []),
        ((2, 6, 1, 1), (16, 12), (), []),
        ((2, 10), (224, 224), (), []),
        ((128, 49, 96), (224, 224), (), []),
        ((2, 197, 768), (224, 224), (), [((0, 2, 1), (14, 14), 1)]),
        ((2, 198, 192), (224, 224), (), [((0, 2, 1), (14, 14), 2)]),
        ((2, 54, 384), (98, 98), (), [((0, 2, 1), (7, 7), 5)]),
        ((2, 281, 384), (224, 320), (), [((0, 2, 1), (14, 20), 1)]),
        ((197, 2, 768), (224, 224), (), [((1, 2, 0), (14, 14), 1)]),
        ((2, 64, 49), (224, 224), ((7, 7),), [((0, 1, 2), (7, 7), 0)]),
        ((2, 257, 256), (256, 256), ((16, 16),), [((0, 2, 1), (16, 16), 1)]),
        ((2, 577, 1024), (384, 384), ((24, 24),), [((0, 2, 1), (24, 24), 1)]),
        ((2, 261, 256), (256, 256), ((16, 16),), [((0, 2, 1), (16, 16), 5), ((0, 1, 2), (16, 16), 0)]),
        ((2, 16, 100), (1000,), (), [((0, 1, 2), (100,), 0)]),
        ((2, 8, 4, 6, 5), (16, 24, 20), (), [((0, 1, 2, 3, 4), (4, 6, 5), 0)]),
    ],
)
def test_how_a_shape_is_read(shape, size, known, expected) -> None:
    assert [(x.axes, x.grid, x.extra) for x in layouts(shape, 2, size, known)] == expected


def test_what_is_truly_ambiguous_is_an_error_that_says_what_settles_it() -> None:
    found = layouts((2, 64, 49), 2, (224, 224))
    assert {x.grid for x in found} == {(8, 8), (7, 7)}
    with pytest.raises(AmbiguousLayout, match=r"grid=\(8, 8\).*grid=\(7, 7\).*Pass `layout='tokens', grid="):
        only_layout("block", (2, 64, 49), found)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (Layout((0, 1, 2, 3), (4, 5)), (2, 3, 4, 5)),
        (Layout((0, 3, 1, 2), (4, 5)), (2, 4, 5, 3)),
        (Layout((0, 2, 1), (4, 5), 2), (2, 22, 3)),
        (Layout((1, 2, 0), (4, 5), 1), (21, 2, 3)),
    ],
)
def test_folding_puts_every_value_at_its_place_and_back(layout: Layout, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    folded = layout.fold(array, np)
    assert folded.shape == (2, 3, 4, 5)
    tokens = np.transpose(array, layout.axes).reshape(2, 3, -1)[:, :, layout.extra :]
    for row in range(4):
        for column in range(5):
            np.testing.assert_array_equal(folded[:, :, row, column], tokens[:, :, row * 5 + column])
    np.testing.assert_array_equal(layout.unfold(folded, array, np), array)
    lead = layout.fold(np.stack([array, 2 * array]), np)
    np.testing.assert_array_equal(lead, np.stack([folded, 2 * folded]))
