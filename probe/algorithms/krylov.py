"""An orthonormal basis of a Krylov space and the operator projected on it, restarted when its memory is full.

Full reorthogonalisation, twice ("twice is enough", Kahan and Parlett): without it copies of converged eigenvalues
appear, and a count of negative Ritz values would no longer be a lower bound. Only the first pass is ever short: it may
leave out those vectors to which a product is orthogonal in exact arithmetic. The projection T = QᵀHQ is measured
entry by entry, never assumed to be tridiagonal, so that Cauchy's interlacing holds after a thick restart too (Wu and
Simon 2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..operators.operator import Operator
from .basis import Basis, norm

EXHAUSTED = 100.0
"""A space is invariant when what is left of a product is below this many roundings of |H|."""


class KrylovSpace:
    """``multiply`` works on the operator's device and waits for nothing; ``take`` gets its numbers on the host.

    Numbers may be taken later than they were made, in order. ``most`` products are multiplied between two restarts at
    most; a basis that forgets vectors needs no restart.
    """

    def __init__(self, operator: Operator, start: Tensor, basis: Basis, most: int) -> None:
        self.operator = operator
        self.rows = most
        self.basis = basis
        basis.put(0, start, norm(start))
        self.multiplied = 0
        """Vectors of this basis whose product was asked for."""
        self.products = 0
        self.restarts = 0
        self.most = 0
        """Most vectors that the basis ever held."""
        self.noise = 0.0
        """Largest |q_iᵀHq_j - q_jᵀHq_i| that was seen."""
        self.doubt = 0.0
        """How wrong products are by the operator's own account (``doubt``, relative to the largest), which symmetry does
        not show."""
        self.ended = False
        """The space is invariant: everything that this start can reach is in it."""
        self._projected = torch.zeros(most, most, dtype=torch.float64)  # its lower triangle
        self.taken = 0
        """Vectors whose product has been taken."""
        self._beta = math.nan  # of the last row taken; none right after a restart
        self._scale = 0.0
        self._log_betas = 0.0
        self._discarded: list[float] = []
        self._kept = 0  # vectors that the last restart left

    def multiply(self) -> Tensor:
        """One product. The new column of T, the norm of what was left and the operator's doubt, (multiplied + 2,), on the
        device."""
        j = self.multiplied
        near = (
            max(0, j - 1) if j > self._kept else 0
        )  # three terms, except for the first product after a restart
        rest, column = self.basis.without(self.operator.matvec(self.basis.vector(j)), j + 1, near)
        beta = norm(rest)
        if j + 1 < self.rows:
            self.basis.put(j + 1, rest, beta.clamp_min(torch.finfo(rest.dtype).tiny))
        self.multiplied += 1
        self.products += 1
        self.most = max(self.most, min(self.multiplied, self.basis.rows))
        doubt = getattr(self.operator, "doubt", None)
        last = torch.zeros_like(beta) if doubt is None else doubt.to(beta)
        return torch.cat([column, torch.stack([beta, last])])

    def take(self, row: Sequence[float]) -> None:
        """The next row that ``multiply`` returned. Raises ValueError when a number is not finite.

        Rows behind the end of an invariant space are rounding noise and left out.
        """
        if self.ended:
            return
        if not all(map(math.isfinite, row)):
            raise ValueError("a product with the operator was not finite")
        j = self.taken
        *column, beta, self.doubt = row
        if not math.isnan(self._beta):
            self.noise = max(self.noise, abs(row[j - 1] - self._beta))
        self._projected[j, : j + 1] = torch.tensor(column, dtype=torch.float64)
        self._beta = beta
        self._scale = max(self._scale, beta, *map(abs, column))
        self.taken += 1
        if self._beta <= EXHAUSTED * torch.finfo(self.operator.dtype).eps * self._scale:
            self.ended = True
        else:
            self._log_betas += math.log(self._beta)

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ritz values (m,) ascending, their coefficients in the basis (m, m) by column, residuals β|s_mi| (m,)."""
        m = self.taken
        values, coefficients = torch.linalg.eigh(self._projected[:m, :m], "L")
        return values, coefficients, (self._beta * coefficients[-1]).abs()

    def log_gain(self, at: float, values: Sequence[float]) -> float:
        """ln |ψ(at)|, where ψ(H)·start is the next basis vector and ``values`` are the Ritz values now.

        The roots of ψ are the Ritz values and those that restarts have discarded (exact shifts, Sorensen 1992), its
        leading coefficient is 1/∏β. A component of the start along an eigenvector is multiplied by ψ(eigenvalue) and
        is then still at most 1, so a large gain says that there was hardly any.
        """
        if self.ended:
            return math.inf
        roots = [*values, *self._discarded]
        return sum(math.log(max(abs(at - root), 1e-300)) for root in roots) - self._log_betas

    def restart(self, keep: Sequence[int]) -> None:
        """Keep these Ritz vectors, by position in ``ritz``, and the last vector; the space goes on from there.

        Every row that ``multiply`` returned must have been taken, and the last basis vector not been multiplied.
        """
        values, coefficients, _ = self.ritz()
        m, k = len(values), len(keep)
        assert self.taken == self.multiplied == m < self.rows <= self.basis.rows
        self.basis.turn(coefficients[:, list(keep)].T)
        kept = set(keep)
        self._discarded += [value for place, value in enumerate(values.tolist()) if place not in kept]
        self._projected.zero_()
        self._projected.diagonal()[:k] = values[list(keep)]
        self.multiplied = self.taken = self._kept = k
        self._beta = math.nan
        self.restarts += 1
