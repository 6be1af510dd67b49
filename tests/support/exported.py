"""Exported programs, and what an attacker makes of their files."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def export(model: nn.Module, path: Path, *shape: int, strict: bool = False, train: bool = False) -> Path:
    model.train(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, when it saves
        program = torch.export.export(
            model, (torch.randn(2, *shape),), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},), strict=strict
        )
        torch.export.save(program, path)
    return path


def altered(path: Path, folder: Path, records: dict[str, bytes | Callable[[bytes], bytes] | None]) -> Path:
    """Copy an archive with records replaced (bytes or a function of them), added (``/``: at the top) or left out."""
    to = folder / "altered.pt2"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        contents: dict[str, Any] = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
        for name, change in records.items():
            contents[name] = change(contents.get(name, b"")) if callable(change) else change
        for name, content in contents.items():
            if content is not None:
                new.writestr(name[1:] if name[0] == "/" else f"{root}/{name}", content)
    return to


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
