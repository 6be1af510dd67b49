"""Model files that would run code, take all memory, never end, or fail in a traceback: each is answered in a line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import tiny_transformers as tiny
from claims import refused
from exported import altered, edit, export, pickled
from gradsight import limits
from gradsight.errors import InvalidArgument, ModelError, one_line, received, unknown
from gradsight.models.load import load_model
from gradsight.models.sources.pt2.expressions import is_harmless
from gradsight.models.sources.pt2.operators import may_be_called
from gradsight.models.weights import load_weights, read_weights

pytestmark = pytest.mark.pytorch


# What is received


class Raising:
    """An object that fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)

    def __repr__(self) -> str:
        raise ValueError("no")

    __str__ = __repr__


def nested(levels: int, width: int = 1) -> list[Any]:
    value: list[Any] = [0]
    for _ in range(levels):
        value = [value] * width
    return value


SHOWN: dict[str, Callable[[], Any]] = {
    "deep": lambda: nested(100_000),
    "wide": lambda: nested(60, 2),
    "ordered": lambda: OrderedDict(a=nested(60, 3)),
    "both": lambda: {"a": [{"b": nested(200)}] * 9},
    "digits": lambda: [10**6000],
    "raising": Raising,
    "raising inside": lambda: [Raising()],
    "long": lambda: "x" * 10**7,
    "escapes": lambda: "\x1b[31m\u202e",
}


@pytest.mark.parametrize("what", list(SHOWN))
def test_what_is_received_is_shown_in_a_line_whatever_it_is(what: str) -> None:
    value = SHOWN[what]()
    began = time.monotonic()
    text = received(value)
    assert time.monotonic() - began < 1
    assert len(text) < 200
    assert text.isprintable()
    assert text.endswith(f"({type(value).__name__}).")


@pytest.mark.parametrize(
    "value",
    [(), (1,), [], [1, "a"], {}, {1: (2,)}, set(), {3}, frozenset({1}), OrderedDict(), None, b"\0"],
)
def test_plain_values_are_shown_as_python_shows_them(value: Any) -> None:
    assert received(value) == f"Received: {value!r} ({type(value).__name__})."


def test_errors_of_libraries_are_one_printable_line() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RecursionError

    assert one_line(Odd()) == "Odd"
    assert one_line(ValueError("a\x1b[1m\n b\0.")) == "a\\x1b[1m b\\x00"
    assert len(one_line(ValueError("x" * 10**7))) == 300
    assert len(str(unknown("model", "x" * 10**6, ["a"]))) < 300


def test_names_from_files_are_shown_escaped(tmp_path: Path) -> None:
    torch.save({"a\x1b[31m\u202e": torch.zeros(1)}, tmp_path / "w.pt")
    refused(lambda: load_weights(nn.Linear(2, 2), tmp_path / "w.pt"), "unexpected (a\\x1b[31m\\u202e)", kind=ModelError)


# Code in folders of transformers

CODE = """
from pathlib import Path
Path({ran!r}).touch()
from transformers import AutoModelForImageClassification as Model, PreTrainedConfig as Config
Processor = Tokenizer = Model
"""


def folder_with_code(folder: Path, where: str) -> Path:
    """A folder whose configuration names code of its own, in one of the places where transformers looks for it."""
    ran = folder / "ran"
    folder.mkdir(exist_ok=True)
    tiny.save("encoder_decoder" if where in ("nested", "tokenizer") else "vit", folder)
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    config = json.loads((folder / "config.json").read_text())
    maps = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoModelForImageClassification": "own.Model"}
    if where == "config":
        config |= {"model_type": "mine", "auto_map": maps}
    elif where == "known":
        config |= {"auto_map": maps}
    elif where == "nested":
        config["encoder"] |= {"model_type": "mine", "auto_map": maps}
    (folder / "config.json").write_text(json.dumps(config))
    if where == "processor":
        own = {"auto_map": {"AutoImageProcessor": "own.Processor"}, "image_processor_type": "MineImageProcessor"}
        (folder / "preprocessor_config.json").write_text(json.dumps(own))
    if where == "tokenizer":
        path = folder / "tokenizer_config.json"
        own = {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}, "tokenizer_class": "MineTokenizer"}
        path.write_text(json.dumps(json.loads(path.read_text()) | own))
    return ran


