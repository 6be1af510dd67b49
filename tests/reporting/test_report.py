"""A report is one file that needs nothing else, says what the run says, and shows foreign texts as texts."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageChops

import commands
import gradsight as gs
import reported
from gradsight.auditing.audit import Audit
from gradsight.auditing.facts import confusion
from gradsight.auditing.of_run import seen_of_run
from gradsight.errors import InvalidArgument, MissingDependency
from gradsight.evaluating.example import example as evaluation
from gradsight.reporting.facts import facts_of
from gradsight.reporting.pictures import heat_of

pytestmark = pytest.mark.pytorch

_VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and the texts in each kind of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(self.source)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    @property
    def text(self) -> str:
        """All that a reader sees, on one line."""
        return " ".join(" ".join(self.texts["body"]).split())

    def named(self, tag: str, **having: str) -> list[dict[str, str]]:
        """The attributes of elements."""
        return [
            own
            for name, own in self.elements
            if name == tag and all(own.get(key.strip("_").replace("_", "-")) == value for key, value in having.items())
        ]


def page(tmp_path: Path, *of: object, **about: object) -> tuple[Page, gs.Report]:
    made = gs.report(*of, out=tmp_path / "report.html", **({"suspects": 0} | about))  # type: ignore[arg-type]
    return Page(made.path), made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    folder = tmp_path_factory.mktemp("plain")
    run = reported.run(folder, 20, failed=[("broken.jpg", "it is empty")], note="the map is weak")
    return run, page(folder, run)[0]


def test_a_report_needs_no_other_file_and_lets_nothing_foreign_run(plain: tuple[Path, Page]) -> None:
    _, found = plain
    for tag, own in found.elements:
        for name, value in own.items():
            if name in ("src", "href") or name.endswith(":href"):
                assert value.startswith(("#", "data:image/", "data:,")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
            assert name != "style", "the policy forbids styles in attributes"
    (policy,) = (own["content"] for own in found.named("meta", http_equiv="Content-Security-Policy"))
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", found.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "http" not in text
        assert "url(" not in text
        assert "@import" not in text
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_each_photo_is_in_the_file_once_and_its_name_leads_to_it(plain: tuple[Path, Page]) -> None:
    _, found = plain
    photos = [own for own in found.named("image") if own.get("id", "").endswith("-photo")]
    assert len(photos) == 20 == len({own["href"] for own in photos})
    ids = [own["id"] for _, own in found.elements if "id" in own]
    assert len(ids) == len(set(ids))
    used = {own["href"][1:] for tag, own in found.elements if tag in ("use", "a")}
    assert used <= set(ids)


def test_its_figures_are_those_of_the_run(plain: tuple[Path, Page]) -> None:
    run, found = plain
    opened = gs.open_run(run)
    table = [
        row for row in opened.table(["label_index", "prediction", "status"]).to_pylist() if row["status"] == "explained"
    ]
    right = sum(row["label_index"] == row["prediction"] for row in table)
    assert 0 < right < len(table) == 20
    assert f"The model is right on {right} of 20 photos whose class is known" in found.text
    assert f"and wrong on {20 - right}." in found.text
    assert "20 photos were explained, and 1 could not be" in found.text
    assert "Of 20 maps: the map is weak" in found.text
    assert "broken.jpg : it is empty" in found.text.replace("broken.jpg:", "broken.jpg :")
    told = confusion(seen_of_run(opened)[0])
    assert told is not None
    cells = {own["aria-label"] for own in found.named("button", class_="cell")}
    names = reported.NAMES
    assert cells == {
        f"{count} photo{'s' * int(count != 1)} of {names[i]} taken for {names[j]}"
        for (i, j), count in np.ndenumerate(told.counts)
        if count
    }
    statuses = [own["data-status"] for own in found.named("figure", class_="photo")]
    assert (statuses.count("right"), statuses.count("wrong")) == (right, 20 - right)


def test_foreign_texts_are_shown_as_texts(tmp_path: Path) -> None:
    names = [f"{text} {i}" for i, text in enumerate(reported.NASTY)]
    run = reported.run(
        tmp_path,
        6,
        names=names,
        keys=dict(enumerate(reported.NASTY)),
        note=reported.NASTY[0],
        failed=[(reported.NASTY[1], reported.NASTY[2])],
        name=reported.NASTY[0],
        source=reported.NASTY[2],
        versions={reported.NASTY[0]: reported.NASTY[2]},
    )
    found, _ = page(tmp_path, run, title=reported.NASTY[2])
    assert [tag for tag, _ in found.elements].count("script") == 1
    assert [tag for tag, _ in found.elements].count("style") == 1
    assert not [own for _, own in found.elements if own.get("src") == "x"]
    assert not any(name.startswith("on") for _, own in found.elements for name in own)
    keys = {text.strip() for text in found.texts["bdi"]}
    assert reported.NASTY[0] in keys
    # What would turn the line around, or break it, is written out.
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", found.source)
    assert "\\u202e" in found.text
    assert "שלום" in found.text
    assert "two\\nlines</script></style>--> {{ 7 * 7 }} {% raw %} ${x}" in found.text
    assert "49" not in found.texts["title"][0]


def test_a_report_is_no_larger_than_was_asked_for_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = reported.run(tmp_path, 60, size=(180, 120))
    found, made = page(tmp_path, run, megabytes=0.5)
    assert made.size == made.path.stat().st_size <= 500_000
    # Much of what photos may take is used.
    assert made.size > 150_000
    assert made.photos == 60
    assert made.shown == len(found.named("figure", class_="photo")) < 60
    assert f"{made.shown} of 60 photos are shown, as many as fit into the file" in made.notes[0]
    assert made.notes[0] in found.text
    # All figures are still of all photos.
    assert "of 60 photos whose class is known" in found.text
    # Rare ones are there too: each pair of class and guess has a photo.
    shown = {(own["data-truth"], own["data-guess"]) for own in found.named("figure", class_="photo")}
    assert len(shown) == 6
    few, asked = page(tmp_path, run, shown=4)
    assert len(few.named("figure", class_="photo")) == asked.shown == 4
    assert "as many as were asked for" in asked.notes[0]


def test_heat_lies_where_an_overlay_draws_it(tmp_path: Path) -> None:
    run = gs.open_run(reported.run(tmp_path, 2))
    found, _ = page(tmp_path, run)
    heat = next(own for own in found.named("image") if own.get("id") == "p0-1-0")
    photo = next(own for own in found.named("image") if own.get("id") == "p0-1-photo")
    plain = _picture(photo["href"]).convert("RGB").resize(reported.SIZE)
    left, top, width, height = (round(float(heat[name])) for name in ("x", "y", "width", "height"))
    layer = _picture(heat["href"]).convert("RGBA").resize((width, height), Image.Resampling.BILINEAR)
    drawn = plain.copy()
    drawn.paste(layer, (left, top), layer)
    explanation = run[1]
    own = explanation.heat_image()  # type: ignore[union-attr]
    same, overlay = plain.copy(), explanation.overlay()  # type: ignore[union-attr]
    same.paste(own, (0, 0), own)
    assert _off(drawn, same) < 1.5
    # Beside the photo's compression; shifted by a third of a cell it would be further off.
    assert _off(drawn, overlay) < 6
    assert _off(ImageChops.offset(drawn, 3, 0), overlay) > 8


def _off(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def _picture(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_heat_of_both_signs_has_the_colours_of_an_overlay() -> None:
    picture = _picture(heat_of(np.array([[-1.0, 0.0, 1.0]]), signed=True)).convert("RGBA")
    against, nothing, for_it = (picture.getpixel((x, 14)) for x in (0, 14, 27))
    assert against[2] > against[0]
    assert for_it[0] > for_it[2]
    assert nothing[3] < 30 < against[3] == for_it[3]


def test_photos_that_moved_away_are_told_and_the_rest_stands(tmp_path: Path) -> None:
    run = reported.run(tmp_path, 6)
    shutil.rmtree(tmp_path / "photos")
    found, made = page(tmp_path, run)
    assert made.shown == 6
    assert "6 photos of 6 could not be drawn on, and their heat is shown alone, such as cat/0.png" in found.text
    assert not [own for own in found.named("image") if own.get("id", "").endswith("-photo")]
    assert len([own for own in found.named("image") if "id" in own]) == 6
    reported.photo(tmp_path / "photos" / "0.png", 77)
    again, _ = page(tmp_path, run)
    assert "is not the one that was explained" in again.text


def test_without_classes_and_with_several_maps_of_a_photo(tmp_path: Path) -> None:
    found, _ = page(tmp_path, reported.run(tmp_path, 6, labels=False, targets=2))
    assert "It is known of no photo to which of the model's classes it belongs" in found.text
    assert not found.named("table")
    assert not [text for text in found.texts["h3"] if "errors" in text]
    selects = found.named("select", class_="views")
    assert len(selects) == 6
    assert len(found.named("g", class_="view")) == 6 == len(found.named("g", class_="view off"))


def test_a_run_in_which_all_failed_is_reported(tmp_path: Path) -> None:
    found, made = page(
        tmp_path, reported.run(tmp_path, 0, failed=[("a.jpg", "it is empty"), ("b.jpg", "it is a pipe")])
    )
    assert (made.shown, made.photos) == (0, 0)
    assert "No audit was possible" in found.text
    assert "b.jpg: it is a pipe" in found.text
    assert "There is no photo to show." in found.text


def test_what_an_audit_found_is_told_with_its_figures_and_places(tmp_path: Path) -> None:
    run = reported.run(tmp_path, 6)
    found, _ = page(tmp_path, run, audit=reported.audit(6, ["cat/0.png", "gone.png"]))
    assert found.text.count("1 confirmed shortcut (cat): 6 photos, model model.") == 1
    heads = [" ".join(text.split()) for text in found.texts["h4"]]
    assert heads == [
        "Confirmed: cat", "Other in the other run: cat", "Background: cat", "Not confirmed: cat", "Not tested: cat",
    ]  # fmt: skip
    assert found.text.count("0.4, 95% interval 0.3 to 0.5 (20 photos)") == 2
    assert "-0.1 (3 photos: too few for an interval)" in found.text
    # The place as shares of the photo, which has 90 x 60 pixels.
    boxes = found.named("rect", class_="box light")
    assert len(boxes) == 4
    assert all((own["x"], own["y"], own["width"], own["height"]) == ("22.5", "30.0", "45.0", "30.0") for own in boxes)
    assert "it looks at the middle" not in found.text, "that stands in the panel of the class"
    # Each list of photos says which photos they are.
    assert "Shown are the photos whose maps moved most" in found.text
    assert "Shown are the photos with the least heat on the object" in found.text
    # On one scale: 0 is at the same place in all bars of a list.
    assert len({own["x1"] for own in found.named("line", class_="zero")}) <= 3


def test_a_model_from_a_file_is_called_by_it_in_headings(tmp_path: Path) -> None:
    run = gs.open_run(reported.run(tmp_path, 3))
    run.manifest = replace(run.manifest, name="/home/somebody/models/beans.keras")
    found, _ = page(tmp_path, run)
    assert [text.strip() for text in found.texts["h1"] + found.texts["h2"]][:2] == [
        "What beans.keras looks at", "Run: beans.keras",
    ]  # fmt: skip
    # All of it stands where it is told how the run was made.
    assert "/home/somebody/models/beans.keras" in found.text


def test_of_two_batch_sizes_that_of_the_run_is_told(tmp_path: Path) -> None:
    run = gs.open_run(reported.run(tmp_path, 3))
    # The explainer's own, which a run does not go by.
    run.manifest = replace(run.manifest, explain={"version": 1, "method": "gradcam", "batch_size": 64}, batch_size=8)
    told = dict(facts_of(run, 0))
    assert (told["What is explained"], told["Batch size"]) == ("method: gradcam", "8")


def test_an_evaluation_has_its_figures_and_says_what_they_are_worth(tmp_path: Path) -> None:
    measured = evaluation()
    found, made = page(tmp_path, measured)
    assert (made.shown, made.photos, made.notes) == (0, 0, ())
    first = min(measured.summary, key=lambda one: one.rank or 9)
    assert f"{first.mean:.3g}, 95% interval {first.low:.3g} to {first.high:.3g} (8 photos)" in found.text
    assert "gradcam is first of 1, with" in found.text
    assert "Better than random maps beyond chance (p < 0.05): gradcam." in found.text
    assert "random (control)" in found.text
    assert "says nothing of whether" not in found.text
    assert "It asks whether heat lies where people say the thing is." in found.text


def test_a_run_and_an_evaluation_from_their_folders_in_one_report(tmp_path: Path) -> None:
    evaluation().save(tmp_path / "evaluation")
    run = reported.run(tmp_path, 3)
    found, made = page(tmp_path, str(run), tmp_path / "evaluation", run)
    assert made.shown == 6
    assert [text.strip() for text in found.texts["h2"]] == [
        "Run: model",
        "Evaluation: example",
        "Run: model",
        "How to read it",
    ]


def test_what_is_no_report_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="must be of a run or an evaluation at least"):
        gs.report(out=tmp_path / "r.html")
    with pytest.raises(InvalidArgument, match=r"in which there is a manifest\.json"):
        gs.report(tmp_path, out=tmp_path / "r.html")
    run, other = reported.run(tmp_path, 3), reported.run(tmp_path / "b", 4)
    audit = gs.audit(run, most=0)
    assert isinstance(audit, Audit)
    with pytest.raises(InvalidArgument, match="`audit` must be of the run that is reported, of 4 photos"):
        gs.report(other, audit=audit, out=tmp_path / "r.html")
    with pytest.raises(InvalidArgument, match="`audit` is of one run, and 2 are reported"):
        gs.report(run, other, audit=audit, out=tmp_path / "r.html")
    with pytest.raises(InvalidArgument, match=r"`out` must end in \.html"):
        gs.report(run, out=tmp_path / "photo.jpg")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependency, match=r"needs Jinja2.*gradsight\[report\]"):
        gs.report(run, out=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_command_says_where_the_report_is(tmp_path: Path) -> None:
    run, out = reported.run(tmp_path, 3), tmp_path / "out" / "report.html"

    def typed(*words: object) -> Result:
        return commands.run("report", run, "--most", "0", "--out", out, *words)

    assert typed("--title", "Cats & dogs").stdout.startswith(f"Open {out}, 0.")
    assert "Cats &amp; dogs</title>" in out.read_text(encoding="utf-8")
    (told,) = commands.lines(typed("--json").stdout)
    assert told == {"file": str(out), "bytes": out.stat().st_size, "shown": 3, "photos": 3}
    moved = (tmp_path / "photos").rename(tmp_path / "elsewhere")
    for i, name in enumerate(reported.NAMES):
        (moved / name).mkdir()
        (moved / f"{i}.png").rename(moved / name / f"{i}.png")
    assert typed("--photos", moved).exit_code == 0
    assert "could not be drawn on" not in out.read_text(encoding="utf-8")
    assert typed(tmp_path).exit_code == 2
    assert typed(run, "--against", run).exit_code == 2
