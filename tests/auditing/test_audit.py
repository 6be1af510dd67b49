"""Verdicts on networks whose shortcut is built in by hand, and what an audit says of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gradsight as gs
import shortcuts
from gradsight.auditing import background, exchanging
from gradsight.auditing.audit import Beside, audited
from gradsight.auditing.candidates import Candidate
from gradsight.auditing.finding import Finding
from gradsight.auditing.interventions import Shown, put
from gradsight.auditing.loading import Loader
from gradsight.auditing.places import around, shared
from gradsight.auditing.scoring import Scorer
from gradsight.auditing.seen import seen_of
from gradsight.auditing.trying import suspects
from gradsight.cli import main
from gradsight.errors import InvalidArgument

pytestmark = pytest.mark.pytorch

SIDE = shortcuts.SIDE


@pytest.fixture(scope="module")
def marked() -> tuple:
    return shortcuts.audited_mark()


def test_a_mark_that_decides_is_confirmed_and_its_box_is_the_mark(marked) -> None:
    _, _, found = marked
    (one,) = found.confirmed
    assert (one.kind, one.label, found.findings[0]) == ("suspect", "mark", one)
    mark = (26 / SIDE, 26 / SIDE, 31 / SIDE, 31 / SIDE)
    # Most of the mark, and a pixel or two beside it.
    assert shared(one.box, mark) >= 0.6 * shared(mark, mark)
    assert around([one.box, (24 / SIDE, 24 / SIDE, 1, 1)]) == (24 / SIDE, 24 / SIDE, 1, 1)
    assert one.removal.low > 0.9
    assert one.transplant.low > 0.3
    assert "the lower right corner" in one.sentence
    assert found.verdict.startswith("1 confirmed shortcut (mark)")


def test_an_audit_is_the_same_again_and_by_another_batch_size(marked) -> None:
    seen, explainer, found = marked
    other = gs.Explainer(explainer.model, layer="features", batch_size=7)
    assert [one.sentence for one in audited(seen, other).findings] == [one.sentence for one in found.findings]


def test_a_logo_that_moves_is_found_by_its_pixels() -> None:
    seen, explainer = shortcuts.explained(shortcuts.Logo(), shortcuts.with_logo)
    (one,) = audited(seen, explainer).confirmed
    assert (one.label, one.figures["moving"]) == ("mark", 1)
    # The logo's own size, whatever the edge that it moves along.
    assert one.figures["size"] == pytest.approx(63 / SIDE**2, rel=0.25)
    assert one.figures["alike"] > 0.8
    assert "at varying places" in one.sentence


def test_what_a_class_is_about_is_no_shortcut() -> None:
    seen, explainer = shortcuts.explained(shortcuts.Colours(), shortcuts.bright)
    assert not audited(seen, explainer).confirmed
    # Also where its maps seem to share a corner: other places do the same.
    corner = (0.75, 0.75, 1.0, 1.0)
    excess = np.zeros((16, 16))
    excess[12:, 12:] = 1
    made = Candidate(
        target=0, rows=seen.of[0], whole=True, apart=True, excess=excess, boxes=(corner,), strength=9, score=9, p=0.01
    )
    loader = Loader(seen, Scorer(explainer))
    assert not any(one.confirmed for one in suspects(seen, [made], loader))
    assert loader.scorer.rows > 0


def test_a_place_that_the_model_ignores_is_no_shortcut(marked) -> None:
    # The photos have the mark, the maps lie on it; but this model does not look at it.
    seen, _, _ = marked
    _, explainer = shortcuts.explained(shortcuts.Colours(), shortcuts.marked)
    assert not audited(seen, explainer).confirmed


def test_of_each_kind_the_strongest_are_printed(run, capsys, monkeypatch) -> None:
    folder, _ = run
    errors = [Finding(kind="error", sentence=f"error {i}", strength=1 - i / 100) for i in range(50)]
    many = replace(gs.audit(folder), findings=(*errors, Finding(kind="look", sentence="where it looks")))
    monkeypatch.setattr(gs, "audit", lambda *args, **kwargs: many)
    assert _status(["audit", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "error 7\n" in out
    assert "error 8\n" not in out
    assert "where it looks" in out
    assert "42 more of kind error" in out


def test_patches_are_put_at_their_own_places_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(0)
    source, into = rng.random((2, 2, 3, 8, 8)).astype(np.float32)
    made = put(source, into, [(0, 0, 0.5, 0.25), (0.5, 0.5, 1, 1)])
    assert (made[0, :, :4, :2] == source[0, :, :4, :2]).all()
    assert (made[1, :, 4:, 4:] == source[1, :, 4:, 4:]).all()
    assert (made != into).any(axis=1).sum() == 8 + 16


def test_a_removed_region_is_filled_from_around_it(marked) -> None:
    _, explainer, _ = marked
    plain = np.full((2, 3, SIDE, SIDE), 0.5, np.float32)
    own = plain.copy()
    own[0, :, 26:31, 26:31], own[1, :, 2:9, 2:9] = 1, 0
    shown = Shown(Scorer(explainer), 0, own, plain, plain)
    boxes = [(26 / SIDE, 26 / SIDE, 31 / SIDE, 31 / SIDE), (2 / SIDE, 2 / SIDE, 9 / SIDE, 9 / SIDE)]
    np.testing.assert_allclose(shown.without(boxes), plain, atol=1e-6)


def test_few_photos_confirm_nothing(marked) -> None:
    seen, explainer, _ = marked
    few = np.concatenate([seen.of[0][:3], *(seen.of[i] for i in (1, 2, 3))])
    found = audited(_part(seen, few), explainer)
    assert not found.confirmed
    # Of two classes of three photos nothing is known, and none is said to be sound.
    found = audited(_part(seen, np.concatenate([seen.of[0][:3], seen.of[1][:3]])), explainer)
    assert found.verdict.startswith("No suspect was tested")
    assert found.notes == ("suspects are looked for where 6 photos of a class stand beside 6 of others: none do here.",)


def test_sentences_hold_for_one_class_one_photo_and_maps_of_other_classes(marked) -> None:
    seen, _, _ = marked
    (look,) = (one for one in audited(_part(seen, seen.of[0][:1]), None).findings if one.kind == "look")
    assert "in 1 photo taken for it most of the heat is" in look.sentence
    assert "other classes" not in look.sentence
    # Taken for another class than the one that all maps are of.
    wrong = replace(seen, predictions=np.full(len(seen), 1), probabilities=np.full(len(seen), 0.99))
    wrong = _part(replace(wrong, targets=np.zeros(len(seen), np.intp)), seen.of[0][:2])
    errors = [one.sentence for one in audited(wrong, None).findings if one.kind == "error"]
    assert len(errors) == 2
    assert all("what speaks for mark is at" in one and "the model looked" not in one for one in errors)


def _part(seen, rows):
    names = ("labels", "predictions", "probabilities", "targets", "heat", "features")
    arrays = {name: None if getattr(seen, name) is None else getattr(seen, name)[rows] for name in names}
    tuples = {name: tuple(getattr(seen, name)[i] for i in rows) for name in ("keys", "photos", "placements")}
    return replace(seen, **arrays, **tuples)


def test_a_photo_that_is_gone_is_told_and_stops_nothing(marked) -> None:
    seen, explainer, _ = marked
    photos = list(seen.photos)
    photos[3] = "nowhere.png"
    found = audited(replace(seen, photos=tuple(photos)), explainer)
    assert [key for key, _ in found.failed] == [seen.keys[3]]
    assert found.notes[0].startswith(
        f"photos that could not be read again to try things out: 1, such as {seen.keys[3]}"
    )
    assert len(found.confirmed) == 1


def test_without_a_model_nothing_is_confirmed_and_it_says_so(marked) -> None:
    seen, _, _ = marked
    found = audited(seen, None)
    assert not found.confirmed
    assert found.verdict.startswith("No suspect was tested")
    assert {one.kind for one in found.findings} >= {"look"}


class Half(torch.nn.Module):
    """Two classes by the left half, the object, or by the right half, the background, of the photo."""

    def __init__(self, by_background: bool) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 2, 1, bias=False)
        self.features.weight.data[:] = torch.tensor([[1.0, 0, -1], [-1, 0, 1]])[:, :, None, None]
        self.side = slice(SIDE // 2, None) if by_background else slice(0, SIDE // 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return 12 * torch.relu(self.features(pixels))[..., self.side].mean((2, 3))


@pytest.mark.parametrize("by_background", [False, True])
def test_reliance_on_the_background_is_told_from_reliance_on_the_object(by_background: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = rng.integers(0, 60, (24, SIDE, SIDE, 3), np.uint8)
    classes = np.arange(24) % 2
    side = slice(SIDE // 2, None) if by_background else slice(0, SIDE // 2)
    for photo, kind in zip(made, classes, strict=True):
        photo[:, side, 2 * kind] += 150
    keys = [f"{i}.png" for i in range(24)]
    boxes = tmp_path / "boxes.csv"
    rows = [f"{key},{kind},0,0,{SIDE // 2},{SIDE}" for key, kind in zip(keys, classes, strict=True)]
    boxes.write_text("image,label,left,top,right,bottom\n" + "\n".join(rows))
    explainer = gs.Explainer(
        Half(by_background).eval(), layer="features", method="hirescam", preprocess=shortcuts.preprocess()
    )
    with explainer.stream(made) as stream:
        seen, _ = seen_of(stream, keys=keys, labels=classes.tolist())
    found = audited(seen, explainer, Beside(boxes=boxes))
    assert len(found.reliances) == 2
    for one in found.reliances:
        assert one.area == pytest.approx(0.5)
        assert one.on_object.mean == pytest.approx(0.0 if by_background else 1.0, abs=0.05)
        assert one.reliance == pytest.approx(1.0 if by_background else 0.0, abs=0.02)
        # Without what it knows the class by, the model must guess: the mean colour of the class's own photos says it.
        fall = one.without_background if by_background else one.without_object
        assert fall is not None
        assert fall.mean > 0.4
        # And with the half of another class that it goes by it must err, with its other half nothing changes.
        decides, idle = one.other_object, one.other_background
        if by_background:
            decides, idle = idle, decides
        assert decides is not None
        assert idle is not None
        assert decides.low > 0.7
        assert idle.mean == pytest.approx(0, abs=0.02)
    told = [one.sentence for one in found.findings if one.kind == "background"]
    assert len(told) == 2
    assert all(f": the background decides {'100%' if by_background else '0%'} of it" in sentence for sentence in told)


def test_of_a_class_of_two_photos_no_others_are_cut_out(marked, monkeypatch, tmp_path: Path) -> None:
    seen, explainer, _ = marked
    (tmp_path / "boxes.csv").write_text(
        "image,label,left,top,right,bottom\n" + "\n".join(f"{key},thing,4,4,20,20" for key in seen.keys)
    )
    few = _part(seen, np.concatenate([seen.of[0][:2], seen.of[1][:8]]))
    cut: list[int] = []
    monkeypatch.setattr(exchanging, "imputed", lambda picture, region: cut.append(1) or picture)
    one, other = audited(few, explainer, Beside(boxes=tmp_path / "boxes.csv"), most=0).reliances
    assert (one.photos, one.other_object, one.other_background) == (2, None, None)
    assert np.isnan(one.reliance)
    # Of eight photos taken for red nothing can be exchanged with two others either: these are cut out for nothing.
    assert (other.photos, other.other_object) == (8, None)
    assert len(cut) == 2 + 8 + 2


def test_object_and_background_are_taken_out_apart() -> None:
    pictures = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    region = np.zeros((8, 8), bool)
    region[2:5, 2:5] = True
    colour = np.full((3, 1, 1), 0.3, np.float32)
    gone = exchanging.without_object(pictures, [region] * 2)
    alone = background.without_background(pictures, [region] * 2, colour)
    assert (gone[:, :, ~region] == pictures[:, :, ~region]).all()
    assert (alone[:, :, region] == pictures[:, :, region]).all()
    assert (alone[:, :, ~region] == np.float32(0.3)).all()
    assert gone[:, :, region].var() < pictures[:, :, region].var()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, gs.Explainer]:
    """A run of photos in folders of classes, with the mark."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("audited")
    made, classes = shortcuts.photos(rng)
    for i, photo in enumerate(shortcuts.marked(made, classes, rng)):
        (folder / "photos" / shortcuts.LABELS[classes[i]]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / "photos" / shortcuts.LABELS[classes[i]] / f"{i}.png")
    explainer = gs.Explainer(
        shortcuts.Mark().eval(), layer="features", preprocess=shortcuts.preprocess(), labels=shortcuts.LABELS
    )
    gs.run(folder / "photos", explainer, out=folder / "run", batch_size=32, features=True)
    return folder / "run", explainer


