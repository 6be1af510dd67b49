"""A call sees the weights of now: every usual way to change a model between two calls, by every method."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, parametrizations, parametrize, prune, vector_to_parameters
from torch.optim.swa_utils import AveragedModel

import gradsight as gs
from asking import METHODS_AND_VARIANTS
from gradsight.errors import ModelError

pytestmark = pytest.mark.pytorch

BY_THEMSELVES = [name for name in METHODS_AND_VARIANTS if name not in ("random", "edge", "centre")]
"""Methods that ask something of the weights."""


class Net(nn.Module):
    """A little of everything that can be changed: a number, a tensor that is registered nowhere, statistics, a list."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, 4)
        self.temperature = nn.Parameter(torch.tensor(1.3))
        self.sharpness = 1.0
        self.offset = torch.full((4,), 0.1)
        self.scales = [torch.ones(4)]
        self.gains = {"all": 1.0}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.features(x).mean((2, 3))
        scaled = self.head(pooled) * self.scales[0] * self.gains["all"] + self.offset
        # A number that is read from a weight: tracing fixes it.
        return scaled * self.sharpness / self.temperature.item()


def other() -> nn.Module:
    return Net(seed=1).eval()


def step(model: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    model(torch.rand(2, 3, 12, 12)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def without_graph(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def changed(model: Any) -> None:
        with torch.no_grad():
            change(model)

    return changed


def as_data(model: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for parameter in model.parameters():
        parameter.data = change(parameter.data)


def in_inference_mode(model: Any) -> None:
    with torch.inference_mode():
        for parameter in model.parameters():
            parameter.mul_(-1.5)


def statistics(model: Any) -> None:
    model.train()(5 + 9 * torch.rand(8, 3, 12, 12))
    model.eval()


def averaged(model: Any) -> None:
    average = AveragedModel(model)
    average.update_parameters(other())
    for own, kept in zip(model.parameters(), average.module.parameters(), strict=True):
        own.data, kept.data = kept.data, own.data


def parametrized(model: Any) -> None:
    class Negated(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return -2 * weight

    parametrize.register_parametrization(model.features[3], "weight", Negated())


def pruned(model: Any) -> None:
    prune.l1_unstructured(model.features[3], "weight", amount=0.9)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "an optimizer's step": step,
    "in place": without_graph(lambda m: [p.mul_(-1.5) for p in m.parameters()]),
    "copy_": without_graph(lambda m: [p.copy_(q) for p, q in zip(m.parameters(), other().parameters(), strict=True)]),
    "data in place": lambda m: [p.data.mul_(-1.5) for p in m.parameters()],
    "data replaced": lambda m: as_data(m, lambda x: -1.5 * x),
    "data replaced by a transposed one": lambda m: setattr(m.features[3].weight, "data", swapped(m.features[3].weight)),
    "load_state_dict": lambda m: m.load_state_dict(other().state_dict()),
    "load_state_dict(assign=True)": lambda m: m.load_state_dict(other().state_dict(), assign=True),
    "vector_to_parameters": lambda m: vector_to_parameters(parameters_to_vector(m.parameters()) * -2, m.parameters()),
    "inference mode": in_inference_mode,
    "another precision": lambda m: (step(m), m.bfloat16()),
    "another precision by to": lambda m: (step(m), m.to(torch.float64)),
    "statistics": statistics,
    "a buffer in place": lambda m: m.features[1].running_mean.sub_(3),
    "a buffer's data": lambda m: setattr(m.features[1].running_mean, "data", torch.full((4,), -2.0)),
    "another buffer": lambda m: setattr(m.features[1], "running_mean", torch.full((4,), -2.0)),
    "another parameter": lambda m: setattr(m.features[3], "weight", nn.Parameter(-m.features[3].weight.detach())),
    "another module": lambda m: setattr(m, "head", nn.Linear(5, 4)),
    "another class": lambda m: setattr(m.features[2], "__class__", nn.Sigmoid),
    "an averaged model swapped in": averaged,
    "parametrize": parametrized,
    "a parametrization's original": lambda m: (parametrized(m), step(m)),
    "weight_norm": lambda m: (parametrizations.weight_norm(m.features[3]), step(m)),
    "pruning": pruned,
    "pruning made permanent": lambda m: (pruned(m), prune.remove(m.features[3], "weight")),
    "a weight that is read as a number": without_graph(lambda m: m.temperature.fill_(-0.4)),
    "such a weight's data in place": lambda m: m.temperature.data.fill_(-0.4),
    "an attribute": lambda m: setattr(m, "sharpness", -2.0),
    "a tensor that is registered nowhere": lambda m: m.offset.sub_(torch.arange(4.0)),
    "a tensor in a list": lambda m: m.scales.__setitem__(0, -torch.arange(1.0, 5.0)),
    "a number in a dict": lambda m: m.gains.__setitem__("all", -3.0),
}


def swapped(weight: torch.Tensor) -> torch.Tensor:
    """The same memory's numbers in another order: (5, 4, 3, 3) with rows and columns of the kernel swapped."""
    return weight.data.transpose(2, 3)


def images(model: nn.Module) -> torch.Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(3)).to(next(model.parameters()).dtype)


def explained(explainer: Any, model: nn.Module, methods: list[str]) -> list[Any]:
    return list(explainer(images(model), method=methods, layer="features.4"))


@pytest.mark.filterwarnings("ignore:Please use quant_min:UserWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows_in_the_next_call_of_every_method(change: str) -> None:
    model = Net().eval()
    explainer = gs.Explainer(model, targets=1)
    before = explained(explainer, model, ["gradcam", "ablationcam"])
    CHANGES[change](model)
    after, right = (explained(x, model, METHODS_AND_VARIANTS) for x in (explainer, gs.Explainer(model, targets=1)))
    with torch.no_grad():
        own = model(images(model))[:, 1].float().numpy()
    assert not np.allclose(before[0].scores[:, 0], own, rtol=1e-3)
    rounding = 1e-2 if change == "another precision" else 1e-5
    for new, truth in zip(after, right, strict=True):
        np.testing.assert_array_equal(new.maps, truth.maps, err_msg=new.method)
        np.testing.assert_allclose(new.scores[:, 0], own, rtol=rounding, atol=rounding / 10)


@pytest.mark.parametrize("method", BY_THEMSELVES)
def test_every_method_by_itself_follows_a_change_in_place(method: str) -> None:
    model = Net().eval()
    explainer = gs.Explainer(model, targets=1, method=method, layer="features.4")
    before = explainer(images(model)).maps
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1.5)
    after = explainer(images(model)).maps
    new = gs.Explainer(model, targets=1, method=method, layer="features.4")(images(model))
    np.testing.assert_array_equal(after, new.maps)
    assert not np.allclose(after, before, rtol=1e-2)


def test_an_adapter_that_is_merged_taken_out_and_merged_for_good() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(net, nn.Flatten(), nn.Linear(5, 4)).eval()
    config = peft.LoraConfig(target_modules=["0.2", "2"], r=2, init_lora_weights=False)
    model = peft.get_peft_model(net, config).eval()
    layer = next(name for name, _ in model.named_modules() if name.endswith("model.0.3"))
    explainer = gs.Explainer(model, targets=1, method=["gradcam", "ablationcam"], layer=layer)
    x = torch.rand(1, 3, 10, 10)
    own = explainer(x)
    with model.disable_adapter():
        without = explainer(x)
    assert abs(own[0].scores - without[0].scores).max() > 1e-2
    np.testing.assert_allclose(without[0].scores[0, 0], scores_of(model, x, disabled=True), rtol=1e-5)
    for change in (model.merge_adapter, model.unmerge_adapter):
        change()
        for a, b in zip(explainer(x), own, strict=True):
            np.testing.assert_allclose(a.maps, b.maps, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_A" in name:
                parameter.mul_(-3)
    np.testing.assert_allclose(explainer(x)[0].scores[0, 0], scores_of(model, x), rtol=1e-5)


def scores_of(model: Any, x: torch.Tensor, *, disabled: bool = False) -> float:
    with torch.no_grad():
        if disabled:
            with model.disable_adapter():
                return float(model(x)[0, 1])
        return float(model(x)[0, 1])


def test_weights_are_shared_and_never_copied() -> None:
    model = Net().eval()
    explainer = gs.Explainer(model, method=["ablationcam", "shapleycam", "gradcam"], layer="features.1")
    explainer(images(model))
    backend = explainer._model.backend()
    (tails,) = backend.view.tails.values()
    assert len(tails)
    own = [*model.state_dict().values(), model.offset, model.scales[0]]
    memory = {tensor.data_ptr() for tensor in own}
    for tail in tails.values():
        kept = [operator.attrgetter(x.target)(tail._graph) for x in tail._graph.graph.nodes if x.op == "get_attr"]
        assert len(kept) >= 4  # weights and biases of the second convolution and of the head
        assert {x.data_ptr() for x in kept} <= memory


def test_a_model_that_has_not_changed_keeps_its_view_and_its_tails() -> None:
    model = Net().eval()
    explainer = gs.Explainer(model, method="ablationcam", layer="features.1")
    explainer(images(model))
    backend = explainer._model.backend()
    (tails,) = backend.view.tails.values()
    before = tails.values()
    step(model)  # in place: nothing has to be looked at again
    explainer(images(model))
    assert explainer._model.backend() is backend
    assert list(map(id, before)) == list(map(id, tails.values()))


def test_a_copy_of_a_model_is_another_model() -> None:
    model = Net().eval()
    explainer = gs.Explainer(model, targets=1, layer="features.4")
    before = explainer(images(model)).maps
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.features[3].weight.mul_(-4)
    np.testing.assert_array_equal(explainer(images(model)).maps, before)


def passes_of(model: nn.Module, call: Callable[[], Any]) -> int:
    """How often the model runs in a call, counted in convolutions."""
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    kinds = [event.key for event in profiled(call)]
    return kinds.count("aten::convolution") // convolutions


def profiled(call: Callable[[], Any]) -> list[Any]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        call()
    return [event for event in profiler.events() or [] for _ in range(event.count)]


@pytest.mark.parametrize("number", range(8))
def test_a_change_of_any_one_tensor_shows_and_costs_a_second_pass_at_most(number: int) -> None:
    """Whether the weights are those of the last call is guessed from a few of them, and known at the end."""
    torch.manual_seed(0)
    blocks = [layer for _ in range(8) for layer in (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Tanh())]
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    explainer, x = gs.Explainer(model, targets=1, layer="23"), torch.rand(1, 3, 6, 6)
    before = [explainer(x) for _ in range(2)][1]
    assert passes_of(model, lambda: explainer(x)) == 1
    with torch.no_grad():
        model[3 * number].weight.add_(0.5)  # type: ignore[union-attr, operator]
    found: list[Any] = []
    assert passes_of(model, lambda: found.append(explainer(x))) in (1, 2)
    np.testing.assert_array_equal(found[0].maps, gs.Explainer(model, targets=1, layer="23")(x).maps)
    assert not np.array_equal(found[0].maps, before.maps)
    assert passes_of(model, lambda: explainer(x)) == 1
    with torch.no_grad():  # as by a step of training
        for parameter in model.parameters():
            parameter.mul_(1.01)
    assert passes_of(model, lambda: explainer(x)) == 1


@pytest.mark.parametrize("number", range(8))
def test_a_write_into_one_tensor_meanwhile_is_an_error(number: int) -> None:
    torch.manual_seed(0)
    blocks = [layer for _ in range(8) for layer in (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Tanh())]
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    explainer, x = gs.Explainer(model, layer="23"), torch.rand(1, 3, 6, 6)
    for _ in range(2):
        explainer(x, targets=1)

    def writing(outputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            model[3 * number + 1].running_var.add_(0.5)  # type: ignore[union-attr, operator]
        return outputs[:, 1]

    with pytest.raises(ModelError, match="the model changed while it was explained"):
        explainer(x, targets=writing)


def test_attributes_under_another_name_show() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)
            self.factor = 2.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return getattr(self, "factor", 5.0) * self.body(x).mean((2, 3))

    model, x = Named().eval(), torch.rand(1, 3, 6, 6)
    explainer = gs.Explainer(model, targets=1, layer="body")
    before = explainer(x)
    del model.factor
    model.other = 2.0
    np.testing.assert_allclose(explainer(x).scores, before.scores * 2.5, rtol=1e-5)