@pytest.mark.parametrize("where", ["config", "processor", "nested"])
def test_code_in_a_folder_of_transformers_is_not_run(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    ran = folder_with_code(tmp_path / "model", where)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "y")
    text = refused(lambda: load_model(tmp_path / "model"), kind=ModelError)
    assert where == "nested" or "Nothing of it was run" in text
    assert not ran.exists()
    assert not asked
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("where", ["known", "tokenizer"])
def test_code_beside_classes_that_transformers_knows_is_left_alone(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = folder_with_code(tmp_path / "model", where)
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")
    if where == "known":
        assert type(load_model(tmp_path / "model").model).__module__.startswith("transformers.")
    else:  # whose class is not one of them
        refused(
            lambda: load_model(tmp_path / "model"), "its tokenizer cannot be read without running code", kind=ModelError
        )
    assert not ran.exists()


@pytest.mark.parametrize("stdin", ["a pipe that says yes", "a terminal that says yes", "silence"])
def test_nobody_is_asked_whatever_stdin_is(stdin: str, tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    ran = folder_with_code(tmp_path / "model", "config")
    photo = tmp_path / "a.png"
    from PIL import Image

    Image.new("RGB", (40, 40), "red").save(photo)
    command = [
        sys.executable,
        "-c",
        "from gradsight.cli import main; main()",
        "explain",
        str(photo),
        "--model",
        str(tmp_path / "model"),
        "--json",
    ]
    answers, given = pty.openpty() if "terminal" in stdin else os.pipe()[::-1]
    if stdin != "silence":
        os.write(answers, b"y\ny\n")
    began = time.monotonic()
    done = subprocess.run(
        command, stdin=given, capture_output=True, text=True, env=subprocess_env, cwd=tmp_path, timeout=120
    )
    took = time.monotonic() - began
    os.close(answers)
    os.close(given)
    assert took < 60
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "hf model" in done.stderr
    assert not ran.exists()


def test_an_attention_that_would_be_fetched_is_refused(tmp_path: Path) -> None:
    tiny.save("vit", tmp_path)
    change(tmp_path / "config.json", _attn_implementation="someone/kernels")
    refused(lambda: load_model(tmp_path), "would run code", "someone/kernels", kind=ModelError)


# What a configuration of transformers claims


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


CLAIMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "classes": ("config.json", {"num_labels": 10**9, "id2label": None, "label2id": None}, "COUNT"),
    "layers": ("config.json", {"num_hidden_layers": 10**8}, "COUNT"),
    "layers that can be counted": ("config.json", {"num_hidden_layers": 900_000}, "PARTS"),
    "width": ("config.json", {"hidden_size": 4 * 10**6, "intermediate_size": 10**6}, "PARAMETERS"),
    "size of pictures": ("preprocessor_config.json", {"size": {"height": 10**5, "width": 10**5}}, "INPUT_VALUES"),
    "no size at all": ("preprocessor_config.json", {"size": {"height": 10**400, "width": 7}}, "INPUT_VALUES"),
    "architectures of nothing": ("config.json", {"architectures": [None]}, "hf model"),
    "architectures of a number": ("config.json", {"architectures": 5}, "hf model"),
    "architecture of tomorrow": ("config.json", {"architectures": ["NeverForImageClassification"]}, "Never"),
    "a filter that is a word": ("preprocessor_config.json", {"resample": "x"}, "hf model"),
    "a share of nothing": ("preprocessor_config.json", {"crop_pct": 1e-9}, "crop_pct"),
}


@pytest.mark.parametrize("what", list(CLAIMS))
@pytest.mark.parametrize("weights", [None, "none"])
def test_what_a_configuration_claims_is_bounded(what: str, weights: str | None, tmp_path: Path) -> None:
    file, values, word = CLAIMS[what]
    tiny.save("vit", tmp_path)
    change(tmp_path / file, **values)
    refused(lambda: load_model(tmp_path, weights=weights), word)


def test_a_limit_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.save("vit", tmp_path)
    monkeypatch.setattr(limits.PARTS, "value", 5)
    refused(lambda: load_model(tmp_path), "GRADSIGHT_MAX_PARTS", kind=ModelError)
    monkeypatch.setattr(limits.PARTS, "value", 500)
    assert load_model(tmp_path).model is not None


def test_deep_configurations_end_in_words(tmp_path: Path) -> None:
    tiny.save("vit", tmp_path)
    for levels in (500, 100_000):
        (tmp_path / "config.json").write_text('{"a":' * levels + "1" + "}" * levels)
        refused(lambda: load_model(tmp_path), "levels", kind=ModelError)
    (tmp_path / "config.json").write_text("[]")
    refused(lambda: load_model(tmp_path), "hf model")


@pytest.mark.parametrize("kind", [torch.bool, torch.complex64, torch.int8])
def test_weights_of_another_kind_of_numbers_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for suffix in (".pt", ".safetensors"):
        state = {name: value.to(kind) if name == "0.weight" else value for name, value in model.state_dict().items()}
        if suffix == ".pt":
            torch.save(state, tmp_path / "w.pt")
        else:
            from safetensors.torch import save_file

            save_file(state, tmp_path / "w.safetensors")
        words = ("1 of another kind of numbers", f"0.weight {str(kind)[6:]} for float32")
        refused(lambda suffix=suffix: load_weights(model, tmp_path / f"w{suffix}"), *words, kind=ModelError)
    own = model.state_dict()
    half = {name: value.half() if value.is_floating_point() else value.float() for name, value in own.items()}
    torch.save(half, tmp_path / "half.pt")
    load_weights(model, tmp_path / "half.pt")  # floats are floats, and counts may be


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_with_weights_of_another_kind_is_refused(file: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny.save("vit", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    name = next(name for name in state if name.endswith("query.weight"))
    state[name] = state[name] > 0
    save_file(state, tmp_path / file, {"format": "pt"}) if "safe" in file else torch.save(state, tmp_path / file)
    refused(lambda: load_model(tmp_path), "kind of numbers", "query.weight bool", kind=ModelError)


# Archives that hold far more than they are


def bomb(path: Path, member: str, megabytes: int = 300) -> Path:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w") as file:
        for _ in range(megabytes):
            file.write(bytes(10**6))
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return export(model.eval(), tmp_path_factory.mktemp("pt2") / "net.pt2", 3, 20, 20)


def test_archives_that_unpack_to_far_more_are_refused_before_they_are(program: Path, tmp_path: Path) -> None:
    words = ("claims to hold", "GRADSIGHT_MAX_UNPACKED_BYTES")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    refused(lambda: read_weights(bomb(tmp_path / "w.pt", "archive/data/9")), *words, kind=ModelError)
    copy = altered(program, tmp_path, {})
    refused(lambda: load_model(bomb(copy, "net/extra/zeros")), *words, kind=ModelError)
    inner = tmp_path / "inner.pt"
    torch.save(torch.zeros(3), inner)
    bomb(inner, "inner/data/9")
    copy = altered(program, tmp_path, {"data/sample_inputs/model.pt": inner.read_bytes()})
    refused(lambda: load_model(copy), *words, kind=ModelError)
    tiny.save("vit", tmp_path / "model")
    bomb(tmp_path / "model" / "pytorch_model.bin", "archive/data/0")
    refused(lambda: load_model(tmp_path / "model"), *words, kind=ModelError)


def test_a_large_archive_that_is_what_it_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.UNPACKED_BYTES, "value", 1000)
    torch.save({"a": torch.rand(5000)}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt")["a"].shape == (5000,)


def test_a_checkpoint_of_nested_lists_is_answered(tmp_path: Path) -> None:
    value: Any = [0]
    for _ in range(60):
        value = [value, value]
    torch.save({"state_dict": value}, tmp_path / "w.ckpt")
    refused(lambda: read_weights(tmp_path / "w.ckpt"), "tensors by name", kind=ModelError)


# Exported programs: what they call, and the sizes in them


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.save.default",
        "torch.ops.aten._print.default",
        "torch.ops.aten.warn.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.manual_seed.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten._sparse_csr_tensor_unsafe.default",
        "torch.ops.aten.fbgemm_linear_fp16_weight.default",
        "torch.ops.prims.rng_prims.default",
        "torch.ops.torchvision.decode_jpeg.default",
        "torch.ops.image.read_file.default",
        "torch.ops.higher_order.auto_functionalized",
        "torch.ops.load_library",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.factorial",
        "torch.sym_x",
        "torch.load",
    ],
)
def test_an_operator_that_may_do_more_than_compute_is_named_and_not_called(
    target: str, program: Path, tmp_path: Path, capfd: Any
) -> None:
    def called(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["nodes"][0]["target"] = target

    path = altered(program, tmp_path, {"models/model.json": edit(called)})
    refused(lambda: load_model(path), target, "Nothing of it was run", kind=ModelError)
    assert capfd.readouterr() == ("", "")


def test_operators_that_compute_may_be_called() -> None:
    names = """conv2d batch_norm relu_ add.Tensor add_.Tensor add.Scalar mul.Scalar scaled_dot_product_attention linear
    layer_norm gelu _softmax softmax.int hardswish_ upsample_bilinear2d.vec upsample_bicubic2d adaptive_avg_pool2d
    einsum index.Tensor index_put_ roll grid_sampler to.dtype _to_copy sym_size.int item unbind.int im2col col2im
    native_batch_norm _native_batch_norm_legit_no_training __and__.Tensor pad std.correction fft_rfft2 linalg_norm
    quantize_per_tensor fake_quantize_per_tensor_affine lstm.input rms_norm _assert_scalar isnan"""
    for name in names.split():
        base, _, overload = name.partition(".")
        assert may_be_called(f"torch.ops.aten.{base}.{overload or 'default'}"), name
    others = ("prims.convert_element_type.default", "torchvision.nms.default", "torchvision.deform_conv2d.default")
    for name in (*others, "torchvision.roi_align.default", "quantized_decomposed.dequantize_per_tensor.default"):
        assert may_be_called(f"torch.ops.{name}"), name
    for name in ("_operator.getitem", "_operator.floordiv", "math.ceil", "torch.sym_max", "torch._sym_sqrt"):
        assert may_be_called(name), name


def test_no_operator_that_may_be_called_takes_a_path_or_a_generator_of_the_process() -> None:
    """Of all that PyTorch registers: text among the arguments chooses a way to compute, by these names alone."""
    choices = {"padding", "rounding_mode", "equation", "norm", "approximate", "reduce", "UPLO", "driver", "ord", "p"}
    choices |= {"mode", "indexing", "interpolation", "padding_side", "side", "pad_mode", "assert_msg", "api_name"}
    choices |= {"dim"}  # names of dimensions, which an operator of PyTorch 2.9 takes
    number = 0
    for full in torch._C._dispatch_get_all_op_names():
        space, _, rest = full.partition("::")
        name, _, overload = rest.partition(".")
        if space in ("aten", "prims") and may_be_called(f"torch.ops.{space}.{name}.{overload or 'default'}"):
            number += 1
            packet = getattr(getattr(torch.ops, space), name)
            for argument in getattr(packet, overload or "default")._schema.arguments:
                text = str(argument.type)
                assert "str" not in text or argument.name in choices, (full, argument.name)
                assert not any(word in text for word in ("Storage", "Stream", "Dict", "Any")), (full, text)
    assert number > 1000


LARGE = [
    "9**9**9**9",
    "Pow(Integer(9), Integer(999999999))",
    "Pow(Symbol('s0', integer=True), Symbol('s1', integer=True))",
    "(((9**64)**64)**64)**64",
    "+".join(["1"] * 100_000),
    "(" * 3000 + "1" + ")" * 3000,
    "Float('1e99999999')",
    "1" * 5000,
]


@pytest.mark.parametrize("text", LARGE)
def test_sizes_that_sympy_would_work_at_are_refused(text: str, program: Path, tmp_path: Path) -> None:
    assert not is_harmless(text)

    def expression(model: dict[str, Any]) -> None:
        graph = model["graph_module"]["graph"]
        value = next(v for v in graph["tensor_values"].values() if "as_expr" in v["sizes"][0])
        value["sizes"][0]["as_expr"]["expr_str"] = text

    path = altered(program, tmp_path, {"models/model.json": edit(expression)})
    refused(lambda: load_model(path), "the expression", kind=ModelError)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', positive=True, integer=True)",
        "Add(FloorDiv(Add(Symbol('s0', integer=True), Integer(-1)), Integer(2)), Integer(1))",
        "Mul(Integer(2), Pow(Symbol('s1', positive=True, integer=True), Integer(2)))",
        "2*s0 + 1",
        "(s0 - 3)**2",
        "Float('0.5', precision=53)",
        "Eq(Symbol('s0'), Integer(1))",
    ],
)
def test_sizes_as_pytorch_writes_them_are_read(text: str) -> None:
    assert is_harmless(text)


