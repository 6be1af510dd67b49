"""Records: one schema, told by the fields of a class, for JSON and for tables."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsight as gs
from gradsight.errors import InvalidArgument, MissingDependency
from gradsight.results import records, schema
from gradsight.results.example import example
from gradsight.results.note import OLDER, Note
from gradsight.results.records import ImageRecord, RegionRecord, TargetRecord
from gradsight.targets import Prediction, TargetInfo


def full() -> gs.Explanation:
    """An explanation of which every field of a record has a value."""
    return replace(
        example(),
        targets=((TargetInfo(None, "cat, not dog", ("cat", "dog"), (1.0, 2.0, 30.0, 40.5)),),),
        predictions=((Prediction(3, "cat", 0.5), Prediction(1, "dog", 0.25)),),
        target_notes=(((Note("faint", "in Python", "in a shell"),),),),
        question="what?",
        written=("a cat",),
        preprocess={"size": [20, 20], "assumed": True, "assumed_parts": ["size"]},
    )


@pytest.mark.parametrize("explanation", [example(), full()], ids=["plain", "full"])
def test_a_record_comes_back_from_its_json(explanation: gs.Explanation) -> None:
    record = explanation.record()
    plain = record.to_dict()
    assert next(iter(plain)) == "version"
    again = ImageRecord.from_dict(json.loads(json.dumps(plain)))
    assert again == (record if explanation.preprocess is None else replace(record, preprocess=again.preprocess))
    assert again.to_dict() == plain
    assert pickle.loads(pickle.dumps(record)) == record


def test_every_field_of_a_full_record_is_told() -> None:
    record = replace(full().record(files=["a.png"]), image="a.jpg", file="b.png", caption="no question")
    assert list(record.to_dict()) == [each.name for each in fields(ImageRecord)]
    (target,) = record.targets
    assert list(record.to_dict()["targets"][0]) == [each.name for each in fields(TargetRecord)]
    assert (record.question, record.answer, record.assumed) == ("what?", "a cat", True)
    assert (target.file, target.place, target.signed) == ("a.png", (1.0, 2.0, 30.0, 40.5), True)
    assert isinstance(target.against, RegionRecord)
    assert target.against.peak == (4, 7)  # where the map is -1
    assert record.to_dict()["targets"][0]["notes"] == [{"code": "faint", "text": "in Python"}]


def test_notes_name_options_as_they_are_typed_where_they_are_read() -> None:
    record = full().record()
    assert [str(note) for note in full().in_shell().record().targets[0].notes] == ["in a shell"]
    assert [str(note) for note in record.targets[0].notes] == ["in Python"]
    assert full().notes == ("in Python",)


def test_what_a_newer_writer_adds_is_left_out_and_another_version_is_refused() -> None:
    plain = example().record().to_dict()
    assert ImageRecord.from_dict({**plain, "brand_new": 5}) == example().record()
    with pytest.raises(InvalidArgument, match=r"of version 1 or older. Received: 2 \(int\). Update gradsight"):
        ImageRecord.from_dict({**plain, "version": 2})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": "60"}, "a record: width must be a whole number or None. Received: '60' (str)"),
        ({"layers": "layer4"}, "a record: layers must be a list"),
        ({"size": [40, 2.5]}, "a record: size[1] must be a whole number"),
        ({"assumed": 1}, "a record: assumed must be a truth value"),
        ({"targets": [{}]}, "a record: targets[0] must have 'index', which is missing"),
        ({"targets": 5}, "a record: targets must be a list"),
        ({"predictions": [5]}, "a record: predictions[0] must be an object"),
        ({"preprocess": []}, "a record: preprocess must be an object or None"),
    ],
)
def test_a_record_that_is_wrong_says_where(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(says)):
        ImageRecord.from_dict({**example().record().to_dict(), **change})


REGION = {"peak": ["int64"], "box": ["int64"], "area": "float64"}
COLUMNS = {
    "version": "int64",
    "image": "string",
    "file": "string",
    "width": "int64",
    "height": "int64",
    "size": ["int64"],
    "model": "string",
    "layers": ["string"],
    "at": "string",
    "method": "string",
    "title": "string",
    "preprocess": "string",
    "assumed": "bool",
    "question": "string",
    "answer": "string",
    "caption": "string",
    "predictions": [{"index": "int64", "label": "string", "probability": "float64"}],
    "targets": [
        {
            "index": "int64",
            "label": "string",
            "score": "float64",
            "file": "string",
            **REGION,
            "place": ["float64"],
            "signed": "bool",
            "against": REGION,
            "scale": "float64",
            "notes": [{"code": "string", "text": "string"}],
        }
    ],
}
"""The schema of version 1, written out once: a change of it is seen here, and perhaps makes a version 2."""


def test_the_columns_of_a_table_are_those_of_the_class() -> None:
    assert schema.columns(ImageRecord) == COLUMNS
    assert list(schema.columns(ImageRecord)) == list(COLUMNS)
    assert records.VERSION == 1


def holds(value: Any, column: schema.Column) -> bool:
    """Whether a value can stand in a column; None can in any."""
    if value is None:
        return True
    if isinstance(column, list):
        return isinstance(value, list) and all(holds(item, column[0]) for item in value)
    if isinstance(column, dict):
        return list(value) == list(column) and all(holds(value[name], column[name]) for name in column)
    return type(value) is {"int64": int, "float64": float, "string": str, "bool": bool}[column]


@pytest.mark.parametrize("explanation", [example(), full()], ids=["plain", "full"])
def test_a_row_fits_the_columns(explanation: gs.Explanation) -> None:
    row = explanation.record().to_row()
    assert holds(row, dict(COLUMNS))
    assert explanation.preprocess is None or json.loads(row["preprocess"]) == explanation.preprocess


def test_the_schema_of_arrow_is_that_of_the_columns() -> None:
    import pyarrow

    found = ImageRecord.arrow_schema()
    assert found.metadata == {b"gradsight.version": b"1"}
    rows = [example().record().to_row(), full().record().to_row()]
    assert pyarrow.Table.from_pylist(rows, schema=found).to_pylist() == rows


def test_without_pyarrow_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match="pip install pyarrow"):
        ImageRecord.arrow_schema()


# Codes.


CODES = {
    "another_input",
    "artefact_tokens",
    "assumed_preprocess",
    "averaged_weights",
    "bypassed",
    "constant_map",
    "diagnosed",
    "empty_heatmap",
    "explained_alone",
    "extra_tokens",
    "faint",
    "first_of_several",
    "hardly_beats_random",
    "improbable_class",
    "left_out",
    "mean_over_picture",
    "negative_map",
    "not_finite",
    "one_score",
    "outside_place",
    "random_model",
    "same_for_all",
    "saturated",
    "seen_in_part",
    "side_branch",
    "survives_random_weights",
    "training_mode",
    "unstable_under_noise",
    "unstable_under_shift",
    "weak_map",
    "zero_map",
}
"""Programs read these: a code that changes its name breaks them."""


def test_the_codes_of_notes_are_these() -> None:
    from gradsight.explaining import notes

    source = "".join(path.read_text(encoding="utf-8") for path in Path(notes.__file__).parent.glob("*.py"))
    # By the notes of costly checks too, of which "saturated" is one more of a code that there is.
    found = re.findall(r'(?:Note|_note)\(\s*"(\w+)"', source)
    assert sorted(found) == sorted([*CODES, "saturated"])
    assert len(re.findall(r"\bNote\(", source)) == 1 + len(re.findall(r'\bNote\(\s*"', source))


def test_no_note_for_python_names_an_option_of_the_command_line() -> None:
    from gradsight.explaining import notes

    record = {"assumed_parts": ["fit", "mean"], "fit": "crop", "mean": [0.5], "function": None}
    (assumed,), (seen,) = notes.of_preprocess(record), notes.of_placement((0, 0, 20, 20), (20, 40))
    for note in (assumed, seen):
        assert "--" not in note.text
        assert "--fit" in note.in_shell
    assert 'fit="letterbox"' in seen.text
    assert "fit= mean= of load_model" in assumed.text
    assert "gs." not in seen.in_shell + assumed.in_shell


# Files of before.


def rewritten(path: Path, change: Any) -> Path:
    """The file with what is said in it changed."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    about = json.loads(str(arrays.pop("about")))
    change(about)
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    return path


