"""Damaged model files without number, the same for the same seed; as a script, the process that loads them.

    python fuzz_files.py KIND FIRST COUNT FOLDER

Each is loaded under a limit of memory and of time. What is written into FOLDER/told: a line of JSON for each that ended
otherwise than in a model or a GradsightError, and a last line with the counts.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("pt", "ckpt", "safetensors", "pt2", "onnx", "hf")
KERAS_KINDS = ("keras", "h5")
MEMORY = 4 * 10**9
SECONDS = 60

Edit = Callable[[random.Random, bytes], bytes]


# Bytes


def flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 3, 20])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def span(draw: random.Random, content: bytes) -> tuple[int, int]:
    start = draw.randrange(len(content))
    return start, min(len(content), start + draw.choice([1, 4, 30, 500, len(content)]))


def cut(draw: random.Random, content: bytes) -> bytes:
    start, end = span(draw, content)
    return content[:start] + (content[end:] if draw.random() < 0.7 else b"")


def double(draw: random.Random, content: bytes) -> bytes:
    start, end = span(draw, content)
    return content[:end] + content[start:end] * draw.choice([1, 1, 2, 50]) + content[end:]


def overwrite(draw: random.Random, content: bytes) -> bytes:
    start, end = span(draw, content)
    filling = {"zero": bytes(end - start), "ones": b"\xff" * (end - start), "noise": draw.randbytes(end - start)}
    return content[:start] + draw.choice(list(filling.values())) + content[end:]


def swap(draw: random.Random, content: bytes) -> bytes:
    a, b = sorted(draw.randrange(len(content)) for _ in range(2))
    width = draw.choice([1, 8, 100])
    return content[:a] + content[b : b + width] + content[a + width : b] + content[a : a + width] + content[b + width :]


def in_bytes(draw: random.Random, content: bytes) -> bytes:
    for _ in range(draw.choice([1, 1, 2, 4])):
        content = draw.choice([flip, flip, cut, double, overwrite, swap])(draw, content or b"\0")
    return content


# JSON

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    3,
    10**6,
    10**9,
    10**18,
    1.5,
    1e308,
    -0.5,
    "",
    "x",
    "/etc/hostname",
    [],
    {},
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Everything in JSON, as what holds it and where it is there."""
    inside = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    found = [(value, key) for key, _ in inside]
    for _, item in inside:
        found += places(item)
    return found


