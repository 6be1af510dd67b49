"""The page as programs see it: its API, what it refuses, whose files are whose."""

from __future__ import annotations

import base64
import gc
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

import httpx
from gradio_client import Client, handle_file
from PIL import Image

import gradsight as gs
import pages_of
from conftest import ROOT
from gradsight.errors import InvalidArgument
from gradsight.pages.serving import Address
from gradsight.photos import bundled_photo

pytestmark = [
    pytest.mark.pytorch,
    # Gradio's own, and its client's.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    """What Gradio and its client leave open is let go of here, where its warnings are expected."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "cat_and_coffee.jpg"
    content = bundled_photo().source
    assert isinstance(content, bytes)
    path.write_bytes(content)
    return str(path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pages_of.demo_page(tmp_path_factory.mktemp("page"), upload=2_000_000) as address:
        yield address


@pytest.fixture(scope="module")
def client(page: str) -> Client:
    return Client(page, verbose=False)


def test_the_api_gives_the_maps_of_the_library(client: Client, photo: str) -> None:
    made = client.predict(
        handle_file(photo), classes=["Egyptian cat", "espresso"], methods=["layercam"], api_name="/explain"
    )
    own = gs.Explainer("demo", method="layercam")(photo, targets=gs.Classes(285, 967))
    (one,) = made["explanations"]
    maps = np.load(io.BytesIO(base64.b64decode(one["npy"])), allow_pickle=False)
    assert np.array_equal(maps, own.maps[0])
    assert np.allclose(one["maps"], maps, atol=1e-6)
    assert one["targets"] == json.loads(json.dumps(own.record().to_dict()))["targets"]
    assert made["predictions"][0]["label"] == "Egyptian cat"
    assert len(made["pictures"]) == 2
    with Image.open(io.BytesIO(base64.b64decode(made["pictures"][0].partition(",")[2]))) as picture:
        assert picture.size == (480, 480)
    names: dict[str, Any] = {}
    exec(made["python"].replace("'photo.jpg'", repr(photo)).partition("for number")[0], names)
    assert np.array_equal(names["explanations"][0].maps, own.maps)


def test_the_api_answers_about_points_and_sides(client: Client, photo: str) -> None:
    point = client.predict(handle_file(photo), row=300, column=290, api_name="/point")
    assert "espresso" in point["words"]
    assert {use["label"] for use in point["classes"]} >= {"espresso", "cup"}
    sides = client.predict(
        handle_file(photo), which="tabby", rather_than="cup", look={"pictures": False}, api_name="/sides"
    )
    assert [target["label"] for target in sides["explanations"][0]["targets"]][2] == "tabby rather than cup"
    assert sides["pictures"] == []


def test_the_api_tells_of_the_run_and_the_evaluation(client: Client) -> None:
    models = client.predict(api_name="/models")
    assert [one["name"] for one in models] == ["demo", "letterboxed"]
    found = client.predict(wrong=True, api_name="/run")
    assert found["count"] == len(found["photos"]) <= 3
    assert {"key", "label", "prediction", "probability", "wrong"} == set(client.predict(api_name="/run")["photos"][0])
    laid = client.predict(api_name="/run_map")
    assert len(laid["keys"]) == len(laid["places"]) == 3
    table = client.predict("pointing", api_name="/evaluation")
    assert table["rows"][0][0] == "gradcam at layer4"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model": "x"}, "There is no model of this page 'x'"),
        ({"methods": ["gradcan"]}, "Did you mean"),
        ({"methods": ["sscam"]}, "over this page's limit"),
        ({"classes": ["wombats"]}, "There is no class"),
        ({"look": {"colormap": "plasm"}}, "There is no colour map"),
        ({"look": {"cmap": "plasma"}}, "`look` takes"),
        ({"layers": ["nowhere"]}, "nowhere"),
        ({"model": ["x"]}, "`model` must be a text"),
        ({"classes": "tabby"}, "`classes` must be a list"),
        ({"classes": 5}, "`classes` must be a list"),
        ({"methods": None}, "`methods` must be a list"),
        ({"layers": "layer4"}, "`layers` must be a list"),
        ({"look": 5}, "`look` must be a dict"),
        ({"look": {"pictures": "no"}}, "`pictures` must be True or False"),
    ],
)
def test_what_cannot_be_answered_is_told_in_words(client: Client, photo: str, asked: Any, words: str) -> None:
    with pytest.raises(Exception, match=re.escape(words)) as told:
        client.predict(handle_file(photo), **asked, api_name="/explain")
    assert "Traceback" not in str(told.value)


@pytest.mark.parametrize(
    ("endpoint", "asked", "words"),
    [
        ("/run", {"first": "a"}, "`first` must be a whole number"),
        ("/run", {"count": None}, "`count` must be a whole number"),
        ("/run", {"label": 5}, "`label` must be a text"),
        ("/run", {"wrong": "no"}, "`wrong` must be True or False"),
        ("/run", {"low": "a"}, "`low` must be a number"),
        ("/evaluation", {"metric": "nothing"}, "There is no metric of this evaluation 'nothing'"),
        ("/evaluation", {"metric": ["pointing"]}, "`metric` must be"),
    ],
)
def test_questions_of_other_types_are_answered_in_words(client: Client, endpoint: str, asked: Any, words: str) -> None:
    with pytest.raises(Exception, match=re.escape(words)):
        client.predict(**asked, api_name=endpoint)


