"""The page put on the network."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable

import gradio as gr
from starlette.middleware import Middleware

from gradsight.pages.web.blocks import CSS, SCRIPT, blocks, theme
from gradsight.pages.web.context import Page
from gradsight.pages.web.guard import Guard
from gradsight.pages.web.guesses import Guesses


def launch(page: Page, host: str, port: int | None, password: str | None) -> gr.Blocks:
    """Start the page, and go on.

    Args:
        page: what it shows.
        host: the address that it listens at.
        port: its port; None for a free one from 7860 on.
        password: that visitors need; None for none.
    """

    # Where no event loop runs, Gradio makes some for this thread, and leaves them open.
    async def started() -> gr.Blocks:
        return _launched(page, host, port, password)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(started())
    return _launched(page, host, port, password)


def _launched(page: Page, host: str, port: int | None, password: str | None) -> gr.Blocks:
    made = blocks(page)
    made.launch(
        server_name=host,
        server_port=port,
        auth=_checking(password) if password else None,
        auth_message="Any name, and the password of this page." if password else None,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        max_file_size=page.limits.upload,
        state_session_capacity=page.limits.visitors,
        enable_monitoring=False,
        run_history=False,
        footer_links=["api"],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=[CSS],
        js=SCRIPT,
        # Else it asks itself for the page, and gives up where that takes seconds or a proxy stands between.
        _frontend=False,
        app_kwargs={"middleware": [Middleware(Guesses)] * bool(password) + [Middleware(Guard, owners=page.owners)]},
    )
    return made


def _checking(password: str) -> Callable[[str, str], bool]:
    def check(_name: str, given: str) -> bool:
        # In the same time whatever is given, which would else tell how much of it is right.
        return hmac.compare_digest(given.encode(), password.encode())

    return check
