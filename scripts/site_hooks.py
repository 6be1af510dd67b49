"""What mkdocs does besides: equations become MathML, which browsers draw by themselves, so that no script is needed."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# As pymdownx.arithmatex leaves them.
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)


def _drawn(display: str) -> Any:
    return lambda found: convert(html.unescape(found[1]), display=display)


def on_page_content(content: str, **_: Any) -> str:
    """The page with its equations drawn."""
    blocks = _BLOCK.sub(lambda found: f'<div class="equation">{_drawn("block")(found)}</div>', content)
    return _INLINE.sub(_drawn("inline"), blocks)
