"""What stands before Gradio: each visitor has a cookie, and is given what is its own, and nothing else."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from gradsight.foreign import Json
from gradsight.pages.web.owners import ANYBODY, Owners

COOKIE = "gradsight-visitor"

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY = 1_000_000
"""Bytes of a question, which holds no photo: photos are uploaded."""

_FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)
_ASKED = re.compile(r"/gradio_api/(queue/join|run/|api/|call/|component_server)")
# Gradio's own, which this page has no use for: each fetches, keeps or shows more than it needs.
_CLOSED = re.compile(r"/(gradio_api/(proxy=|process_recording|deep_link|stream/|run-history|runs|dev/|mcp)|monitoring)")


class Guard:
    """An ASGI application around Gradio's.

    Args:
        app: Gradio's.
        owners: whose file is whose.
    """

    def __init__(self, app: App, owners: Owners) -> None:
        self._app, self._owners = app, owners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, visitor = str(scope["path"]), visitor_of(scope)
        file = _FILE.match(path)
        if _CLOSED.match(path):
            await refuse(send, 404, "There is no such thing on this page.")
        elif file is not None and not self._owners.may_read(file[1], visitor):
            await refuse(send, 403, "This file is not yours, or is not there any more.")
        elif not self._owns_session(scope, visitor):
            await refuse(send, 403, "This session is another visitor's.")
        elif _ASKED.match(path) and scope["method"] == "POST":
            await self._ask(scope, receive, send, visitor)
        else:
            await self._app(scope, receive, self._sending(scope, send, visitor))

    def _owns_session(self, scope: Scope, visitor: str) -> bool:
        found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
        return all(self._owners.is_own(session, visitor) for session in found)

    async def _ask(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        """Hand a question on whose files are all the visitor's."""
        body = await _body(receive)
        if body is None:
            await refuse(send, 413, f"A question has at most {_BODY} bytes. Upload the photo first.")
            return
        try:
            asked = json.loads(body or b"{}")
            problem = self._problem(asked, visitor)
        except (ValueError, RecursionError):
            problem = "This is no JSON."
        if problem:
            await refuse(send, 403, problem)
            return
        await self._app(scope, _replayed(body, receive), self._sending(scope, send, visitor))

    def _problem(self, asked: Json, visitor: str) -> str:
        session = asked.get("session_hash") if isinstance(asked, dict) else None
        if isinstance(session, str) and not self._owners.is_own(session, visitor):
            return "This session is another visitor's."
        for path in _paths(asked):
            if "://" in path:
                return "Addresses are not fetched here. Upload the photo."
            if not self._owners.may_ask(path, visitor):
                return "This file is not yours, or is not there any more. Upload the photo again."
        return ""

    def _sending(self, scope: Scope, send: Send, visitor: str) -> Send:
        """What sends an answer with a cookie, and sees whose upload it is."""
        path, content = str(scope["path"]), bytearray()
        uploads = path.rstrip("/") == "/gradio_api/upload"
        new = "" if visitor else secrets.token_urlsafe(24)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and new:
                # Strict: no other site's page asks in the visitor's name.
                cookie = f"{COOKIE}={new}; Path=/; HttpOnly; SameSite=Strict"
                message = {**message, "headers": [*message.get("headers", []), (b"set-cookie", cookie.encode())]}
            if message["type"] == "http.response.body" and uploads:
                content.extend(message.get("body", b""))
                if not message.get("more_body"):
                    self._owners.add(_uploaded(bytes(content)), visitor)
            await send(message)

        return sending


def visitor_of(scope: Scope) -> str:
    """Whose request it is, by its cookie; `ANYBODY` where it has none."""
    for name, value in scope.get("headers", []):
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if found is not None:
                return found.value
    return ANYBODY


def _uploaded(content: bytes) -> list[str]:
    try:
        found = json.loads(content)
    except ValueError:  # a refusal in words
        return []
    return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []


def _paths(value: Json) -> Iterator[str]:
    """Every path of a file, and every address, in a question."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path" and isinstance(item, str):
                yield item
            yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request; None where it is too long."""
    content = bytearray()
    while True:
        message = await receive()
        content.extend(message.get("body", b""))
        if len(content) > _BODY:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(content)


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:  # whether the visitor is still there
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer that a request is not answered, and why."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
