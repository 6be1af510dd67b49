"""A model whose hooks, or modules, keep outputs for the rest of it to go on with, or put others in their place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

import gradsight as gs
from gradsight.errors import GradsightError

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

# Of every kind one: gradients, second derivatives, passes of the tail, the input, and each module's own part.
METHODS = (
    "gradcam",
    "hirescam",
    "gradcampp",
    "scorecam",
    "ablationcam",
    "gradient",
    "guidedbackprop",
    "fullgrad",
    "shapleycam",
    "smoothgrad",
)


def stage(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU())


class Skipping(nn.Module):
    """Three stages, and a skip connection from the second to the head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e1, self.e2, self.e3, self.fc = stage(3, 4), stage(4, 6), stage(6, 8), nn.Linear(14, 5)
        self.double().eval()

    def read(self) -> torch.Tensor:
        return self.skip  # type: ignore[no-any-return, has-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.e3(self.e2(self.e1(x)))
        return self.head(y, self.read())

    def head(self, y: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.cat([y.mean((2, 3)), (skip * skip).mean((2, 3))], 1))  # type: ignore[no-any-return]


class Plain(Skipping):
    """The same without hooks: what the second stage gives goes both ways."""

    def __init__(self, then: Callable[[torch.Tensor], torch.Tensor] = lambda y: y, skips: str = "new") -> None:
        super().__init__()
        self.then, self.skips = _Then(then), skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        old = self.e2(self.e1(x))
        new = self.then(old)
        return self.head(self.e3(new), old if self.skips == "old" else new)


