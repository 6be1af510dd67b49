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
PROSE = ROOT / "scripts/methods_page.md"
START, END = "<!-- methods: made by scripts/make_methods_page.py -->", "<!-- end of methods -->"

COSTS, PLACES, FAITHFUL = ROOT / "docs/costs.md", ROOT / "docs/localisation.md", ROOT / "docs/evaluate.md"

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
    what = titled(method.title, method.source, f"{method.summary}{needs}{gradient}")
    return f"| `{method.name}` | {what} | {method.passes} | {options(method.function)} |"


def titled(title: str, source: str, words: str) -> str:
    """What stands under "what": the name in the paper, the paper, and what is done."""
    return f"**{title}** ({linked(source)}). {words}"


def table(scope: str) -> str:
    rows = [row(method) for method in METHODS.values() if method.at == scope]
    head = "| name | what | passes | options |\n|---|---|---|---|"
    # The site gives their columns the width that sentences need.
    return "\n".join((_SCOPES[scope], "", '<div class="methods" markdown>', "", head, *rows, "", "</div>"))


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


def figures(path: Path, row: str) -> dict[str, tuple[str, ...]]:
    """What a page's table says of each method, found by a pattern of its rows."""
    found = re.findall(row, path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: tuple(rest) for name, *rest in found}


def measured() -> str:
    """Rows of the methods with their figures, as other pages have them."""
    times = figures(COSTS, r"^\| `(\w+)` \| ([^|]*) \| ([\d.]+) \|")
    places = figures(PLACES, r"^\| (\w+) \| ([\d.]+) \[")
    faithful = figures(FAITHFUL, r"^\| `(\w+)` " + r"\| ([\d.]+) \[[^]]*\]\*? " * 3 + r"\|$")
    rows = []
    for name in METHODS:
        setting, time = times.get(name, ("", "-"))
        setting = setting.removeprefix("later").removeprefix(", ").strip()
        cells = (f"{time} ({setting})" if setting else time, *places.get(name, "-"), *faithful.get(name, "---"))
        if set(cells) != {"-"}:
            rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def page() -> str:
    """The text of docs/methods.md."""
    tables = "\n\n".join((*(table(scope) for scope in _SCOPES), variants()))
    return PROSE.read_text(encoding="utf-8").replace("{measured}", measured()).replace("{tables}", tables)


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