def test_a_program_that_takes_a_picture_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)).eval(), tmp_path / "m.pt2", 3, 40, 40)
    monkeypatch.setattr(limits.INPUT_VALUES, "value", 3 * 40 * 40 - 1)
    refused(lambda: load_model(path), "3 x 40 x 40", "GRADSIGHT_MAX_INPUT_VALUES", kind=ModelError)
    monkeypatch.setattr(limits.INPUT_VALUES, "value", 3 * 40 * 40)
    assert load_model(path).preprocess is not None


# ONNX graphs


def graph(nodes: list[Any], path: Path, sizes: list[Any] | None = None, **more: Any) -> Path:
    """An ONNX file that takes an image, and whose last operator gives its output."""
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes or [1, 3, 8, 8])
    gives = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", "m"])
    constants = [numpy_helper.from_array(value, name) for name, value in more.pop("constants", {}).items()]
    functions = more.pop("functions", [])
    made = helper.make_graph(nodes, "g", [takes], [gives], constants)
    domains = [helper.make_opsetid("", 18), *([helper.make_opsetid("own", 1)] if functions else [])]
    model = helper.make_model(made, opset_imports=domains, functions=functions, ir_version=9)
    helper.set_model_props(model, more)
    onnx.save(model, path)
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def doubling(number: int, first: str = "Relu") -> list[Any]:
    """Functions each of which calls the one before twice."""
    made = []
    for i in range(number):
        kind = {"domain": "own"} if i else {}
        calls = [node(f"f{i - 1}" if i else first, a, b, **kind) for a, b in (("a", "b"), ("b", "c"))]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", f"f{i}", ["a"], ["c"], calls, opsets))
    return made