class _Then(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def by_bound_method() -> nn.Module:
    class Net(Skipping):
        def keep(self, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
            self.skip = output

    net = Net()
    net.e2.register_forward_hook(net.keep)
    return net


def by_closure_over_the_model() -> nn.Module:
    net = Skipping()
    net.e2.register_forward_hook(lambda _m, _i, output: setattr(net, "skip", output))
    return net


class Reading(Skipping):
    """Reads what was kept in a dict of its own."""

    def __init__(self, features: dict[str, Any]) -> None:
        super().__init__()
        self.features = features

    def read(self) -> torch.Tensor:
        return self.features["e2"]  # type: ignore[no-any-return]


def saving(features: Any, name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        features[name] = output

    return hook


def by_dict_of_the_model() -> nn.Module:
    net = Reading({})
    net.e2.register_forward_hook(saving(net.features, "e2"))
    return net


def by_dict_that_forward_closes_over() -> nn.Module:
    features: dict[str, Any] = {}

    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return features["e2"]  # type: ignore[no-any-return]

    net = Net()
    net.e2.register_forward_hook(saving(features, "e2"))
    return net


def by_list_in_a_dict() -> nn.Module:
    kept: dict[str, list[Any]] = {"outputs": []}

    class Net(Skipping):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept["outputs"].clear()
            return super().forward(x)

        def read(self) -> torch.Tensor:
            return kept["outputs"][-1]  # type: ignore[no-any-return]

    net = Net()
    for part in (net.e1, net.e2):
        part.register_forward_hook(lambda _m, _i, output: kept["outputs"].append(output))
    return net


def by_names_of_modules() -> nn.Module:
    net = Reading({})
    names = {module: name for name, module in net.named_modules()}
    features = net.features

    def hook(module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        features[names[module]] = output

    net.e2.register_forward_hook(hook)
    return net


def by_nonlocal_variable() -> nn.Module:
    kept: Any = None

    def hook(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        nonlocal kept
        kept = output

    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return kept  # type: ignore[no-any-return]

    net = Net()
    net.e2.register_forward_hook(hook)
    return net


FILE: dict[str, Any] = {}
LATEST: Any = None


def into_the_file(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
    global LATEST
    FILE["e2"] = LATEST = output


class FromTheFile(Skipping):
    def read(self) -> torch.Tensor:
        assert FILE["e2"] is LATEST
        return FILE["e2"]  # type: ignore[no-any-return]


def by_names_of_the_file() -> nn.Module:
    net = FromTheFile()
    net.e2.register_forward_hook(into_the_file)
    return net


class Hook:
    """As fastai's."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        self.function, self.stored = function, None
        self.handle = module.register_forward_hook(self.hook_fn)

    def hook_fn(self, module: nn.Module, arguments: Any, output: torch.Tensor) -> None:
        self.stored = self.function(module, arguments, output)


class Hooks:
    def __init__(self, modules: list[nn.Module], function: Callable[..., Any]) -> None:
        self.hooks = [Hook(module, function) for module in modules]

    def __iter__(self) -> Iterator[Hook]:
        return iter(self.hooks)


def by_objects_as_fastai() -> nn.Module:
    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return [hook.stored for hook in self.sfs][-1]  # type: ignore[return-value]

    net = Net()
    net.sfs = Hooks([net.e1, net.e2], lambda _m, _i, output: output)
    return net


class Recorder:
    """A hook that is an object."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}

    def __call__(self, name: str, _module: nn.Module, _arguments: Any, *outputs: Any) -> None:
        self.outputs[name] = outputs[-1]


class Saver:
    """Hooks of an object that holds the model."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.calls = model, [0]
        model.get_submodule("e2").register_forward_hook(self.hook)

    def hook(self, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        self.model.skip = output
        self.calls[0] += 1


def by_an_object_that_holds_the_model() -> nn.Module:
    net = Skipping()
    Saver(net)
    return net


class Held:
    """A hook that knows its module, and asks which it is called for."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.stored = module, None
        module.register_forward_hook(self.hook)

    def hook(self, module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        if module is self.module:
            self.stored = output


def by_objects_that_hold_their_modules() -> nn.Module:
    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return self.sfs.hooks[-1].stored  # type: ignore[no-any-return]

    net = Net()
    net.sfs = Hooks([], lambda *_: None)
    net.sfs.hooks += [Held(net.e1), Held(net.e2)]
    return net


MODEL = Skipping()


def into_the_model_of_the_file(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
    MODEL.skip = output


def by_a_model_that_the_file_names() -> nn.Module:
    if not MODEL.e2._forward_hooks:
        MODEL.e2.register_forward_hook(into_the_model_of_the_file)
    return MODEL


def by_partial_of_an_object(**options: Any) -> nn.Module:
    recorder = Recorder()
    net = Reading(recorder.outputs)
    net.e2.register_forward_hook(functools.partial(recorder, "e2"), **options)
    return net


def by_a_hook_for_every_module() -> nn.Module:
    class Net(Skipping):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept: list[Any] = []

            def hook(module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
                if module is self.e2:
                    kept.append(output)

            handle = register_module_forward_hook(hook)
            try:
                y = self.e3(self.e2(self.e1(x)))
            finally:
                handle.remove()
            return self.head(y, kept[0])

    return Net()


def by_the_input_of_the_next() -> nn.Module:
    net = Skipping()
    net.e3.register_forward_pre_hook(lambda _m, arguments: setattr(net, "skip", arguments[0]))
    return net


def by_the_last_child() -> nn.Module:
    net = Skipping()
    net.e2[-1].register_forward_hook(lambda _m, _i, output: setattr(net, "skip", output))
    return net


def by_itself() -> nn.Module:
    class Keeping(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept = super().forward(x)
            return self.kept

    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return self.e2.kept  # type: ignore[return-value]

    net = Net()
    net.e2 = Keeping(*net.e2)
    return net.eval()


def by_its_last_child_itself() -> nn.Module:
    class Rectifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.outputs: list[Any] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.outputs[:] = [x.relu()]
            return self.outputs[0]  # type: ignore[no-any-return]

    class Net(Skipping):
        def read(self) -> torch.Tensor:
            return self.e2[1].outputs[0]  # type: ignore[index, no-any-return, union-attr]

    net = Net()
    net.e2[1] = Rectifier()
    return net.eval()


KEEPING: dict[str, Callable[[], nn.Module]] = {
    x.__name__: x
    for x in (
        by_bound_method,
        by_closure_over_the_model,
        by_dict_of_the_model,
        by_dict_that_forward_closes_over,
        by_list_in_a_dict,
        by_names_of_modules,
        by_nonlocal_variable,
        by_names_of_the_file,
        by_objects_as_fastai,
        by_an_object_that_holds_the_model,
        by_objects_that_hold_their_modules,
        by_a_model_that_the_file_names,
        by_partial_of_an_object,
        by_a_hook_for_every_module,
        by_the_input_of_the_next,
        by_the_last_child,
        by_itself,
        by_its_last_child_itself,
    )
}
KEEPING |= {
    f"by_partial_{option}": functools.partial(by_partial_of_an_object, **{option: True})
    for option in ("with_kwargs", "always_call", "prepend")
}


FEW = ("gradcam", "ablationcam")


@functools.cache
def plain_maps(squashes: bool, skips: str, layer: str | None, method: str) -> gs.Explanation:
    plain = Plain(squash_plainly, skips) if squashes else Plain()
    return gs.Explainer(plain, method=method, layer=layer)(IMAGE, targets=[1, 3])


def assert_same(
    net: nn.Module,
    layer: str | None,
    methods: tuple[str, ...],
    at: str | None = None,
    squashes: bool = False,
    skips: str = "new",
) -> None:
    """The maps are those of the network without hooks, at the layer ``at``."""
    for method in methods:
        found = gs.Explainer(net, method=method, layer=layer)(IMAGE, targets=[1, 3])
        right = plain_maps(squashes, skips, at or layer, method)
        np.testing.assert_allclose(found.scores, right.scores, rtol=1e-6, err_msg=method)
        scale = np.abs(right.maps).max()
        assert scale > 0
        np.testing.assert_allclose(found.maps / scale, right.maps / scale, atol=2e-6, err_msg=f"{method} at {layer}")


@pytest.mark.parametrize("keep", KEEPING)
def test_what_is_kept_is_what_the_layer_gives(keep: str) -> None:
    net = KEEPING[keep]()
    assert_same(net, "e2", METHODS)
    for layer in ("e2.1", "e1", "e3"):
        assert_same(net, layer, FEW)


@pytest.mark.parametrize("keep", KEEPING)
def test_a_call_leaves_what_was_kept_alone(keep: str) -> None:
    net = KEEPING[keep]()
    other = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    net(other)
    kept = None if keep == "by_a_hook_for_every_module" else net.read()
    explainer = gs.Explainer(net, layer="e2")
    explainer(IMAGE, targets=1)
    with pytest.raises(GradsightError):
        explainer(IMAGE[:, :2])
    assert kept is None or net.read() is kept
    assert torch.equal(net(other), net(other))


@pytest.mark.parametrize("keep", ["by_objects_as_fastai", "by_dict_that_forward_closes_over", "by_bound_method"])
def test_threads_share_a_model_whose_hooks_keep_outputs(keep: str) -> None:
    net, images = KEEPING[keep](), [IMAGE * k for k in (1, 2, 3)]
    right = [gs.Explainer(Plain(), layer="e2")(image, targets=1).maps for image in images]
    explainers = [gs.Explainer(net, layer="e2") for _ in range(2)]

    def work(k: int) -> float:
        found = explainers[k % 2](images[k % 3], targets=1).maps
        return float(np.abs(found - right[k % 3]).max() / np.abs(right[k % 3]).max())

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(12))) < 1e-5


@pytest.mark.parametrize("keep", ["by_objects_as_fastai", "by_dict_of_the_model", "by_the_last_child"])
def test_the_layer_that_is_chosen_is_one_that_nothing_bypasses(keep: str) -> None:
    found = gs.Explainer(KEEPING[keep]())(IMAGE, targets=[1, 3])
    assert found.layer in ("e2", "e2.1")
    assert_same(KEEPING[keep](), None, ("gradcam",), found.layer)


def keep(net: Any, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
    net.skip = output


def squash(_net: Any, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
    return output.sub(0.3).tanh()


def squash_in_place(_net: Any, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
    output.sub_(0.3).tanh_()


def keep_and_squash(net: Any, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
    net.skip = output
    return output.sub(0.3).tanh()


def squash_and_keep(net: Any, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
    net.skip = output.sub(0.3).tanh()
    return net.skip  # type: ignore[no-any-return]


def squash_plainly(y: torch.Tensor) -> torch.Tensor:
    return y.sub(0.3).tanh()


@pytest.mark.parametrize(
    ("hooks", "skips"),
    [
        ((squash, keep), "new"),
        ((keep, squash), "old"),
        ((squash_in_place, keep), "new"),
        ((keep, squash_in_place), "new"),
        ((keep_and_squash,), "old"),
        ((squash_and_keep,), "new"),
    ],
    ids=lambda x: "-".join(f.__name__ for f in x) if isinstance(x, tuple) else x,
)
def test_what_a_hook_puts_in_place_is_what_the_layer_gives(hooks: Any, skips: str) -> None:
    net = Skipping()
    for hook in hooks:
        net.e2.register_forward_hook(functools.partial(hook, net))
    # Of what a hook adds no module is the author, so FullGrad has no term of it.
    methods = tuple(method for method in METHODS if method != "fullgrad")
    if squash_in_place in hooks:  # PyTorch does not go back through a ReLU whose output was written into
        methods = ("gradcam", "hirescam", "gradcampp", "scorecam", "ablationcam", "shapleycam")
    else:
        assert_same(net, "e1", FEW, None, True, skips)
    assert_same(net, "e2", methods, "then", True, skips)
    assert_same(net, "e3", FEW, None, True, skips)


def test_more_than_what_a_hook_puts_in_place_is_refused() -> None:
    net = Skipping()

    def hook(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        squashed = squash_plainly(output)
        net.skip = squashed + 1
        return squashed

    net.e2.register_forward_hook(hook)
    for layer in ("e2", "e2.1"):
        explainer = gs.Explainer(net, layer=layer)
        if layer == "e2":
            with pytest.raises(GradsightError, match="layer 'e2' cannot be told from what is kept beside it"):
                explainer(IMAGE)
        else:
            assert np.isfinite(explainer(IMAGE).maps).all()


def test_what_a_second_hook_makes_of_it_is_made_of_what_the_layer_gives() -> None:
    net, plain = Skipping(), Plain(squash_plainly)
    net.head = plain.head = lambda y, skip: net.fc(torch.cat([y.mean((2, 3)), skip], 1))
    plain.read = None
    plain.forward = lambda x: plain.ends(plain.then(plain.e2(plain.e1(x))))
    plain.ends = lambda new: plain.fc(torch.cat([plain.e3(new).mean((2, 3)), new.square().mean((2, 3))], 1))
    net.e2.register_forward_hook(lambda _m, _i, output: squash_plainly(output))
    net.e2.register_forward_hook(lambda _m, _i, output: setattr(net, "skip", output.square().mean((2, 3))))
    for method in FEW:
        found = gs.Explainer(net, method=method, layer="e2")(IMAGE, targets=1)
        right = gs.Explainer(plain, method=method, layer="then")(IMAGE, targets=1)
        np.testing.assert_allclose(found.maps, right.maps, atol=2e-6 * np.abs(right.maps).max())


@pytest.mark.parametrize("layer", ["e2", "e1"])
@pytest.mark.parametrize("part", ["e2", "e2.1"])
def test_hooks_of_every_module(part: str, layer: str) -> None:
    net = Reading({})
    features, kept = net.features, net.get_submodule(part)

    def hook(module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        if module is kept:
            features["e2"] = output

    handle = register_module_forward_hook(hook)
    try:
        net(IMAGE[:1] * 2)
        before = features["e2"]
        assert_same(net, layer, FEW)
        assert features["e2"] is before
    finally:
        handle.remove()


def test_a_hook_of_every_module_that_replaces() -> None:
    net = Skipping()
    net.e2.register_forward_hook(functools.partial(keep, net))
    handle = register_module_forward_hook(lambda m, _i, output: squash_plainly(output) if m is net.e2 else None)
    try:
        assert_same(net, "e2", FEW, "then", True)
    finally:
        handle.remove()
