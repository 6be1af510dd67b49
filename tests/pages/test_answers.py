"""What the page answers, without the page: maps, pictures, points, both sides, lines of Python, files."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import gradsight as gs
from gradsight.errors import GradsightError, ImageError, InvalidArgument
from gradsight.imaging import read_image
from gradsight.pages.answer import answered
from gradsight.pages.asked import Asked
from gradsight.pages.browsing import Filter, Shelf
from gradsight.pages.draw import Look, drawn, panels
from gradsight.pages.evaluation import table_of, words_of
from gradsight.pages.files import write
from gradsight.pages.limits import Limits
from gradsight.pages.lines import lines_of
from gradsight.pages.photo import of_bytes, read_photo
from gradsight.pages.points import points_of
from gradsight.pages.served import Served, methods, model_of, ready, together
from gradsight.pages.sides import sides_of
from gradsight.pages.workers import Workers
from gradsight.photos import bundled_photo

pytestmark = pytest.mark.pytorch

LIMITS = Limits(side=200)


@pytest.fixture(scope="module")
def served() -> Served:
    return ready(gs.Explainer(gs.load_model("demo"), name="demo"))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return read_image(bundled_photo().source)


# Photos of strangers.


def test_a_photo_of_too_many_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(bytes(1001))
    with pytest.raises(ImageError, match="over this page's limit"):
        read_photo(tmp_path / "large.jpg", Limits(upload=1000))


def test_a_photo_that_claims_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))
    with pytest.raises(ImageError, match=r"60000 x 60000 pixels, over this page's limit of 50,000,000"):
        of_bytes(bomb, Limits())


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg onload=alert(1)>", b"%!PS-Adobe", bytes(99)])
def test_what_is_no_photo_is_told_in_words_without_its_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ImageError) as told:
        read_photo(tmp_path / "x.jpg", Limits())
    assert str(told.value).startswith("The photo")
    assert str(tmp_path) not in str(told.value)


def test_a_photo_that_was_deleted_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="Choose it again"):
        read_photo(tmp_path / "gone.jpg", Limits())


# Answers.


def test_an_answer_has_the_maps_of_the_explainer_and_positions_of_the_photo(served: Served, photo: Image.Image) -> None:
    asked = Asked(classes=("Egyptian cat", "espresso"), methods=("gradcam", "layercam"), layers=("_blocks.10",))
    made = answered(served, photo, asked, LIMITS)
    own = served.explainer(photo, targets=gs.Classes(285, 967), method=["gradcam", "layercam"], layer=["_blocks.10"])
    for one, expected in zip(made.explanations, own, strict=True):
        assert np.array_equal(one.maps, expected.maps)
        assert one.record() == expected.record()
    # A small copy to draw on, whatever the photo's size.
    assert made.photo.size == (200, 200)
    assert photo.size == (480, 480)


def test_other_colours_take_no_pass_of_the_model(served: Served, photo: Image.Image) -> None:
    made = answered(served, photo, Asked(), LIMITS)
    with FlopCounterMode(display=False) as counted:
        for look in (Look("viridis"), Look(opacity=0.2), Look(threshold=0.4, boxes=True)):
            panels(made, look)
    assert counted.get_total_flops() == 0
    with FlopCounterMode(display=False) as counted:
        answered(served, photo, Asked(), LIMITS)
    assert counted.get_total_flops() > 1e8


def test_looks_do_what_they_say(served: Served, photo: Image.Image) -> None:
    made = answered(served, photo, Asked(top=1), LIMITS).explanations[0]
    plain = np.asarray(drawn(made, 0, Look(opacity=0.0)))
    heat = np.asarray(drawn(made, 0, Look(opacity=1.0)))
    cut = np.asarray(drawn(made, 0, Look(opacity=1.0, threshold=0.5)))
    hot = made.on_photo(0, 0)[100:400:60, 100:400:60]  # in the photo's pixels, of which the copy has 5 in 12
    for at, value in np.ndenumerate(hot):
        row, column = ((100 + 60 * i) * 200 // 480 for i in at)
        assert np.array_equal(cut[row, column], (heat if value > 0.55 else plain)[row, column]) or 0.45 < value < 0.55
    boxed = np.asarray(drawn(made, 0, Look(opacity=0.0, boxes=True)))
    top, left, _, _ = (edge * 200 / 480 for edge in made.boxes(0, 0)[0])
    changed = np.argwhere((boxed != plain).any(axis=2))
    assert np.abs(changed.min(axis=0) - (top, left)).max() < 6


def test_a_signed_map_keeps_a_colour_map_of_two_ends(served: Served, photo: Image.Image) -> None:
    made = sides_of(served, photo, Asked(), "Egyptian cat", "espresso", LIMITS)
    names = [panel.title for panel in panels(made, Look("viridis"))]
    assert names[0].startswith("Egyptian cat")
    assert names[1:] == ["against Egyptian cat", "Egyptian cat rather than espresso"]
    picture = np.asarray(drawn(made.explanations[0], 2, Look("viridis", opacity=1.0))).astype(int)
    seen = picture[40:160, 40:160]
    # bwr: nowhere is green the strongest.
    assert (seen[..., 1] <= seen.max(axis=2) + 0).all()
    assert (seen[..., 0] > 200).any()
    assert (seen[..., 2] > 200).any()


def test_what_takes_too_long_is_refused_before_it_begins(served: Served, photo: Image.Image) -> None:
    with FlopCounterMode(display=False) as counted:
        with pytest.raises(InvalidArgument, match=r"over this page's limit of 60. Choose a method of fewer passes"):
            answered(served, photo, Asked(methods=("sscam",)), LIMITS)
        with pytest.raises(InvalidArgument, match="maps, over this page's limit of 24"):
            answered(served, photo, Asked(top=12, methods=("gradcam", "layercam", "hirescam")), LIMITS)
    assert counted.get_total_flops() == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda: Asked(methods=("gradcamera",)), "Did you mean"),
        (lambda: Asked(methods=()), "at least one method"),
        (lambda: Asked(top=0), "`top` must be"),
    ],
)
def test_what_cannot_be_asked_is_told(asked, words: str) -> None:
    with pytest.raises(GradsightError, match=words):
        asked()


def test_classes_that_another_model_lacks_are_told_and_left_out() -> None:
    asked, told = Asked(classes=("cat", "wombat")).within(["dog", "cat"])
    assert (asked.classes, len(told)) == ((1,), 1)
    assert "wombat" in told[0]
    with pytest.raises(InvalidArgument, match="wombat"):
        Asked(classes=("wombat",)).within(["dog", "cat"])


def test_models_of_one_name_are_told_apart(served: Served) -> None:
    models = together([served, served])
    assert list(models) == ["demo", "demo (2)"]
    assert model_of(models, "demo (2)").name == "demo (2)"
    with pytest.raises(GradsightError, match="There is no model of this page 'x'"):
        model_of(models, "x")


def test_classes_of_one_name_are_told_apart(served: Served) -> None:
    assert len(set(served.classes)) == 1000
    assert Asked(classes=("crane (bird)",)).within(served.labels)[0].classes == (134,)


def test_every_method_that_can_be_chosen_is_there() -> None:
    from gradsight.variants import as_method

    names = [name for _, name in methods()]
    assert names[0] == "gradcam"
    assert not {as_method(name).control for name in names} - {False}


def test_a_model_without_class_scores_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidArgument, match="The page shows models with class scores"):
        ready(
            gs.Explainer(
                torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.Flatten(2)), preprocess=gs.Preprocess(8)
            ),
            "net",
        )


# Points.


def test_a_point_has_the_values_of_the_maps_there(served: Served, photo: Image.Image) -> None:
    points = points_of(served, photo, Asked(classes=("tabby", "goldfish")), LIMITS)
    uses = {use.label: use for use in points.at(300, 290)}
    assert "goldfish" in uses
    for j, label in enumerate(points.explanation.labels[0]):
        heat = points.explanation.on_photo(0, j)[300, 290]
        assert abs(max(uses[label].heat, 0) - heat) < 0.05 or points.explanation.maps[0, j].max() <= 0
    assert "espresso" in points.words(300, 290)
    assert "cat" in points.words(100, 240)


def test_a_point_that_the_model_did_not_see_has_none(served: Served, photo: Image.Image) -> None:
    points = points_of(served, photo, Asked(), LIMITS)
    assert points.at(2, 2) == ()
    assert "saw nothing" in points.words(2, 2)
    with pytest.raises(InvalidArgument, match="from 0 to 479"):
        points.at(480, 0)


def test_a_point_that_would_take_too_long_is_refused_before_it_begins(
    served: Served, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Asked(methods=("rise(masks=1000000000)",)), Asked(classes=tuple(range(50)))]
    monkeypatch.setattr("gradsight.pages.points.explained", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(InvalidArgument, match="over this page's limit"):
        points_of(served, photo, asked[0], LIMITS)
    monkeypatch.undo()
    with pytest.raises(InvalidArgument, match="over this page's limit"):
        points_of(served, photo, asked[1], LIMITS)


# What is taken home.


@pytest.mark.parametrize("look", [Look(), Look("viridis", 0.4, 0.3, True)])
def test_the_lines_of_python_make_the_same(
    served: Served, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Look, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.save("photo.png")
    whole = Limits()
    for made in (
        answered(served, photo, Asked(top=2, methods=("gradcam", "layercam")), whole),
        sides_of(served, photo, Asked(), "tabby", "cup", whole),
    ):
        names: dict[str, object] = {}
        exec(lines_of(made, look, "photo.png"), names)
        for one, again in zip(made.explanations, names["explanations"], strict=True):  # type: ignore[call-overload]
            assert np.array_equal(one.maps, again.maps)
            assert one.labels == again.labels
        for j in range(2):
            with Image.open(f"why-0-{j}.png") as written:
                # Boxes are printed by the lines, and not drawn.
                plain = Look(look.colormap if not made.sides else None, look.opacity, look.threshold)
                assert np.array_equal(np.asarray(written), np.asarray(drawn(made.explanations[0], j, plain, 480)))
    capsys.readouterr()


def test_files_hold_what_was_answered(served: Served, photo: Image.Image, tmp_path: Path) -> None:
    made = answered(served, photo, Asked(top=2), LIMITS)
    files = write([made, made], Look(), tmp_path / "home", "cat.jpg")
    names = [file.name for file in files]
    assert names == ["why.png", *(f"why-demo{n}{end}" for n in ("", "-2") for end in (".npz", ".json", ".py"))]
    again = gs.Explanation.load(files[1])
    assert np.array_equal(again.maps, made.explanations[0].maps)
    assert again.record().size == again.photos[0].size == (200, 200)
    assert again.labels == made.explanations[0].labels
    assert json.loads(files[2].read_text())[0]["image"] == "cat.jpg"
    with Image.open(files[0]) as picture:
        assert picture.width > 3 * picture.height // 2


def test_nobody_waits_without_end() -> None:
    workers, begun = Workers(1, 0.2), []
    ended = threading.Event()
    for ask in (ended.wait, lambda: begun.append(1)):
        with pytest.raises(InvalidArgument, match="no answer within this page's limit"):
            workers.run(ask)
    ended.set()
    assert Workers(1, 60).run(lambda: 7) == 7
    # What nobody waits for any more does not begin, and what has begun does not hold up the end of the process.
    with pytest.raises(ZeroDivisionError):
        Workers(1, 60).run(lambda: 1 // 0)
    assert not begun
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("page "))
    workers.close()


# A run, and an evaluation.


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("browsed")
    rng = np.random.default_rng(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])[..., None, None] * 9)
    for i in range(40):
        # A bright patch: red ones at the left above, blue ones at the right below; some lie in the wrong folder.
        kind, where = ("red", slice(2, 10)) if i % 2 else ("blue", slice(22, 30))
        picture = rng.integers(0, 20, (32, 32, 3), dtype=np.uint8)
        picture[where, where, 0 if kind == "red" else 2] = 255
        path = folder / "photos" / (kind if i % 8 else "red") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    (folder / "photos" / "red" / "broken.png").write_bytes(b"no")
    model = gs.Explainer(net.eval(), preprocess=gs.Preprocess(32), labels=["red", "blue"], layer="0")
    return Shelf(gs.run(folder / "photos", model=model, out=folder / "run"))


def test_photos_of_a_run_are_chosen(shelf: Shelf) -> None:
    every = shelf.chosen(Filter())
    assert len(every) == 40
    assert shelf.labels == ["blue", "red"]
    wrong = shelf.chosen(Filter(wrong=True))
    assert {card.prediction for card in wrong} == {"blue"}
    assert len(wrong) == 5
    assert all("it is red" in card.words for card in wrong)
    sure = max(card.probability for card in every)
    assert 0 < len(shelf.chosen(Filter(low=sure))) < 40
    assert len(shelf.chosen(Filter(label="red"))) == 25  # twenty that are red, and five that are called so


def test_photos_of_a_run_are_drawn_or_told(shelf: Shelf, tmp_path: Path) -> None:
    card = shelf.chosen(Filter(label="blue"))[0]
    picture, words = shelf.picture(card.key)
    assert picture is not None
    assert "bottom right" in words
    with pytest.raises(GradsightError, match="There is no photo of this run"):
        shelf.card("../../etc/passwd")
    moved = Shelf(gs.open_run(shelf.run.folder, photos=tmp_path))
    picture, words = moved.picture(card.key)
    assert picture is None
    assert "cannot be drawn on" in words


def test_the_map_of_a_run_parts_photos_by_what_is_looked_at(shelf: Shelf) -> None:
    found = shelf.map
    by_key = dict(zip(found.keys, found.groups, strict=True))
    colours = {card.key: card.prediction for card in shelf.cards}
    # No group holds photos of both: they look at other corners.
    assert all(len({colours[key] for key in by_key if by_key[key] == group}) == 1 for group in set(by_key.values()))
    assert found.places.min() >= 0
    assert found.places.max() <= 1
    first = int(found.groups[0])
    assert {card.key for card in shelf.chosen(Filter(group=first))} == {k for k, g in by_key.items() if g == first}


def test_suspects_of_a_run_are_groups_that_look_at_one_place(shelf: Shelf) -> None:
    assert any("red: 2" in one.words and "top left" in one.words for one in shelf.suspects)
    chosen = shelf.chosen(Filter(suspect=0))
    assert {card.key for card in chosen} == set(shelf.suspects[0].keys)
    with pytest.raises(GradsightError, match="There is no suspect"):
        shelf.chosen(Filter(suspect=99))


def test_an_evaluation_is_told_metric_by_metric() -> None:
    from gradsight.evaluating.example import example

    evaluation = example()
    found = table_of(evaluation, "pointing")
    assert [row[0] for row in found.rows] == ["gradcam at layer4", "random at layer4 (control)"]
    assert found.rows[0][1] == "1"
    assert "higher" in found.words
    assert words_of(evaluation)[0] == "Model example, 8 photos, by pointing."


def test_a_photo_turned_by_its_camera_lies_upright(tmp_path: Path) -> None:
    picture, file = Image.new("RGB", (40, 20)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(file, "JPEG", exif=exif)
    (tmp_path / "x.jpg").write_bytes(file.getvalue())
    assert read_photo(tmp_path / "x.jpg", Limits()).size == (20, 40)
    assert os.path.exists(tmp_path / "x.jpg")