def test_functions_of_an_onnx_file_are_written_out(tmp_path: Path) -> None:
    flat = [node("f1", "x", "y", domain="own"), node("GlobalAveragePool", "y", "z"), node("Flatten", "z", "out")]
    loaded = load_model(graph(flat, tmp_path / "m.onnx", functions=doubling(2)))
    x = torch.randn(1, 3, 8, 8)
    assert torch.allclose(loaded.model(x), x.relu().mean((2, 3)))


@pytest.mark.parametrize("number", [24, 64, 2000])
def test_functions_that_call_each_other_without_end_are_counted_first(number: int, tmp_path: Path) -> None:
    calls = [node(f"f{number - 1}", "x", "y", domain="own")]
    refused(lambda: load_model(graph(calls, tmp_path / "m.onnx", functions=doubling(number))), kind=ModelError)


SMALL = np.array([40_000, 40_000], np.int64)
FOLDED: dict[str, list[Any]] = {
    "ConstantOfShape": [node("ConstantOfShape", "s", "c")],
    "Expand": [node("Expand", "one s", "c")],
    "Tile": [node("Unsqueeze", "one zero", "o"), node("Tile", "o s", "c")],
    "Range": [node("Range", "nought many step", "c")],
    "MatMul": [node("Unsqueeze", "line one_axis", "u"), node("Transpose", "u", "t"), node("MatMul", "u t", "c")],
    "Add": [node("Unsqueeze", "line one_axis", "u"), node("Transpose", "u", "t"), node("Add", "u t", "c")],
}


