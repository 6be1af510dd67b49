"""What PyTorch and its kin do not promise, and gradsight relies on: a new version tells here what moved."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

pytestmark = pytest.mark.pytorch


def traced(function: Callable[[torch.Tensor], Any], example: torch.Tensor, **options: Any) -> torch.fx.GraphModule:
    options = {"tracing_mode": "symbolic", "_allow_non_fake_inputs": True, **options}
    return make_fx(function, **options)(example)


def weights_may_be_real() -> bool:
    weight = torch.randn(4, 4)
    graph = traced(lambda x: x @ weight, torch.randn(3, 4))
    before = graph(torch.ones(2, 4))
    weight.mul_(2)
    return torch.equal(graph(torch.ones(2, 4)), 2 * before)  # it holds the tensor itself


def sizes_are_symbols() -> bool:
    graph = traced(lambda x: x.reshape(x.shape[0], -1), torch.randn(3, 4, 5))
    size = next(iter(graph.graph.nodes)).meta["val"].shape[0]
    return isinstance(size, torch.SymInt) and size.node.expr in size.node.expr.free_symbols


def blanks_are_told() -> bool:
    graph = traced(lambda x: x + torch.full((x.shape[0], 4), -7.25e-31), torch.randn(3, 4))
    return any(n.target is torch.ops.aten.full.default and n.args[1] == -7.25e-31 for n in graph.graph.nodes)


def writes_are_told() -> bool:
    graph = traced(lambda x: x.clone().add_(1), torch.randn(3, 4))
    operators = [n.target for n in graph.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    return [x._schema.is_mutable for x in operators] == [False, True]


def batch_sizes_are_read_by_one_operator() -> bool:
    graph = traced(lambda x: x.new_zeros(x.shape[0] * 2, 4), torch.randn(3, 4))
    return any(n.target is torch.ops.aten.sym_size.int for n in graph.graph.nodes)


def cache_may_be_left_out() -> bool:
    import_module("torch._inductor")
    with import_module("torch._dynamo").config.patch(fake_tensor_cache_enabled=False):
        return import_module("torch._dynamo").config.fake_tensor_cache_enabled is False


def modules_are_dicts() -> bool:
    kept = vars(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    return {"_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "training"} <= kept.keys()


def copies_of_modules_run() -> bool:
    module = nn.Linear(3, 2)
    copy = object.__new__(nn.Linear)
    copy.__dict__.update(module.__dict__, _parameters={k: p.detach() for k, p in module._parameters.items()})
    x = torch.ones(1, 3)
    return torch.equal(copy(x), module(x)) and not copy(x).requires_grad


def hooks_are_called_in_the_order_of_their_dict() -> bool:
    module, order = nn.Identity(), []
    module.register_forward_hook(lambda *_: order.append("first"))
    module.register_forward_hook(lambda *_: order.append("second"))
    module._forward_hooks.move_to_end(next(iter(module._forward_hooks)))
    module(torch.ones(1))
    return order == ["second", "first"]


def hooks_of_every_module_are_kept_by_name() -> bool:
    from torch.nn.modules import module as torch_module

    names = ("_global_forward_hooks", "_global_forward_pre_hooks")
    code = nn.Module._call_impl.__code__
    return all(isinstance(getattr(torch_module, x), dict) and x in code.co_names for x in names)


def compiled_modules_say_what_is_in_them() -> bool:
    module = nn.Linear(2, 2)
    return torch._dynamo.OptimizedModule(module, lambda f: f)._orig_mod is module


def compiled_calls_are_an_attribute() -> bool:
    return vars(nn.Module)["_compiled_call_impl"] is None


def versions_count_writes() -> bool:
    x = torch.zeros(2)
    before = x._version
    x.add_(1)
    return x._version == before + 1


def nodes_are_numbered_as_they_are_made() -> bool:
    x = torch.ones(2, requires_grad=True)
    first, second = x * 2, x * 3
    return second.grad_fn._sequence_nr() > first.grad_fn._sequence_nr()


def leaves_are_told_by_their_nodes() -> bool:
    x = torch.ones(2, requires_grad=True)
    return (x * 2).grad_fn.next_functions[0][0].variable is x


def checkpoints_look_up_both_kinds() -> bool:
    from torch.utils import checkpoint

    code = inspect.unwrap(checkpoint.checkpoint).__code__
    return {"CheckpointFunction", "_checkpoint_without_reentrant_generator"} <= set(code.co_names)


def convolutions_have_one_ancestor() -> bool:
    return issubclass(nn.Conv2d, nn.modules.conv._ConvNd) and issubclass(nn.ConvTranspose1d, nn.modules.conv._ConvNd)


def forward_derivatives_are_in_a_table() -> bool:
    return find_spec("torch._decomp.decompositions_for_jvp") is not None


def transforms_have_levels() -> bool:
    level = torch._C._functorch.maybe_current_level
    inside: list[Any] = []
    torch.vmap(lambda x: inside.append(level()) or x)(torch.ones(2))
    return level() is None and inside[0] is not None


def draws_are_tagged() -> bool:
    draws = [torch.ops.aten.bernoulli.default, torch.ops.aten.normal_.default, torch.ops.aten.native_dropout.default]
    return all(torch.Tag.nondeterministic_seeded in x.tags for x in draws)


def generators_may_be_lent() -> bool:
    overloads = torch.ops.aten.randn.overloads()
    return "generator" in overloads and {"default", "generator"} <= set(torch.ops.aten.rand.overloads())


def trees_keep_order() -> bool:
    from torch.utils import _pytree as pytree

    values, spec = pytree.tree_flatten({"b": 1, "a": (2, [3])})
    return values == [1, 2, 3] and pytree.tree_unflatten(values, spec) == {"b": 1, "a": (2, [3])}


def quantized_modules_are_told_by_their_file() -> bool:
    return ".quantized" in nn.quantized.Linear.__module__


INTERNALS: list[tuple[Callable[[], bool], str]] = [
    (weights_may_be_real, "torch.tracing: make_fx(_allow_non_fake_inputs=True)"),
    (sizes_are_symbols, "torch.cutting: SymInt.node.expr"),
    (blanks_are_told, "torch.cutting: aten.full in a traced graph"),
    (writes_are_told, "torch.tracing: OpOverload._schema.is_mutable"),
    (batch_sizes_are_read_by_one_operator, "torch.cutting: aten.sym_size in a traced graph"),
    (cache_may_be_left_out, "torch.tracing: torch._dynamo.config.fake_tensor_cache_enabled"),
    (modules_are_dicts, "torch.copies: nn.Module.__dict__"),
    (copies_of_modules_run, "torch.copies: modules made without __init__"),
    (hooks_are_called_in_the_order_of_their_dict, "torch.tap: nn.Module._forward_hooks"),
    (hooks_of_every_module_are_kept_by_name, "torch.reached: torch.nn.modules.module._global_forward_hooks"),
    (compiled_modules_say_what_is_in_them, "torch.copies: OptimizedModule._orig_mod"),
    (compiled_calls_are_an_attribute, "torch.copies: nn.Module._compiled_call_impl"),
    (versions_count_writes, "torch.tap, torch.view: Tensor._version"),
    (nodes_are_numbered_as_they_are_made, "torch.tap_points: Node._sequence_nr"),
    (leaves_are_told_by_their_nodes, "torch.graph: AccumulateGrad.variable"),
    (checkpoints_look_up_both_kinds, "torch.checkpoint: names in torch.utils.checkpoint"),
    (convolutions_have_one_ancestor, "torch.biases: nn.modules.conv._ConvNd"),
    (forward_derivatives_are_in_a_table, "torch.biases: torch._decomp.decompositions_for_jvp"),
    (transforms_have_levels, "keras.engines.torch: torch._C._functorch.maybe_current_level"),
    (draws_are_tagged, "generators: torch.Tag.nondeterministic_seeded"),
    (generators_may_be_lent, "generators: overloads with a generator"),
    (trees_keep_order, "torch.inputs: torch.utils._pytree"),
    (quantized_modules_are_told_by_their_file, "torch.view: the module of quantized classes"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("holds", "what"), INTERNALS, ids=[holds.__name__ for holds, _ in INTERNALS])
def test_pytorch_is_inside_as_we_know_it(holds: Callable[[], bool], what: str) -> None:
    moved = f"PyTorch {torch.__version__} has moved what gradsight relies on; backends.{what} has to follow"
    try:
        held = holds()
    except Exception as error:
        pytest.fail(f"{moved}: {type(error).__name__}: {error}")
    assert held, moved


@pytest.mark.parametrize(
    ("package", "file", "name"),
    [
        ("torchvision", "torchvision.models.detection.roi_heads", "RoIHeads.postprocess_detections"),
        ("torchvision", "torchvision.models.detection.retinanet", "RetinaNet.postprocess_detections"),
        ("torchvision", "torchvision.models.detection.ssd", "SSD.postprocess_detections"),
        ("torchvision", "torchvision.models.detection.fcos", "FCOS.postprocess_detections"),
        ("transformers", "transformers.models.vilt.modeling_vilt", "ViltEmbeddings.visual_embed"),
        ("torch", "torch.export.pt2_archive", "PT2ArchiveReader"),
    ],
)
def test_methods_that_model_sources_replace_are_where_they_were(package: str, file: str, name: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    place: Any = import_module(file)
    for part in name.split("."):
        place = getattr(place, part, None)
        assert place is not None, f"{package} {version(package)} has moved {file}.{name}, which gradsight.models uses"
    assert callable(place)