@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0" + bytes(300)])
def test_broken_photos_are_told_in_words(client: Client, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(Exception, match="The photo cannot be read"):
        client.predict(handle_file(tmp_path / "broken.jpg"), api_name="/explain")


# With a browser's means.


def visitor(page: str) -> httpx.Client:
    made = httpx.Client(base_url=page)
    made.get("/").raise_for_status()
    return made


def upload(who: httpx.Client, content: bytes, name: str = "x.png") -> httpx.Response:
    return who.post("/gradio_api/upload", files={"files": (name, content, "image/png")})


def join(who: httpx.Client, path: str) -> httpx.Response:
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    return who.post("/gradio_api/call/explain", json=data)


def test_a_photo_that_is_too_large_is_refused(page: str) -> None:
    refused = upload(visitor(page), bytes(2_000_001))
    assert (refused.status_code, "maximum allowed size" in refused.text) == (413, True)


def test_one_visitors_files_are_not_anothers(page: str, photo: str) -> None:
    alice, bob, nobody = visitor(page), visitor(page), httpx.Client(base_url=page)
    (path,) = upload(alice, Path(photo).read_bytes()).json()
    assert alice.get(f"/gradio_api/file={path}").content == Path(photo).read_bytes()
    for other in (bob, nobody):
        refused = other.get(f"/gradio_api/file={path}")
        assert (refused.status_code, refused.text) == (403, "This file is not yours, or is not there any more.")
        assert join(other, path).status_code == 403
    assert join(alice, path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "{folder}/../../../../../../etc/passwd",
        "/proc/self/environ",
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_upload_folder(page: str, path: str) -> None:
    who = visitor(page)
    (own,) = upload(who, b"x").json()
    path = path.format(folder=str(Path(own).parent))
    for address in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}", f"/file={path}"):
        answer = who.get(address)
        assert answer.status_code in (403, 404), address
        assert "root:" not in answer.text
    assert join(who, path).status_code == 403


def test_a_name_that_leads_out_is_no_place(page: str) -> None:
    who = visitor(page)
    (path,) = upload(who, b"x", "../../../../tmp/evil.png").json()
    assert ".." not in path
    assert Path(path).is_relative_to(Path(path).parents[1])
    assert not Path("/tmp/evil.png").exists()


def test_a_page_for_others_needs_a_password() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::", "example.org"):
        with pytest.raises(InvalidArgument, match="--password must be given"):
            Address(host)
    with pytest.raises(InvalidArgument, match="at least 8 letters"):
        Address("0.0.0.0", password="short")
    assert Address("0.0.0.0", password="long enough").host == "0.0.0.0"


def test_a_page_with_a_password_is_closed_without_it(photo: str) -> None:
    with pages_of.plain_page(Address(password="open sesame")) as page:
        who = httpx.Client(base_url=page)
        for address in ("/config", "/gradio_api/info", "/gradio_api/file=x"):
            assert who.get(address).status_code in (401, 403)
        assert upload(who, b"x").status_code == 401
        assert who.post("/login", data={"username": "a", "password": "guess"}).status_code == 400
        client = Client(page, auth=("anybody", "open sesame"), verbose=False)
        made = client.predict(handle_file(photo), api_name="/explain")
        assert made["predictions"][0]["label"] in ("ant", "bee", "cow", "dog")
        tried = [who.post("/login", data={"username": "a", "password": "guess"}).status_code for _ in range(12)]
        assert set(tried[:8]) == {400}
        assert tried[-1] == 429


def test_starting_a_page_leaves_no_event_loop_open() -> None:
    def unused() -> set[int]:
        kinds = (value for value in gc.get_objects() if type(value).__name__ == "_UnixSelectorEventLoop")
        return {id(loop) for loop in kinds if not (loop.is_running() or loop.is_closed())}

    gc.collect()
    before = unused()
    with pages_of.plain_page():
        assert unused() <= before


def test_nothing_of_a_page_is_left() -> None:
    with pages_of.plain_page() as page:
        (path,) = upload(visitor(page), b"x").json()
        folder = next(parent for parent in Path(path).parents if parent.name.startswith("gradsight-page-"))
        assert folder.stat().st_mode & 0o077 == 0
        assert Path(path).exists()
    assert not folder.exists()


def test_what_a_killed_page_left_is_deleted_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import subprocess
    import sys

    from gradsight.pages import serving

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, other = tmp_path / f"gradsight-page-{gone.pid}-x", tmp_path / f"gradsight-page-{os.getppid()}-x"
    for folder in (left, other):
        folder.mkdir()
        (folder / "photo.png").write_bytes(b"x")
    monkeypatch.setattr(serving.tempfile, "tempdir", str(tmp_path))
    made = serving._own_folder()
    assert made.parent == tmp_path
    assert (left.exists(), other.exists()) == (False, True)


def test_the_call_in_the_docs_runs(
    page: str, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/page.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "photo.jpg").write_bytes(Path(photo).read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(block.replace("http://127.0.0.1:7860", page), {})
    told = capsys.readouterr().out
    assert "\nEgyptian cat [" in told
    assert "import gradsight as gs" in told
    assert "is what speaks for" in told