@pytest.mark.parametrize("kind", list(FOLDED))
def test_constants_that_fold_to_gigabytes_are_refused(kind: str, tmp_path: Path) -> None:
    constants = {
        "s": SMALL,
        "one": np.ones(1, np.float32),
        "zero": np.zeros(1, np.int64),
        "one_axis": np.ones(1, np.int64),
        "nought": np.float32(0),
        "many": np.float32(2e9),
        "step": np.float32(1),
        "line": np.ones(40_000, np.float32),
    }
    nodes = [*FOLDED[kind], node("ReduceMax", "c", "m", keepdims=0), node("Add", "x m", "out")]
    path = graph(nodes, tmp_path / "m.onnx", constants=constants)
    refused(lambda: load_model(path), "GRADSIGHT_MAX_UNPACKED_BYTES", kind, kind=ModelError)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Expand", "x s", "y"), node("ReduceMean", "y", "out")],
        [node("Tile", "x r", "y"), node("ReduceMean", "y", "out")],
        [node("Resize", "x none scales", "y"), node("ReduceMean", "y", "out")],
    ],
)
def test_arrays_that_grow_from_the_picture_are_refused(nodes: list[Any], tmp_path: Path) -> None:
    constants = {
        "s": np.array([3_000_000, 3, 8, 8], np.int64),
        "r": np.array([1, 1, 9000, 9000], np.int64),
        "scales": np.array([1, 1, 9000, 9000], np.float32),
        "none": np.zeros(0, np.float32),
    }
    path = graph(nodes, tmp_path / "m.onnx", constants=constants)
    refused(lambda: load_model(path), "GRADSIGHT_MAX_ARRAY_BYTES", kind=ModelError)


