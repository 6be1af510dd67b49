"""The Hugging Face Hub, where timm's and transformers' weights lie."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hub() -> Iterator[None]:
    """Let the hub's library fetch files without a word of its own, and not try for a minute where there is no network.

    What cannot be fetched is reported by whoever asked for it, in one line.
    """
    # Its environment variable is read once, at its import; the constant is what it goes by afterwards.
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.CRITICAL)
    # the library retries for a minute where no name can be looked up; offline it says so at once
    constants.HF_HUB_OFFLINE = offline or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        logger.setLevel(level)
        constants.HF_HUB_OFFLINE = offline


def _reachable(endpoint: str) -> bool:
    """Whether the hub's name is known here; behind a proxy, which knows names itself, it may be."""
    import socket  # with the next two it takes ten milliseconds, and most models are not fetched
    import urllib.parse
    import urllib.request

    if urllib.request.getproxies():
        return True
    address = urllib.parse.urlsplit(endpoint)
    try:
        return bool(socket.getaddrinfo(address.hostname, address.port or 443))
    except OSError:
        return False
