"""λ_1 followed from a vector near its own, against spectra that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lsmon.probe.algorithms.follow import MOST, follow
from lsmon.probe.algorithms.lanczos import Krylov
from lsmon.probe.measurement import at_once
from lsmon.probe.survey import sharpest
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.spectra import Known

SPECTRUM = [*torch.linspace(-1, 6, 400).tolist(), 8.0, 10.0]


class Slope(Known):
    """A spectrum with a gradient."""

    gradient: Tensor


class Straight:
    """Diagonal, the largest value at ``first``; the gradient lies along the second."""

    def __init__(self, values: list[float], first: int) -> None:
        *rest, top = values
        self.diagonal = torch.tensor([*rest[:first], top, *rest[first:]], dtype=torch.float64)
        self.dim, self.device, self.dtype = len(values), self.diagonal.device, self.diagonal.dtype
        self.vector = torch.zeros_like(self.diagonal)
        self.vector[first] = 1.0
        self.gradient = torch.zeros_like(self.diagonal)
        self.gradient[self.diagonal == rest[-1]] = 1.0

    def matvec(self, vector: Tensor) -> Tensor:
        return self.diagonal * vector


def followed(start: Tensor, gradient: Tensor | None = None, room: int = 1 << 30) -> tuple[Slope, Krylov]:
    operator = Slope(SPECTRUM)
    operator.gradient = operator.eigenvector(3) if gradient is None else gradient
    return operator, at_once(follow(operator, start, room))


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.3, 0.6])
def test_a_vector_that_has_turned(angle: float) -> None:
    """By up to 35°: λ_1 within 1 % in at most five products, never above it, with a residual that holds it."""
    away = torch.randn(len(SPECTRUM), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    home = Known(SPECTRUM).eigenvector(-1)
    away -= (away @ home) * home
    start = torch.cos(torch.tensor(angle)) * home + torch.sin(torch.tensor(angle)) * away / away.norm()
    operator, found = followed(start)
    top = found.extremes.top[0]
    assert operator.products == found.extremes.hvps <= MOST
    assert 0.99 * 10 < top.value <= 10 + 1e-9
    assert 10 - top.value <= top.residual
    assert found.stopped == top.converged
    assert found.vector is not None
    assert abs(float(found.vector @ home)) > 0.99


def test_the_gradient_leads_to_a_direction_that_has_overtaken() -> None:
    """From the second eigenvector, with a gradient along the first: it is found all the same."""
    operator = Known(SPECTRUM)
    _, found = followed(operator.eigenvector(-2), operator.eigenvector(-1))
    assert found.extremes.top[0].value == pytest.approx(10.0, rel=1e-2)


def test_what_it_cannot_see_it_does_not_invent() -> None:
    """Without any part of the first eigenvector it stays at the second, a lower bound; a product that is not finite raises."""
    operator = Known(SPECTRUM)
    _, found = followed(operator.eigenvector(-2))
    assert found.extremes.top[0].value == pytest.approx(8.0)
    with pytest.raises(ValueError, match="not finite"):
        followed(operator.eigenvector(-1) * torch.nan)


def test_room_for_two_vectors() -> None:
    """The value comes without a vector to go on from, and it is said."""
    operator = Known(SPECTRUM)
    _, found = followed(operator.eigenvector(-1), room=2 * 8 * len(SPECTRUM))
    assert found.extremes.top[0].value == pytest.approx(10.0, rel=1e-2)
    assert "there is room for 2 vectors" in found.remark


def test_a_search_that_knows_where_it_was_finds_the_first_of_two_that_are_near() -> None:
    """8 % apart, with a random start that has hardly anything of the first: alone the search stops at the second."""
    spectrum = [*torch.linspace(-1, 6, 400).tolist(), 9.2, 10.0]
    start = torch.randn(len(spectrum), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    operator = Straight(spectrum, first=int(start.abs().argmin()))
    alone = at_once(sharpest(operator, 0, 1 << 30)).extremes
    again = at_once(sharpest(operator, 0, 1 << 30, last=operator.vector)).extremes
    assert alone.top[0].value == pytest.approx(9.2, rel=0.01)
    assert again.top[0].value == pytest.approx(10.0, rel=0.01)
    assert again.hvps <= alone.hvps + 2
