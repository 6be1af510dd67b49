"""Ratios; the leading direction of a matrix: proven where it is found cheaply, and exact where it is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gradsight import arrays
from gradsight.backends.torch.ops import OPS

SIZE = 300


def turned(eigenvalues: np.ndarray, first: torch.Tensor | None = None, seed: int = 0) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues; ``first``, if given, has no part in the eigenvector of the first."""
    random = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if first is not None:
        random[:, 0] -= first * (first @ random[:, 0]) / (first @ first)
    vectors, _ = torch.linalg.qr(random)
    return vectors * torch.from_numpy(eigenvalues) @ vectors.T


def counting() -> tuple[Any, list[int]]:
    """The array functions, and the sizes of the matrices of which all directions were asked for."""
    sizes: list[int] = []

    def eigh(matrix: torch.Tensor) -> Any:
        sizes.append(matrix.shape[-1])
        return OPS.linalg.eigh(matrix)

    linalg = SimpleNamespace(**{**vars(OPS.linalg), "eigh": eigh})
    return SimpleNamespace(**{**vars(OPS), "linalg": linalg}), sizes


FALLING = 0.8 ** np.arange(SIZE)
FLAT = np.concatenate([[1.1], np.linspace(1, 0.2, SIZE - 1)])
SPECTRA = {
    "falling": FALLING,
    "the largest is negative": np.concatenate([[-5.0], FALLING[:-1]]),
    "flat": FLAT,
    "of low rank": np.concatenate([[3.0, 1.0], np.zeros(SIZE - 2)]),
}
UNPROVEN = {
    "nearly equal": np.concatenate([[1.0, 1 - 1e-9], 0.5 * FALLING[:-2]]),
    "equal": np.concatenate([[1.0, 1.0], 0.5 * FALLING[:-2]]),
    "nothing": np.zeros(SIZE),
    "all negative": -1 - np.arange(SIZE) / SIZE,
}


@pytest.mark.parametrize("name", [*SPECTRA, *UNPROVEN])
def test_the_leading_direction_is_that_of_all_directions(name: str) -> None:
    matrix = turned({**SPECTRA, **UNPROVEN}[name])
    ops, sizes = counting()
    value, vector = arrays.leading(matrix[None], ops)
    values, vectors = torch.linalg.eigh(matrix)
    assert value.item() == pytest.approx(values[-1].item(), abs=1e-12)
    assert (SIZE in sizes) == (name in UNPROVEN)
    if name in UNPROVEN:
        assert torch.equal(vector[0], vectors[:, -1])
    else:
        assert abs(vector[0] @ vectors[:, -1]).item() == pytest.approx(1, abs=1e-12)
        off = vector[0] - vectors[:, -1] * torch.sign(vector[0] @ vectors[:, -1])
        assert off.abs().max() < 2.0**-26


@pytest.mark.parametrize("rest", [FALLING[:-1], FLAT[:-1]], ids=["falling", "flat"])
def test_a_direction_that_the_start_has_no_part_of_is_not_passed_over(rest: np.ndarray) -> None:
    start = arrays.normal((SIZE, 1), 0, torch.zeros(1, dtype=torch.float64), OPS)[:, 0]
    largest = 1.0001 * rest.max()
    matrix = turned(np.concatenate([[largest], rest]), start)
    value, _ = arrays.leading(matrix[None], OPS)
    assert value.item() == pytest.approx(largest, rel=1e-9)


def test_what_a_matrix_gets_does_not_depend_on_those_beside_it() -> None:
    matrices = torch.stack([turned(SPECTRA["falling"]), turned(UNPROVEN["equal"]), turned(SPECTRA["flat"], seed=1)])
    matrices = torch.cat([matrices, torch.full_like(matrices[:1], torch.nan)])
    values, vectors = arrays.leading(matrices.reshape(2, 2, SIZE, SIZE), OPS)
    for i, (value, vector) in enumerate(zip(values.flatten(), vectors.flatten(0, 1), strict=True)):
        alone = arrays.leading(matrices[i : i + 1], OPS)
        assert torch.equal(torch.nan_to_num(alone[0][0], 7), torch.nan_to_num(value, 7))
        assert torch.equal(torch.nan_to_num(alone[1][0], 7), torch.nan_to_num(vector, 7))
    assert torch.isnan(vectors[1, 1]).all()
    assert not torch.isnan(vectors.flatten(0, 1)[:3]).any()


def test_float32_is_answered_in_float32_and_as_well_as_by_all_directions() -> None:
    matrix = turned(SPECTRA["flat"]).float()
    value, vector = arrays.leading(matrix, OPS)
    assert value.dtype == vector.dtype == torch.float32
    _, vectors = torch.linalg.eigh(matrix.double())
    exact = vectors[:, -1]
    assert (vector - exact * torch.sign(vector.double() @ exact)).abs().max() < 1e-6


def test_a_ratio_is_zero_where_nothing_divides_and_exact_elsewhere() -> None:
    above = torch.tensor([[3.0, -1.0, 0.0], [5.0, 7.0, 0.0]])
    below = torch.tensor([[7.0], [0.0]])
    assert arrays.ratio(above, below, OPS).tolist() == [(above[0] / 7).tolist(), [0, 0, 0]]
    assert arrays.ratio(above, above, OPS).tolist() == [[1, 1, 0], [1, 1, 0]]
    assert arrays.to_unit(torch.ones(2, 3), [-1], OPS).tolist() == [[0, 0, 0]] * 2
