"""The public names, what an import costs, and that models belong to a framework."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gradsight as gs
from gradsight.errors import InvalidArgument, InvalidType


def test_the_public_names_are_exactly_the_documented_ones() -> None:
    assert sorted(gs.__all__) == sorted(gs._HOMES) == gs.__all__
    for name in gs.__all__:
        value = getattr(gs, name)
        assert value.__doc__, name
        assert value.__name__ == name
    assert dir(gs) == gs.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gs.nothing  # noqa: B018


def test_the_import_loads_no_framework_and_nothing_heavy() -> None:
    code = (
        "import sys, gradsight; gradsight.Explanation; gradsight.Preprocess; gradsight.Top;"
        "heavy = {'torch', 'keras', 'tensorflow', 'jax', 'matplotlib', 'scipy', 'cmap', 'typer', 'rich'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", [np.zeros(3), len, None, 5])
def test_what_is_no_model_is_refused_in_words(model: object) -> None:
    with pytest.raises(InvalidType, match=r"must be a torch\.nn\.Module.*Received"):
        gs.Explainer(model)


def test_an_empty_batch_is_refused_in_words() -> None:
    import torch

    for layer in (None, "0"):
        with pytest.raises(InvalidArgument, match="`inputs` must hold at least one image"):
            gs.Explainer(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), layer=layer)(torch.zeros(0, 3, 8, 8), targets=1)


def test_an_exported_program_is_refused_with_the_way_out() -> None:
    import torch

    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    with pytest.raises(InvalidType, match=r"torch\.export\.unflatten"):
        gs.Explainer(program)