@pytest.mark.parametrize("sizes", [[1, 3, 10**5, 10**5], [1, 3, 14_000, 14_000], [10**9, 3, 8, 8], [1, 10**9]])
def test_an_input_of_an_onnx_file_that_nobody_has(sizes: list[int], tmp_path: Path) -> None:
    path = graph([node("Relu", "x", "out")], tmp_path / "m.onnx", sizes)
    refused(lambda: load_model(path), "GRADSIGHT_MAX_INPUT_VALUES", kind=ModelError)


def test_an_output_of_an_onnx_file_without_values(tmp_path: Path) -> None:
    constants = {"s": np.array([0], np.int64), "e": np.array([0], np.int64), "a": np.array([1], np.int64)}
    path = graph([node("Slice", "x s e a", "out")], tmp_path / "m.onnx", constants=constants)
    refused(lambda: load_model(path), "without any", kind=ModelError)


@pytest.mark.parametrize(
    "names", ["{[]: 1}", "[" * 50_000, "{0: 'a', 'b': {}}", "{0: 1}", "9**9**9", "x" * 10**6, "\0"]
)
def test_names_in_an_onnx_file_that_are_none(names: str, tmp_path: Path) -> None:
    flat = [node("GlobalAveragePool", "x", "z"), node("Flatten", "z", "out")]
    loaded = load_model(graph(flat, tmp_path / "m.onnx", names=names))
    assert loaded.labels is None
    flat[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=names)
    assert load_model(graph(flat, tmp_path / "m.onnx")).model is not None


