"""The page itself: templates filled in, and a rule that lets nothing else in it run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from gradsight.errors import MissingDependency, printable

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = "gradsight.reporting"

_LONGEST = 2000
"""A text that is shown has at most so many characters."""


def rendered(values: Mapping[str, object]) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        values: what the template tells of.

    Raises:
        MissingDependency: Jinja2 is not installed.
    """
    need_jinja()
    environment = _environment()
    from markupsafe import Markup

    # Ours, and the same in each page: whatever is foreign goes through the template, which escapes it.
    style, script = (Markup(_text(name)) for name in ("report.css", "report.js"))
    template = environment.get_template("report.html")
    return template.generate(style=style, script=script, policy=policy(style, script), **values)


def need_jinja() -> None:
    """See that pages can be made, before minutes of work.

    Raises:
        MissingDependency: Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingDependency("a report needs Jinja2. Install it: pip install 'gradsight[report]'.") from error


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy of the page: its own style and script, pictures within it, and nothing else."""
    # By their digests: what somebody's label might smuggle in has another one.
    ours = (f"{name}-src 'sha256-{_digest(text)}'" for name, text in (("style", style), ("script", script)))
    return "; ".join(("default-src 'none'", "img-src data:", *ours, "base-uri 'none'", "form-action 'none'"))


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _text(name: str) -> str:
    return (files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    def shown(value: object) -> object:
        if not isinstance(value, str) or isinstance(value, Markup) or value.startswith("data:image/"):
            return value
        # Control and bidirectional characters of names are written out, as everywhere; and no name is without end.
        return printable(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")

    return jinja2.Environment(
        loader=jinja2.PackageLoader(_TEMPLATES, "templates"),
        autoescape=True,
        # A slip in a template is an error, and no hole in the page.
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
