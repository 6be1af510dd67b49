"""Files: weights, exported programs, and that nothing in either is ever executed."""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from exported import altered, edit, export, pickled
from gradsight.errors import InvalidArgument, MissingDependency, ModelError
from gradsight.imaging import Preprocess
from gradsight.models.load import load_model
from gradsight.models.weights import load_weights, read_weights
from refusals import line


class Touch:
    """Pickled, it creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Net(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
        self.head = nn.Linear(4, 5)
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = x * self.scale
        return self.head(self.features(x).mean((-2, -1)))


def save(state: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return path


# Weights


@pytest.fixture
def trained() -> nn.Module:
    return Net().eval()


def assert_same(model: nn.Module, other: nn.Module) -> None:
    batch = torch.randn(2, 3, 8, 8)
    assert torch.equal(model.eval()(batch), other.eval()(batch))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
def test_weights_are_read(suffix: str, trained: nn.Module, tmp_path: Path) -> None:
    model = Net()
    load_weights(model, save(trained.state_dict(), tmp_path / f"w{suffix}"))
    assert_same(model, trained)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_come_off(wrapper: str, prefix: str, trained: nn.Module, tmp_path: Path) -> None:
    state = {prefix + name: value for name, value in trained.state_dict().items()}
    model = Net()
    load_weights(model, save({wrapper: state, "epoch": 3}, tmp_path / "w.pt"))
    assert_same(model, trained)


def test_a_prefix_that_belongs_stays(tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 3)

    saved, model = Outer(), Outer()
    load_weights(model, save(saved.state_dict(), tmp_path / "w.pt"))
    assert torch.equal(model.model.weight, saved.model.weight)


def test_weights_from_before_batches_were_counted(trained: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in trained.state_dict().items() if not k.endswith("num_batches_tracked")}
    model = Net()
    load_weights(model, save(state, tmp_path / "w.safetensors"))
    assert_same(model, trained)


def test_weights_that_do_not_fit(trained: nn.Module, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    del state["features.0.bias"]
    state["extra.weight"] = torch.zeros(1)
    path = save(state, tmp_path / "missing.pt")
    words = ("fit Net", "1 missing (features.0.bias)", "1 unexpected (extra.weight)", "package.module:function")
    line(ModelError, lambda: load_weights(Net(), path), *words)
    other = save(Net(channels=1).state_dict(), tmp_path / "grey.pt")
    line(
        ModelError,
        lambda: load_weights(Net(), other),
        "1 of another shape",
        "features.0.weight (4, 1, 3, 3) for (4, 3, 3, 3)",
    )
    far = save({f"layer{i}": torch.zeros(1) for i in range(9)}, tmp_path / "far.pt")
    line(ModelError, lambda: load_weights(Net(), far), "9 unexpected (layer0, layer1, layer2, ...)")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_pickle_that_would_run_is_not_run(suffix: str, inside: bool, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / f"w{suffix}"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Touch(ran)} if inside else Touch(ran), path)
    words = (
        "would run code",
        "'getattr'",
        "Nothing of it was run",
        "weights_only=False",
        "gs.Explainer",
    )
    line(ModelError, lambda: read_weights(path), *words)
    line(ModelError, lambda: load_model(path), "would run code")
    assert not ran.exists()
    torch.load(path, weights_only=False)
    assert ran.exists(), "the payload must be live for this test to mean anything"


def test_a_bare_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Touch(tmp_path / "ran"), protocol=2))
    line(ModelError, lambda: read_weights(tmp_path / "w.pt"), "weights")
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    path = save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "model.pt")
    line(ModelError, lambda: read_weights(path), "torch.nn.modules.container.Sequential", "weights_only=False")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what many files are
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "s.pt")
    line(ModelError, lambda: read_weights(tmp_path / "s.pt"), "TorchScript", "torch.export.save")
    line(ModelError, lambda: load_model(tmp_path / "s.pt"), "TorchScript")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["text", "half", "noise"])
def test_damaged_weights(suffix: str, damage: str, trained: nn.Module, tmp_path: Path) -> None:
    path = save(trained.state_dict(), tmp_path / f"w{suffix}")
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"hello world\n", "half": whole[: len(whole) // 2], "noise": bytes(range(256)) * 9}[damage]
    )
    line(ModelError, lambda: read_weights(path), "damaged or of another kind", "torch.save")


def test_no_weights_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    line(ModelError, lambda: read_weights(tmp_path / "empty.pt"), "empty file")
    line(InvalidArgument, lambda: read_weights(tmp_path / "nowhere.pt"), "no such file")
    line(InvalidArgument, lambda: read_weights(tmp_path), "it is a folder")
    line(ModelError, lambda: read_weights(save({"epoch": 3}, tmp_path / "w.pt")), "tensors by name")
    line(ModelError, lambda: read_weights(save(torch.zeros(3), tmp_path / "t.pt")), "tensors by name")


def test_safetensors_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: nn.Module) -> None:
    path = save(trained.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingDependency, match="pip install safetensors"):
        read_weights(path)


# Model files


def test_weights_alone_are_no_model(trained: nn.Module, tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".safetensors"):
        path = save(trained.state_dict(), tmp_path / f"w{suffix}")
        words = ("holds 9 tensors and no architecture", "--model package.module:function --weights")
        line(InvalidArgument, lambda path=path: load_model(path), *words)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    line(InvalidArgument, lambda: load_model(tmp_path / "nowhere.pt2"), "no such file")
    for name in ("nowhere.keras", "nowhere.h5", "nowhere.onnx"):
        line(InvalidArgument, lambda name=name: load_model(tmp_path / name), "no such file")
    line(InvalidArgument, lambda: load_model(tmp_path), "it is a folder")
    words = ("known kind: .h5, .hdf5, .keras, .onnx, .pt2", "torch.export.save")
    line(InvalidArgument, lambda: load_model(tmp_path / "notes.md"), *words)
    (tmp_path / "saved_model.pb").touch()
    line(InvalidArgument, lambda: load_model(tmp_path), "TensorFlow SavedModel", "model.save('model.keras')")


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".safetensors"])
def test_pytorch_is_not_installed(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"m{suffix}").write_bytes(b"some")
    monkeypatch.setattr("gradsight.models.weights.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"needs PyTorch.*pip install 'gradsight\[torch\]'"):
        load_model(tmp_path / f"m{suffix}")


# Exported programs


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    model = Net().eval()
    return model, export(model, tmp_path_factory.mktemp("pt2") / "net.pt2", 3, 40, 48)


@pytest.mark.parametrize("strict", [False, True])
def test_pt2_gives_the_same_logits_and_its_hooks_fire(strict: bool, tmp_path: Path, capfd: Any) -> None:
    model = Net().eval()
    loaded = load_model(export(model, tmp_path / "net.pt2", 3, 40, 48, strict=strict))
    assert capfd.readouterr() == ("", "")
    seen: list[tuple[int, ...]] = []
    loaded.model.get_submodule("features.0").register_forward_hook(lambda m, i, o: seen.append(tuple(o.shape)))
    for number in (1, 5):
        batch = torch.randn(number, 3, 40, 48)
        assert torch.equal(loaded.model(batch), model(batch))
    assert seen == [(1, 4, 38, 46), (5, 4, 38, 46)]


def test_pt2_says_its_size_and_nothing_else(exported: tuple[nn.Module, Path]) -> None:
    _, preprocess, labels = load_model(exported[1])
    assert preprocess == Preprocess((40, 48))
    assert labels is None
    assert load_model(f"file:{exported[1]}").preprocess == preprocess
    assert load_model(exported[1], size=64, fit="squash", labels=["a"]).preprocess == Preprocess((64, 64), fit="squash")


def test_pt2_of_one_channel_is_grey(tmp_path: Path) -> None:
    preprocess = load_model(export(Net(1), tmp_path / "grey.pt2", 1, 20, 20)).preprocess
    assert preprocess == Preprocess((20, 20), mean=(0.449,), std=(0.226,))


def test_pt2_that_takes_no_photo_has_no_preprocessing(tmp_path: Path) -> None:
    path = export(nn.Sequential(nn.Linear(7, 3)), tmp_path / "table.pt2", 7)
    assert load_model(path).preprocess is None
    line(InvalidArgument, lambda: load_model(path, size=32), "size can only replace")


def test_pt2_of_shapes_that_vary(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(2), nn.Flatten(2)).eval()
    auto = torch.export.Dim.AUTO
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            model, (torch.randn(2, 3, 40, 48),), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
        )
        torch.export.save(program, tmp_path / "m.pt2")
    assert "FloorDiv" in model_json(tmp_path / "m.pt2"), "the expressions must be more than a symbol"
    loaded = load_model(tmp_path / "m.pt2")
    batch = torch.randn(1, 3, 64, 33)
    assert torch.equal(loaded.model(batch), model(batch))
    assert loaded.preprocess == Preprocess()


def test_pt2_in_training_mode(tmp_path: Path) -> None:
    path = export(Net(), tmp_path / "train.pt2", 3, 20, 20, train=True)
    line(ModelError, lambda: load_model(path), "evaluation mode", "model.eval()")


def test_pt2_takes_no_weights(exported: tuple[nn.Module, Path]) -> None:
    line(InvalidArgument, lambda: load_model(exported[1], weights="w.pt"), "holds its own")


@pytest.mark.parametrize("damage", ["empty", "text", "half", "zip"])
def test_damaged_pt2(damage: str, exported: tuple[nn.Module, Path], tmp_path: Path, capfd: Any) -> None:
    path, whole = tmp_path / "m.pt2", exported[1].read_bytes()
    path.write_bytes({"text": b"hello", "half": whole[: len(whole) // 2]}.get(damage, b""))
    if damage == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/b", "c")
    line(ModelError, lambda: load_model(path), "cannot be read", "Export it again")
    assert capfd.readouterr() == ("", "")


def test_pt2_that_misses_a_record(exported: tuple[nn.Module, Path], tmp_path: Path, caplog: Any) -> None:
    path = altered(exported[1], tmp_path, {"data/weights/weight_0": None})
    line(ModelError, lambda: load_model(path), "cannot be read")
    assert not caplog.records


# Exported programs that carry code


def model_json(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return next(archive.read(name).decode() for name in archive.namelist() if name.endswith("models/model.json"))


def attacks(ran: Path, path: Path) -> dict[str, dict[str, Any]]:
    """What to alter in the archive ``path`` so that PyTorch 2.13's own loader creates the file ``ran``."""
    constants, weights = "data/constants/model_constants_config.json", "data/weights/model_weights_config.json"
    code = f"__import__('pathlib').Path({str(ran)!r}).touch()"

    def expression(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = code

    def weight(config: dict[str, Any]) -> None:
        config["config"]["head.bias"] |= {"use_pickle": True, "path_name": "weight_99"}

    def opaque(config: dict[str, Any]) -> None:
        config["config"]["x"] = {
            "path_name": "opaque_obj_0",
            "is_param": False,
            "use_pickle": True,
            "tensor_meta": None,
        }

    return {
        "sample inputs": {"data/sample_inputs/model.pt": pickled(((Touch(ran),), {}))},
        "expression": {"models/model.json": edit(expression)},
        "pickled weight": {weights: edit(weight), "data/weights/weight_99": pickled(Touch(ran))},
        "opaque object": {constants: edit(opaque), "data/constants/opaque_obj_0": pickle.dumps(Touch(ran))},
        # PyTorch's reader lists one folder only; what lies beside it is for the loader of the format before
        "hidden older archive": {
            "data/weights/weight_0": None,
            "/version": b"8.14",
            "/serialized_exported_program.json": lambda _: model_json(path).encode(),
            "/serialized_state_dict.pt": pickled(Touch(ran)),
            "/serialized_constants.pt": pickled({}),
            "/serialized_example_inputs.pt": pickled(((), {})),
        },
        "legacy weights": {"data/weights/model.pt": pickled({"x": Touch(ran)})},
    }


@pytest.mark.parametrize("way", list(attacks(Path(), Path())))
def test_pt2_that_would_run_is_not_run(way: str, exported: tuple[nn.Module, Path], tmp_path: Path, capfd: Any) -> None:
    ran = tmp_path / "ran"
    path = altered(exported[1], tmp_path, attacks(ran, exported[1])[way])
    words = ("could run code", "Nothing of it was run", "torch.export.load(path)", "gs.Explainer")
    line(ModelError, lambda: load_model(path), *words)
    assert capfd.readouterr() == ("", "")
    assert not ran.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # most fail after the payload has run
            torch.export.load(path)
    # PyTorch 2.9 does not read opaque objects yet.
    dead = way == "opaque object" and torch.__version__.startswith("2.9.")
    assert ran.exists() or dead, "the payload must be live for this test to mean anything"


def _node(model: dict[str, Any], **values: Any) -> None:
    model["graph_module"]["graph"]["nodes"][-1] |= values


def _tree(kind: str, context: Any) -> str:
    return json.dumps([1, {"type": kind, "context": json.dumps(context), "children_spec": []}])


SUSPECT: dict[str, Callable[[dict[str, Any]], None]] = {
    "an operator that maps a file": lambda m: _node(m, target="torch.ops.aten.from_file.default"),
    "a Python function": lambda m: _node(m, target="torch.os.system"),
    "a library loader": lambda m: _node(m, target="torch.ops.load_library"),
    "another namespace": lambda m: _node(m, target="torch.ops.mine.op.default"),
    "a dunder": lambda m: _node(m, target="torch.ops.aten.__class__.mro"),
    "a function as argument": lambda m: _node(
        m, inputs=[{"name": "f", "arg": {"as_operator": "torch.hub.load"}, "kind": 1}]
    ),
    "a name that is code": lambda m: _node(m, name="x=__import__('os')"),
    "a key that is code": lambda m: m["graph_module"]["graph"]["tensor_values"].update({"x');f('": {}}),
    "a module path that is code": lambda m: _node(m, metadata={"nn_module_stack": 'a,b");f(",c'}),
    "a parameter path that is code": lambda m: m["graph_module"]["signature"]["input_specs"][0]["parameter"].update(
        parameter_name='x"), f("'
    ),
    "an enum's module": lambda m: m["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec=_tree("builtins.dict", {"__enum__": True, "fqn": "antigravity:x", "name": "x"})
    ),
    "a factory's module": lambda m: m["graph_module"]["module_call_graph"][0]["signature"].update(
        out_spec=_tree("collections.defaultdict", {"default_factory_module": "antigravity"})
    ),
}


@pytest.mark.parametrize("what", list(SUSPECT))
def test_pt2_with_unknown_names_is_refused(what: str, exported: tuple[nn.Module, Path], tmp_path: Path) -> None:
    path = altered(exported[1], tmp_path, {"models/model.json": edit(SUSPECT[what])})
    line(ModelError, lambda: load_model(path), "could run code", "gs.Explainer")


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0').__class__",
        "exec('1')",
        "sympify('1')",
        "Symbol('s0', positive=True) if f else 1",
        "Symbol('a b')",
        'Symbol("s0")',
        "[1]",
        "²a",
    ],
)
def test_expressions_of_anything_but_shapes_are_refused(
    text: str, exported: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    def change(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text

    path = altered(exported[1], tmp_path, {"models/model.json": edit(change)})
    line(ModelError, lambda: load_model(path), "could run code", "the expression")


@pytest.mark.parametrize(
    ("record", "word"),
    [("data/aotinductor/model/code.so", "compiled (AOTInductor)"), ("data/constants/custom_obj_0", "custom_obj_0")],
)
def test_pt2_with_other_records_is_refused(
    record: str, word: str, exported: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    line(ModelError, lambda: load_model(altered(exported[1], tmp_path, {record: b"x"})), "could run code", word)


def test_a_copy_of_an_archive_loads(exported: tuple[nn.Module, Path], tmp_path: Path) -> None:
    path = altered(exported[1], tmp_path, {"extra/notes.txt": b"mine"})
    batch = torch.randn(1, 3, 40, 48)
    assert torch.equal(load_model(path).model(batch), exported[0](batch))
