"""Writes what the registry knows: docs/methods.md, and the list of methods in the README.

.venv/bin/python scripts/make_methods_page.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradsight.ranges import options_of, rules_of
from gradsight.registry import METHODS, Method
from gradsight.variants import VARIANTS, as_method

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs/methods.md", ROOT / "README.md"
START, END = "<!-- methods: made by scripts/make_methods_page.py -->", "<!-- end of methods -->"

_HEAD = """# Methods

Made from the registry by `scripts/make_methods_page.py`; `gradsight methods` prints the same.

![Every method on the bundled photo](methods.jpg)

The picture is made by `scripts/make_methods_picture.py`, which runs `gradsight compare`. A row of it is a method, a
column a class, and every map is scaled by itself: how strong one method's map is says nothing about another's.

Maps are raw and signed, as the paper's formula gives them before any display; drawing cuts them at 0. *Passes*
are those of the model for one image, with c channels of the layer and k targets. A forward pass is one, of the whole
model or of the part behind the layer; a backward pass from the scores to the image is one for each target. The one
batched backward pass to the layer, which Grad-CAM and its kin take, is not counted.

"""

_SCOPES = {
    "layer": "## At a layer\n\nThe map has the layer's positions.",
    "layers": "## At several layers\n\nThe map has the image's positions. Without `layer=` the last good layer of each "
    "of the last four resolutions is taken; of a transformer, four blocks.",
    "input": "## At the input\n\nThe map has the image's positions, and no layer is chosen.",
}


def linked(source: str) -> str:
    """A source as a link, where it has an address."""
    for prefix, address in (("arXiv:", "https://arxiv.org/abs/"), ("doi:", "https://doi.org/"), ("github.com/", "")):
        if source.startswith(prefix):
            where = f"https://{source}" if not address else address + source.removeprefix(prefix)
            return f"[{source}]({where})"
    return source


def options(function: Callable[..., Any]) -> str:
    """The options with their defaults, and what each takes."""
    rules = rules_of(function)
    return "<br>".join(f"`{key}={value!r}`: {rules[key].rule}" for key, value in options_of(function).items())


def row(method: Method) -> str:
    needs = f" Needs {method.needs}." if method.needs else ""
    gradient = "" if method.gradient else " No gradient."
    what = f"{method.summary}{needs}{gradient}"
    cells = (f"`{method.name}`", method.title, linked(method.source), what, method.passes, options(method.function))
    return f"| {' | '.join(cells)} |"


def table(scope: str) -> str:
    rows = [row(method) for method in METHODS.values() if method.at == scope]
    head = "| name | title | source | what | passes | options |\n|---|---|---|---|---|---|"
    return "\n".join((_SCOPES[scope], "", head, *rows))


def variants() -> str:
    lines = [
        "## Variants",
        "",
        'Each takes a method and gives one, and nests: `method="smooth(contrastive(layercam, rivals=2))"`, on the '
        'command line `--method "smooth(gradcam)"`, in Python also `gs.smooth("gradcam")`. Options of methods are '
        "given in the same way: `scorecam(top=64)`.",
        "",
        "| variant | what | passes | options |",
        "|---|---|---|---|",
    ]
    for name, function in VARIANTS.items():
        example = as_method(f"{name}(gradcam)")
        what = (function.__doc__ or "").partition("\n")[0]
        lines.append(f"| `{example.name}` | {what} | {example.passes} | {options(function)} |")
    return "\n".join(lines)


def page() -> str:
    """The text of docs/methods.md."""
    return _HEAD + "\n\n".join((*(table(scope) for scope in _SCOPES), variants())) + "\n"


def readme(text: str) -> str:
    """The README with its list of methods made anew."""
    titles = ", ".join(method.title for method in METHODS.values())
    listed = (
        f"{START}\n{len(METHODS)} methods: {titles}. Variants: {', '.join(f'`{name}`' for name in VARIANTS)}.\n{END}"
    )
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: listed, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