def in_json(draw: random.Random, content: bytes) -> bytes:
    value = json.loads(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        known = places(value)
        if not known:
            break
        (holder, key), (other, place) = draw.choice(known), draw.choice(known)
        way = draw.randrange(5)
        if way == 0:
            holder[key] = draw.choice(ODD)
        elif way == 1:  # a value from elsewhere, by itself or in the other's place
            holder[key] = json.loads(json.dumps(other[place]))
        elif way == 2:
            del holder[key]
        elif way == 3:
            holder[key] = draw.choice([[holder[key]], {"x": holder[key]}, [holder[key]] * 3])
        elif isinstance(holder[key], str):
            holder[key] = in_bytes(draw, holder[key].encode()).decode("latin1")
        elif isinstance(holder[key], int | float):
            holder[key] = holder[key] * draw.choice([-1, 0, 2, 1000, 10**9])
    return json.dumps(value).encode()


def in_text(draw: random.Random, content: bytes) -> bytes:
    """JSON in text of its own, such as a tree of arguments."""
    try:
        return in_json(draw, content)
    except ValueError:
        return in_bytes(draw, content)


# Containers, which are put together again: their own checks would see that a byte is another


def in_zip(*members: tuple[str, Edit]) -> Edit:
    """A change of one of the members whose names end so."""

    def edit(draw: random.Random, content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        known = [(name, change) for end, change in members for name in contents if name.endswith(end)]
        name, change = draw.choice(known)
        contents[name] = change(draw, contents[name] or b"\0")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, inside in contents.items():
                archive.writestr(each, inside)
        return buffer.getvalue()

    return edit


def in_safetensors(draw: random.Random, content: bytes) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = in_json(draw, content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def in_protobuf(draw: random.Random, content: bytes) -> bytes:
    from google.protobuf import json_format
    from onnx import ModelProto

    changed = in_json(draw, json_format.MessageToJson(ModelProto.FromString(content)).encode())
    try:
        made: bytes = json_format.Parse(changed, ModelProto()).SerializeToString()
    except json_format.ParseError:
        return in_protobuf(draw, content)
    return made


def in_attributes(draw: random.Random, content: bytes) -> bytes:
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        file.attrs["model_config"] = in_json(draw, file.attrs["model_config"].encode())
    return buffer.getvalue()


# What is damaged, and how it is loaded


class Payload:
    """Pickled, it creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def network() -> Any:
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()


def weights(folder: Path, kind: str) -> list[bytes]:
    import torch

    state, path = network().state_dict(), folder / f"base.{kind}"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
        return [path.read_bytes()]
    found = []
    for value in (
        {"state_dict": state, "hyper_parameters": {"a": [1, {"b": "c"}]}},
        {**state, "x": Payload(folder / "ran")},
    ):
        for new in (True, False):
            torch.save(value, path, _use_new_zipfile_serialization=new)
            found.append(path.read_bytes())
    return found


def program(folder: Path) -> list[bytes]:
    import torch

    path, payload = folder / "base.pt2", io.BytesIO()
    batch = ({0: torch.export.Dim("n", min=1, max=64)},)
    torch.export.save(torch.export.export(network(), (torch.zeros(2, 3, 12, 12),), dynamic_shapes=batch), path)
    plain = path.read_bytes()
    torch.save(((Payload(folder / "ran"),), {}), payload)
    live = in_zip(("sample_inputs/model.pt", lambda draw, content: payload.getvalue()))(random.Random(0), plain)
    return [plain, plain, live]


def graph(folder: Path) -> list[bytes]:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    constants = {
        "w": draw.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "v": draw.normal(size=(4, 3)).astype(np.float32),
        "s": np.array([1, 4], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("own", ["a"], ["b"], domain="mine"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Reshape", ["c", "s"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["e"]),
        helper.make_node("Softmax", ["e"], ["out"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    own = helper.make_function("mine", "own", ["p"], ["q"], [helper.make_node("Relu", ["p"], ["q"])], opsets[:1])
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 12])
    gives = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3])
    made = helper.make_graph(
        nodes, "g", [takes], [gives], [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    model = helper.make_model(made, opset_imports=opsets, functions=[own], ir_version=9)
    helper.set_model_props(model, {"names": "{0: 'ant', 1: 'bee', 2: 'cat'}", "author": "Ultralytics"})
    return [model.SerializeToString()]


def keras_file(folder: Path, kind: str) -> list[bytes]:
    import keras

    layers, found = keras.layers, []
    ran = str(folder / "ran")
    for extra in ([], [layers.Lambda(lambda x: open(ran, "w") and x, output_shape=(3,))]):  # noqa: SIM115
        tail = [layers.Conv2D(4, 3), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(3), *extra]
        path = folder / f"base.{kind}"
        keras.Sequential([keras.Input((12, 12, 3)), *tail]).save(path)
        Path(ran).unlink(missing_ok=True)
        found.append(path.read_bytes())
    return found


EDITS: dict[str, list[Edit]] = {
    "pt": [in_bytes, in_zip(("data.pkl", in_bytes), ("", in_bytes))],
    "ckpt": [in_bytes, in_zip(("data.pkl", in_bytes))],
    "safetensors": [in_bytes, in_safetensors, in_safetensors],
    "pt2": [
        in_bytes,
        in_zip(("models/model.json", in_json), ("config.json", in_json)),
        in_zip(("models/model.json", in_json)),
        in_zip(("model.pt", in_bytes), ("weight_0", in_bytes), ("models/model.json", in_bytes)),
    ],
    "onnx": [in_bytes, in_protobuf, in_protobuf],
    "keras": [in_bytes, in_zip(("config.json", in_json)), in_zip(("weights.h5", in_bytes), ("config.json", in_bytes))],
    "h5": [in_bytes, in_attributes],
}


def guarded(draw: random.Random, edits: list[Edit], content: bytes) -> bytes:
    try:
        return draw.choice(edits)(draw, content)
    except (zipfile.BadZipFile, IndexError, KeyError, AttributeError):  # an older format, in which nothing lies so
        return in_bytes(draw, content)


def folders(folder: Path) -> dict[str, dict[str, bytes]]:
    """The files of models of transformers; one has code of its own beside it."""
    import tiny_transformers as tiny

    found = {}
    for name in ("vit", "clip", "encoder_decoder"):
        at = folder / name
        at.mkdir()
        tiny.save(name, at)
        found[name] = {path.name: path.read_bytes() for path in at.iterdir()}
    config = json.loads(found["vit"]["config.json"])
    config["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModel", "AutoImageProcessor", "AutoTokenizer"), "own.Own")
    code = f"open({str(folder / 'ran')!r}, 'w')\nclass Own: ...".encode()
    found["own"] = {**found["vit"], "config.json": json.dumps(config).encode(), "own.py": code}
    return found


def changed_folder(draw: random.Random, files: dict[str, bytes], at: Path) -> None:
    at.mkdir(exist_ok=True)
    for old in at.iterdir():
        old.unlink()
    names = [name for name in files if name.endswith((".json", ".safetensors", ".txt"))]
    changed = draw.choice([*names, "config.json", "config.json", "preprocessor_config.json"])
    for name, content in files.items():
        if name == changed:
            edits: list[Edit] = [in_safetensors, in_bytes] if name.endswith("tensors") else [in_text, in_text, in_bytes]
            content = guarded(draw, edits, content)
        (at / name).write_bytes(content)


def loader(kind: str, folder: Path) -> Callable[[random.Random], None]:
    """What writes a damaged file of a kind, and loads it."""
    import gradsight as gs
    from gradsight.models.weights import hyperparameters, load_weights

    if kind == "hf":
        bases = folders(folder)

        def load_folder(draw: random.Random) -> None:
            changed_folder(draw, bases[draw.choice(list(bases))], folder / "damaged")
            gs.load_model(f"hf:{folder / 'damaged'}", weights=draw.choice([None, None, "none"]), labels=["a", "b", "c"])

        return load_folder
    make = {"pt2": program, "onnx": graph}.get(kind)
    base = make(folder) if make else keras_file(folder, kind) if kind in KERAS_KINDS else weights(folder, kind)
    path, model = folder / f"damaged.{kind}", None if kind in ("pt2", "onnx", *KERAS_KINDS) else network()

    def load_file(draw: random.Random) -> None:
        path.write_bytes(guarded(draw, EDITS[kind], draw.choice(base)))
        if model is None:
            gs.load_model(path)
        else:
            load_weights(model, path)
            hyperparameters(path)

    return load_file


def main(kind: str, first: int, count: int, folder: Path) -> None:
    from gradsight.errors import GradsightError

    warnings.simplefilter("ignore")
    load, counts = loader(kind, folder), {"loaded": 0, "refused": 0, "failed": 0}
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with open(folder / "told", "a") as told:
        for number in range(first, first + count):
            (folder / "number").write_text(str(number))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                load(random.Random(f"{kind} {number}"))
                counts["loaded"] += 1
            except GradsightError as error:
                fine = str(error).isprintable() and len(str(error)) < 3000
                counts["refused" if fine else "failed"] += 1
                if not fine:
                    told.write(json.dumps({"number": number, "error": f"a message of another form: {error!r}"}) + "\n")
            except BaseException as error:
                counts["failed"] += 1
                told.write(json.dumps({"number": number, "error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
        faulthandler.cancel_dump_traceback_later()
        # Not getrusage's, which counts what the parent had when it made this process.
        status = Path("/proc/self/status").read_text()
        most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        told.write(json.dumps({**counts, "ran": (folder / "ran").exists(), "bytes": most}) + "\n")


def check(kind: str, count: int, folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """Damage and load files of a kind in a process of its own, and check what became of them.

    Returns:
        The counts.
    """
    command = [sys.executable, __file__, kind, "0", str(count), str(folder)]
    limit = SECONDS + 5.0 * count
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=limit, cwd=folder, check=False)
    last = (folder / "number").read_text() if (folder / "number").exists() else "none"
    assert done.returncode == 0, f"it ended at {kind} {last}: {done.stderr[-3000:]}"
    *failures, counts = map(json.loads, (folder / "told").read_text().splitlines())
    assert not failures, failures[:5]
    assert counts["loaded"] + counts["refused"] == count
    assert counts["loaded"], "a damage that leaves nothing whole shows little"
    assert not counts["ran"]
    assert counts["bytes"] < MEMORY
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = counts
    return found


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    if sys.argv[1] in ("hf", "onnx"):
        import torchvision_shim

        torchvision_shim.install()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
