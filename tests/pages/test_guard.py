"""What stands before Gradio: nobody is given what is another visitor's, nothing is fetched, nothing else is open."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from gradsight.pages.web import guesses
from gradsight.pages.web.guard import COOKIE, Guard
from gradsight.pages.web.owners import Owners

pytestmark = pytest.mark.pytorch


class Site:
    """A guard before an application that says what it was asked, and hands uploads back."""

    def __init__(self, folder: Path, **owners: Any) -> None:
        self.folder, self.owners, self.asked = folder, Owners(**owners), []
        self.guard = Guard(self._answer, self.owners)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"") if scope["method"] == "POST" else b""
        self.asked.append((scope["path"], body))
        told = body if scope["path"] == "/gradio_api/upload" else b"answered"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        # In two pieces, as a server may send it.
        await send({"type": "http.response.body", "body": told[:3], "more_body": True})
        await send({"type": "http.response.body", "body": told[3:]})

    def __call__(self, path: str, cookie: str = "", body: object = None, query: str = "") -> tuple[int, str, str]:
        """The status, the text and the cookie that is set."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "GET" if body is None else "POST",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"cookie", f"a=b; {COOKIE}={cookie}".encode())] if cookie else [],
        }
        pieces = [content[i : i + 1000] for i in range(0, len(content), 1000)] or [b""]

        async def receive() -> Any:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        headers = dict(sent[0]["headers"])
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        return sent[0]["status"], text, headers.get(b"set-cookie", b"").decode()

    def upload(self, name: str, cookie: str = "", size: int = 10) -> str:
        path = self.folder / name
        path.write_bytes(bytes(size))
        # The application hands the body back, as Gradio does the paths of what it wrote.
        self("/gradio_api/upload", cookie, [str(path)])
        return str(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_each_visitor_gets_a_cookie_that_scripts_and_other_sites_cannot_use(site: Site) -> None:
    _, _, first = site("/")
    _, _, second = site("/")
    assert first != second
    assert all(word in first for word in (COOKIE, "HttpOnly", "SameSite=Strict", "Path=/"))
    assert site("/", "known")[2] == ""


def test_a_file_is_given_to_who_uploaded_it_alone(site: Site) -> None:
    path = site.upload("cat.png", "alice")
    assert site(f"/gradio_api/file={path}", "alice")[0] == 200
    for cookie in ("bob", ""):
        assert site(f"/gradio_api/file={path}", cookie)[0] == 403
        assert site("/gradio_api/queue/join", cookie, {"data": [{"path": path}]})[0] == 403
    assert site("/gradio_api/queue/join", "alice", {"data": [{"path": path}]})[0] == 200


def test_two_visitors_with_the_same_photo_may_both_have_it(site: Site) -> None:
    path = site.upload("cat.png", "alice")
    site.upload("cat.png", "bob")
    assert all(site(f"/gradio_api/file={path}", name)[0] == 200 for name in ("alice", "bob"))


def test_what_a_program_sends_it_may_ask_about_and_nobody_reads(site: Site) -> None:
    path = site.upload("cat.png")
    assert site("/gradio_api/call/explain", "", {"data": [{"path": path}]})[0] == 200
    assert [site(f"/gradio_api/file={path}", name)[0] for name in ("", "bob")] == [403, 403]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{folder}/../{name}/secret", "/proc/self/environ", "{folder}/x/../secret", "secret"]
)
def test_no_other_file_is_read_or_explained(site: Site, path: str) -> None:
    (site.folder / "secret").write_text("!")
    site.upload("cat.png", "alice")
    path = path.format(folder=site.folder, name=site.folder.name)
    for address in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}"):
        assert site(address, "alice")[0] == 403
    asked: object = {"data": [[{"deep": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]}
    assert site("/gradio_api/run/explain", "alice", asked)[0] == 403
    assert not [one for one in site.asked if one[0] != "/gradio_api/upload"]


def test_a_link_that_leads_out_is_what_it_leads_to(site: Site, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    assert site(f"/gradio_api/file={tmp_path / 'link.png'}", "alice")[0] == 403


@pytest.mark.parametrize("address", ["http://example.org/x.png", "https://[::1]/x", "file:///etc/passwd", "ftp://x/y"])
def test_addresses_are_not_fetched(site: Site, address: str) -> None:
    status, words, _ = site("/gradio_api/queue/join", "alice", {"data": [{"path": address}]})
    assert (status, "not fetched" in words) == (403, True)
    assert site(f"/gradio_api/file={address}", "alice")[0] == 403


@pytest.mark.parametrize(
    "path", ["proxy=http://x", "process_recording", "deep_link", "stream/1", "run-history/records", "dev/reload"]
)
def test_what_the_page_does_not_use_is_closed(site: Site, path: str) -> None:
    assert site(f"/gradio_api/{path}", "alice")[0] == 404
    assert site("/monitoring/summary")[0] == 404


def test_a_session_is_its_visitors(site: Site) -> None:
    assert site("/gradio_api/queue/join", "alice", {"session_hash": "s", "data": []})[0] == 200
    assert site("/gradio_api/queue/join", "bob", {"session_hash": "s", "data": []})[0] == 403
    assert site("/gradio_api/queue/data", "bob", query="session_hash=s")[0] == 403
    assert site("/gradio_api/queue/data", "alice", query="session_hash=s")[0] == 200


def test_a_question_is_handed_on_as_it_was(site: Site) -> None:
    asked = {"data": ["x" * 5000], "session_hash": "s"}
    assert site("/gradio_api/queue/join", "alice", asked)[0] == 200
    assert json.loads(site.asked[-1][1]) == asked


def test_questions_without_end_and_without_sense_are_refused(site: Site) -> None:
    assert site("/gradio_api/queue/join", "alice", b"x" * 1_000_001)[0] == 413
    assert site("/gradio_api/queue/join", "alice", b"{")[0] == 403
    assert site("/gradio_api/queue/join", "alice", b"[" * 100_000)[0] == 403
    assert not site.asked


def test_old_files_go_where_the_new_ones_need_room(tmp_path: Path) -> None:
    site = Site(tmp_path, most=2500)
    paths = [Path(site.upload(f"{i}.png", "alice", 1000)) for i in range(4)]
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert site(f"/gradio_api/file={paths[0]}", "alice")[0] == 403


def test_the_example_is_everybodys(tmp_path: Path) -> None:
    (tmp_path / "example.jpg").write_bytes(b"x")
    site = Site(tmp_path, public=frozenset([str((tmp_path / "example.jpg").resolve())]))
    path = str(tmp_path / "example.jpg")
    assert site(f"/gradio_api/file={path}")[0] == 200
    assert site("/gradio_api/call/explain", "", {"data": [{"path": path}]})[0] == 200


def test_few_wrong_passwords_a_minute_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looked_at = [0.0], []
    monkeypatch.setattr(guesses.time, "monotonic", lambda: clock[0])

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        looked_at.append(scope["path"])
        await send({"type": "http.response.start", "status": scope["answer"], "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = guesses.Guesses(app)

    def status(answer: int, address: str = "10.0.0.1", path: str = "/login", method: str = "POST") -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "client": (address, 5), "answer": answer}
        asyncio.run(limited(scope, None, send))
        return int(sent[0]["status"])

    # The right password counts for nothing, however often it is given.
    assert [status(200) for _ in range(2 * guesses.GUESSES)] == [200] * 2 * guesses.GUESSES
    assert [status(400) for _ in range(guesses.GUESSES)] == [400] * guesses.GUESSES
    seen = len(looked_at)
    assert [status(200), status(200, path="/login/")] == [429, 429]
    assert len(looked_at) == seen
    assert [status(200, "10.0.0.2"), status(404, path="/"), status(200, method="GET")] == [200, 404, 200]
    clock[0] = guesses.SECONDS + 1
    assert status(200) == 200