# A user's module


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit()",
        "import argparse; p = argparse.ArgumentParser(); p.add_argument('--epochs', required=True); p.parse_args()",
        "class Own(BaseException): ...\nraise Own('stop')",
        "class Own(Exception):\n    def __str__(self): raise KeyError\nraise Own",
        "def __getattr__(name): raise SystemExit(3)",
        "def build():\n    import sys\n    sys.exit('no GPU')",
        "def build():\n    raise GeneratorExit",
        "class Odd:\n    def __getattr__(self, name): raise KeyError(name)\n    def __repr__(self): raise ValueError\n"
        "def build(): return Odd()",
        "import torch\nclass Odd(torch.nn.Module):\n    def eval(self): raise SystemExit\nbuild = Odd",
        "class Odd(type):\n    def __call__(cls): raise SystemExit\nclass build(metaclass=Odd): ...",
    ],
)
def test_a_users_module_that_ends_the_program_or_fails_oddly(code: str, folder: Any, capfd: Any) -> None:
    folder.write("hostile_module", code)
    refused(lambda: load_model("hostile_module:build"), "hostile_module:build")
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_in_a_users_module_stays_one(folder: Any) -> None:
    folder.write("hostile_module", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_model("hostile_module:build")


def test_what_a_users_module_says_is_left_on_stderr(folder: Any, capfd: Any) -> None:
    code = "import sys, torch\nprint('usage: mine', file=sys.stderr)\nkept = sys.stderr\nbuild = torch.nn.Identity"
    folder.write("hostile_module", code)
    load_model("hostile_module:build")
    sys.modules["hostile_module"].kept.write("later")
    assert capfd.readouterr() == ("", "usage: mine\nlater")


# Paths


def odd_paths(folder: Path, suffix: str) -> list[Path]:
    pipe = folder / f"pipe{suffix}"
    os.mkfifo(pipe)
    device = folder / f"zero{suffix}"
    device.symlink_to("/dev/zero")
    loop = folder / f"loop{suffix}"
    loop.symlink_to(loop)
    return [
        pipe,
        device,
        loop,
        Path("a" * 300 + suffix),
        Path("/".join(["b" * 200] * 30) + suffix),
        Path(f"a\0{suffix}"),
    ]


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".keras", ".h5", ".pt", ".safetensors", ""])
def test_paths_that_are_no_file(suffix: str, tmp_path: Path) -> None:
    for path in odd_paths(tmp_path, suffix):
        refused(lambda path=path: load_model(f"file:{path}"), "model must be a file", kind=InvalidArgument)
        refused(lambda path=path: load_model(path))
        if suffix in (".pt", ".safetensors"):
            refused(lambda path=path: read_weights(path), "weights must be a file", kind=InvalidArgument)


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "preprocessor_config.json", "generation_config.json"]
)
def test_a_pipe_in_a_folder_of_transformers_is_not_waited_for(file: str, tmp_path: Path) -> None:
    tiny.save("vit", tmp_path)
    (tmp_path / file).unlink(missing_ok=True)
    os.mkfifo(tmp_path / file)
    refused(lambda: load_model(f"hf:{tmp_path}"), "pipe")


def test_samples_that_hold_more_than_tensors_stay_refused(program: Path, tmp_path: Path) -> None:
    copy = altered(program, tmp_path, {"data/sample_inputs/model.pt": pickled(Path("x"))})
    refused(lambda: load_model(copy), "could run code", kind=ModelError)
