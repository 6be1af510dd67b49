"""The names of an ONNX file's operators, as layers are named."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence

from gradsight.models.sources.onnx.protos import Node

_LONGEST = 10_000
_SCOPES = "pkg.torch.onnx.name_scopes"


def layer_names(nodes: Sequence[Node]) -> list[str]:
    """A dotted name for each operator: that of the module it was exported from, or what the file calls it.

    A module that ran one operator gives it its name; of several, each adds its kind. Letters that cannot be in a name
    of a module become underscores.
    """
    scopes = [_scope(node) for node in nodes]
    above = {tuple(scope[:i]) for scope in scopes for i in range(len(scope))}
    often = Counter(tuple(scope) for scope in scopes)
    taken: set[tuple[str, ...]] = set(above)
    numbers = Counter[tuple[str, ...]]()
    names = []
    for node, scope in zip(nodes, scopes, strict=True):
        name = tuple(scope)
        if not scope or often[name] > 1 or name in taken:
            stem = name = (*scope, node.op_type)
            while name in taken or name in often:
                numbers[stem] += 1
                name = (*scope, f"{node.op_type}_{numbers[stem]}")
        taken.add(name)
        names.append(".".join(name))
    return names


def _scope(node: Node) -> list[str]:
    """The path of the module that an operator was exported from: PyTorch's exporters say it; or the operator's name."""
    said = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
    try:
        scopes = ast.literal_eval(said) if len(said) < _LONGEST else None
    except Exception:  # text of the file's, of any kind: a list as a key, brackets without end
        scopes = None
    if isinstance(scopes, list) and len(scopes) > 1 and all(isinstance(scope, str) for scope in scopes):
        parts = scopes[-2].split(".")
    else:
        parts = _unnested((node.name or node.output[0]).strip("/").split("/"))
        if len(parts) > 1 and re.fullmatch(rf"{node.op_type}(_\d+)?", parts[-1]):
            parts.pop()
    return [_atom(part) for part in parts if part][-12:]


def _unnested(parts: list[str]) -> list[str]:
    """The older exporter writes the path ``layer1.0.conv`` as ``layer1/layer1.0/conv``: parts repeat what is above."""
    found: list[str] = []
    above = ""
    for part in parts:
        found += (part.removeprefix(f"{above}.") if above else part).split(".")
        above = part
    return found


def _atom(part: str) -> str:
    from torch import nn

    name = re.sub(r"\W", "_", part, flags=re.ASCII)[-60:]
    return f"{name}_" if hasattr(nn.Module, name) or name in ("training", "steps", "inputs", "outputs") else name
