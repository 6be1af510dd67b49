"""How often a password is guessed."""

from __future__ import annotations

import time
from collections import deque

from gradsight.pages.web.guard import App, Message, Receive, Scope, Send, refuse
from gradsight.recent import Recent

GUESSES = 10
"""Wrong passwords from one address within `SECONDS`; then none is looked at from there."""

SECONDS = 60.0

_ADDRESSES = 10_000


class Guesses:
    """An ASGI application around one with a password, which takes few wrong ones a minute from one address.

    Args:
        app: the other one.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._wrong: Recent[str, deque[float]] = Recent(_ADDRESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, unless it is one guess too many."""
        if scope["type"] != "http" or scope["method"] != "POST" or str(scope["path"]).rstrip("/") != "/login":
            await self._app(scope, receive, send)
            return
        wrong = self._wrong.of(str((scope.get("client") or ("",))[0]), deque)
        while wrong and time.monotonic() - wrong[0] > SECONDS:
            wrong.popleft()
        if len(wrong) >= GUESSES:
            await refuse(send, 429, "Too many wrong passwords. Wait a minute, and try again.")
            return
        # Before the answer: guesses that come side by side count too.
        moment = time.monotonic()
        wrong.append(moment)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400 and moment in wrong:
                wrong.remove(moment)
            await send(message)

        await self._app(scope, receive, sending)