def test_a_run_is_audited_with_its_model(run) -> None:
    folder, explainer = run
    found = gs.audit(folder, explainer)
    (one,) = found.confirmed
    assert one.label == "mark"
    assert set(one.photos) <= {f"mark/{i}.png" for i in range(24)}
    assert found.confusion is not None
    assert found.confusion.accuracy == 1
    assert found.photos == 96


def test_of_a_run_whose_photos_failed_the_failure_is_told_and_not_the_model_blamed(run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"no picture")
    gs.run(tmp_path / "photos", run[1], out=tmp_path / "run")
    with pytest.raises(InvalidArgument, match=r"every photo failed \(1\)"):
        gs.audit(tmp_path / "run", run[1])


def test_a_run_without_its_model_says_what_to_do(run) -> None:
    found = gs.audit(run[0])
    assert not found.confirmed
    assert "pass it" in found.notes[0]


def test_a_model_with_other_weights_is_refused(run) -> None:
    other = gs.Explainer(shortcuts.Colours().eval(), layer="features", preprocess=shortcuts.preprocess())
    with torch.no_grad():
        other.model.model.features.weight += 1
    with pytest.raises(InvalidArgument, match="its weights are others"):
        gs.audit(run[0], other)


def test_findings_are_lines_of_json_and_statuses(run, capsys, monkeypatch, tmp_path: Path) -> None:
    folder, _ = run
    model = tmp_path / "marks.py"
    model.write_text(
        "import shortcuts\ndef build():\n    return shortcuts.Mark().eval(), shortcuts.preprocess(), shortcuts.LABELS\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["audit", str(folder), "--model", "marks:build"]
    monkeypatch.setattr("gradsight.cli.running._EVERY", -1.0)
    assert _status([*words, "--json", "--out", str(tmp_path / "out"), "--fail-on", "suspects"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    # Suspects take minutes: how far they are is told meanwhile, and not where a program reads.
    assert "suspects tested, " in printed.err
    first, verdict = lines[0], lines[-1]
    assert (verdict["kind"], verdict["confirmed"], verdict["figures"]["photos"]) == ("verdict", True, 96)
    assert verdict["sentence"].startswith("1 confirmed shortcut (mark)")
    assert {tuple(line) for line in lines} == {tuple(first)}
    assert (first["kind"], first["class"], first["confirmed"]) == ("suspect", "mark", True)
    assert first["transplant"]["low"] > 0.3
    assert all(0 <= side <= 1 for side in first["box"])
    written = (tmp_path / "out" / "findings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == lines
    assert _status([*words, "--most", "0"]) == 0
    assert "No suspect was tested" in capsys.readouterr().out
    # A run whose model nobody names has a note, which is a line as well.
    assert _status(["audit", str(folder), "--json"]) == 0
    *_, verdict, note = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (verdict["kind"], verdict["confirmed"]) == ("verdict", None)
    assert note["kind"] == "note"
    assert "pass it" in note["sentence"]
    assert _status([*words, "--fail-on", "errors"]) == 2


def test_another_run_of_the_photos_is_compared(marked) -> None:
    seen, _, _ = marked
    hot = seen.heat.copy()
    # In the second run the first class looks at the middle instead, and two of its photos are another class.
    hot[seen.of[0]] = 0
    hot[seen.of[0], 6:10, 6:10] = 1 / 16
    predictions = seen.predictions.copy()
    predictions[seen.of[0][:2]] = 1
    found = audited(seen, None, Beside(against=replace(seen, heat=hot, predictions=predictions)))
    first, *others = found.changes
    assert (first.target, first.photos, first.changed, first.broken, first.mended) == (0, 24, 2, 2, 0)
    assert first.places == ("the lower right corner", "the middle")
    assert (first.moved.mean, first.border[1]) == (pytest.approx(1, abs=0.05), 0)
    assert first.p < 0.01
    assert all((one.changed, one.moved.mean, one.p) == (0, 0, 1) for one in others)
    told = [one for one in found.findings if one.kind == "change"]
    assert told[0].label == "mark"
    assert told[0].sentence.startswith(
        "mark: 2 of 24 photos are taken for another class in the other run: 0 become right, 2 become wrong; "
    )
    assert told[0].sentence.endswith(": most of the heat is in the middle there, and in the lower right corner here.")
    # Of what is in no one place in both nothing is told.
    assert all("no one place" not in one.sentence for one in told)


def test_a_run_of_other_photos_is_refused(marked) -> None:
    seen, _, _ = marked
    other = replace(seen, keys=tuple(f"other {key}" for key in seen.keys))
    with pytest.raises(InvalidArgument, match="`against` must be a run of the same photos"):
        audited(seen, None, Beside(against=other))


def _status(words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["gradsight", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)