@pytest.mark.parametrize(
    ("layer", "layers", "at"),
    [("layer4", ("layer4",), "layer"), ("a.1 + b", ("a.1", "b"), "layers"), ("input", (), "input")],
)
def test_a_file_of_format_1_is_read(tmp_path: Path, layer: str, layers: tuple[str, ...], at: str) -> None:
    full().save(tmp_path / "x.npz")

    def older(about: dict[str, Any]) -> None:
        about.update(format=1, names=[layer, *about["names"]], notes=[[["weak", "too"]]])
        del about["layers"], about["at"]

    found = gs.Explanation.load(rewritten(tmp_path / "x.npz", older))
    assert (found.layers, found.at, found.method, found.model) == (layers, at, "gradcam", "example")
    assert found.target_notes == (((Note(OLDER, "weak"), Note(OLDER, "too")),),)
    assert found.notes == ("weak", "too")


def test_a_file_keeps_notes_and_layers(tmp_path: Path) -> None:
    explanation = replace(full(), layers=("a + b", "input"), at="layers")
    explanation.save(tmp_path / "x.npz")
    found = gs.Explanation.load(tmp_path / "x.npz")
    assert (found.layers, found.at, found.layer) == (("a + b", "input"), "layers", None)
    assert found.target_notes == explanation.target_notes
    assert found.target_notes[0][0][0].in_shell == "in a shell"


def test_a_layer_that_is_called_input_is_a_layer(tmp_path: Path) -> None:
    explanation = replace(example(), layers=("input",))
    assert (explanation.layer, explanation.heading) == ("input", "Grad-CAM at layer input, model example")
    explanation.save(tmp_path / "x.npz")
    assert gs.Explanation.load(tmp_path / "x.npz").at == "layer"
    assert explanation.record().to_dict()["layers"] == ["input"]


def test_a_file_of_a_newer_format_says_so(tmp_path: Path) -> None:
    example().save(tmp_path / "x.npz")
    with pytest.raises(InvalidArgument, match="of format 3, and this gradsight reads up to 2"):
        gs.Explanation.load(rewritten(tmp_path / "x.npz", lambda about: about.update(format=3)))


def test_layers_that_do_not_fit_what_the_maps_are_of() -> None:
    for layers, at in (((), "layer"), (("a", "b"), "layer"), ((), "layers"), (("a",), "input")):
        with pytest.raises(InvalidArgument, match="`layers` must have"):
            replace(example(), layers=layers, at=at)
