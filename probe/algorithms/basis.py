"""Where the orthonormal vectors of a Krylov space are kept: on the operator's device, in host memory, or only the last.

Memory for them is bounded, and a model of 100 million parameters leaves room for two in a gibibyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from ..operators.operator import Operator

CHUNK = 1 << 14
"""Entries of a sum on a CPU: in float32 one that runs on for 1e6 entries is wrong by 1e-5, and a restart needs a copy of
no more."""

FEWEST = 2
"""Vectors that the three terms of Lanczos' recurrence join, beside the product itself."""


def norm(vector: Tensor) -> Tensor:
    """The 2-norm, by pairwise summation: in float32 on a CPU ``vector_norm`` is wrong by 4e-4 at 1e7 entries, and
    every eigenvalue would be with it. Of entries over the largest, whose squares neither vanish nor overflow."""
    least, most = vector.aminmax()
    largest = torch.maximum(-least, most).clamp_min(torch.finfo(vector.dtype).tiny)
    return largest * (vector / largest).square_().sum().sqrt()


def unit(vector: Tensor) -> Tensor:
    """Of length 1; zero stays zero."""
    return vector / norm(vector).clamp_min(torch.finfo(vector.dtype).tiny)


def orthogonalise(vector: Tensor, basis: Tensor, near: int = 0) -> tuple[Tensor, Tensor]:
    """What of ``vector`` (d,) is orthogonal to the rows of ``basis`` (j, d), and the coefficients (j,) taken off it.

    Only rounding or noise of the vector lies along the rows before ``near``: the first of two passes leaves them out,
    and a basis is read twice instead of three times.
    """
    first = basis[near:] @ vector  # what this sum loses the second pass finds
    rest = torch.addmv(vector, basis[near:].T, first, alpha=-1)
    second = _products(basis, rest)
    rest.addmv_(basis.T, second, alpha=-1)
    second[near:] += first
    return rest, second


def _products(basis: Tensor, vector: Tensor) -> Tensor:
    """The rows (j, d) times the vector, piece by piece on a CPU; a GPU sums pairwise by itself."""
    if vector.device.type != "cpu":
        return basis @ vector
    pieces = zip(torch.split(basis, CHUNK, dim=-1), torch.split(vector, CHUNK), strict=True)
    return torch.stack([rows @ part for rows, part in pieces]).sum(0)


class Basis(Protocol):
    """``rows`` vectors (d,), numbered from 0."""

    rows: int
    remark: str
    """What must be said of the numbers because of where it is kept."""

    def put(self, place: int, vector: Tensor, length: Tensor) -> None:
        """``vector`` (d,) over ``length`` becomes one of the basis."""
        ...

    def vector(self, place: int) -> Tensor: ...

    def without(self, vector: Tensor, count: int, near: int = 0) -> tuple[Tensor, Tensor]:
        """As ``orthogonalise``, against the first ``count``."""
        ...

    def combine(self, coefficients: Tensor) -> Tensor | None:
        """The vector (d,) with these coefficients (m,) in the basis; None where they are not all kept."""
        ...

    def turn(self, coefficients: Tensor) -> None:
        """Combinations (k, m) of the first m take the places of the first k, and the last vector follows them."""
        ...


class DeviceBasis:
    """All of them on the operator's device."""

    def __init__(self, operator: Operator, rows: int) -> None:
        self.rows = rows
        self.remark = ""
        self._vectors = torch.empty(rows, operator.dim, device=operator.device, dtype=operator.dtype)

    def put(self, place: int, vector: Tensor, length: Tensor) -> None:
        torch.div(vector, length, out=self._vectors[place])

    def vector(self, place: int) -> Tensor:
        return self._vectors[place]

    def without(self, vector: Tensor, count: int, near: int = 0) -> tuple[Tensor, Tensor]:
        return orthogonalise(vector, self._vectors[:count], near)

    def combine(self, coefficients: Tensor) -> Tensor | None:
        return coefficients.to(self._vectors, non_blocking=True) @ self._vectors[: len(coefficients)]

    def turn(self, coefficients: Tensor) -> None:
        k, m = coefficients.shape
        turn = coefficients.to(self._vectors, non_blocking=True)
        for part in torch.split(self._vectors, CHUNK, dim=-1):
            part[:k] = turn @ part[:m]
        self._vectors[k] = self._vectors[m]
        for place in range(k + 1):  # else the rounding of every restart adds up
            rest, _ = self.without(self._vectors[place], place)
            self.put(place, rest, norm(rest))


class HostBasis:
    """``rows`` vectors in host memory, brought to the device ``at_once`` at a time for every product.

    Copies from and to pinned memory are queued on the current stream like the arithmetic, and nothing waits for them.
    """

    def __init__(self, operator: Operator, rows: int, at_once: int) -> None:
        self.rows = rows
        self.remark = "basis in host memory"
        self._at_once = max(1, at_once)
        self._dim, self._dtype, self._device = operator.dim, operator.dtype, operator.device
        self._kept: list[Tensor] = []

    def put(self, place: int, vector: Tensor, length: Tensor) -> None:
        while len(self._kept) <= place:  # one by one: to pin memory takes time
            pinned = self._device.type == "cuda"
            self._kept.append(torch.empty(self._dim, dtype=self._dtype, pin_memory=pinned))
        self._kept[place].copy_(vector / length, non_blocking=True)

    def vector(self, place: int) -> Tensor:
        return self._kept[place].to(self._device, non_blocking=True)

    def without(self, vector: Tensor, count: int, near: int = 0) -> tuple[Tensor, Tensor]:
        rest, taken = vector, torch.zeros(count, device=self._device, dtype=self._dtype)
        for start in (near, 0):
            for left, block in self._blocks(start, count):
                rest, part = orthogonalise(rest, block)
                taken[left : left + len(block)] += part
        return rest, taken

    def combine(self, coefficients: Tensor) -> Tensor | None:
        on_device = coefficients.to(self._device, self._dtype, non_blocking=True)
        total = torch.zeros(self._dim, device=self._device, dtype=self._dtype)
        for left, block in self._blocks(0, len(coefficients)):
            total += on_device[left : left + len(block)] @ block
        return total

    def turn(self, coefficients: Tensor) -> None:
        k, m = coefficients.shape
        turn = coefficients.to(self._device, self._dtype, non_blocking=True)
        width = max(CHUNK, self._at_once * self._dim // (m + k))
        for left in range(0, self._dim, width):
            pieces = [kept[left : left + width] for kept in self._kept]
            turned = turn @ torch.stack([piece.to(self._device, non_blocking=True) for piece in pieces[:m]])
            for piece, new in zip(pieces[:k], turned, strict=True):
                piece.copy_(new, non_blocking=True)
        rest, _ = self.without(self.vector(m), k)  # the others stay as they are: it would take k² copies
        self.put(k, rest, norm(rest))

    def _blocks(self, start: int, count: int) -> Iterator[tuple[int, Tensor]]:
        for left in range(start, count, self._at_once):
            some = self._kept[left : min(left + self._at_once, count)]
            yield left, torch.stack([kept.to(self._device, non_blocking=True) for kept in some])


class RecentBasis(DeviceBasis):
    """The last ``rows`` vectors; a product is no longer orthogonal to what was forgotten.

    Then copies of converged eigenvalues appear, but the outermost Ritz values are right (Paige 1980).
    """

    def __init__(self, operator: Operator, rows: int) -> None:
        super().__init__(operator, rows)
        self.remark = (
            f"the outermost values alone: of {operator.dim} parameters there is room for {rows} vectors"
        )

    def put(self, place: int, vector: Tensor, length: Tensor) -> None:
        super().put(place % self.rows, vector, length)

    def vector(self, place: int) -> Tensor:
        return super().vector(place % self.rows)

    def without(self, vector: Tensor, count: int, near: int = 0) -> tuple[Tensor, Tensor]:
        kept = range(max(0, count - self.rows), count)
        rest, part = orthogonalise(vector, self._vectors[: len(kept)])
        taken = torch.zeros(count, device=part.device, dtype=part.dtype)
        taken[kept.start :] = part[[place % self.rows for place in kept]]
        return rest, taken

    def combine(self, coefficients: Tensor) -> Tensor | None:
        return super().combine(coefficients) if len(coefficients) <= self.rows else None


def basis(operator: Operator, most: int, useful: int, max_bytes: int, host_bytes: int) -> Basis:
    """Room for ``most`` vectors or as many as ``max_bytes`` on the device holds; for fewer than ``useful`` in
    ``host_bytes`` of host memory, or only for the last ones.

    Raises ValueError when not even two fit.
    """
    size = torch.finfo(operator.dtype).bits // 8 * operator.dim
    room, host = max_bytes // size, host_bytes // size
    if room >= min(most, useful):
        return DeviceBasis(operator, min(most, room))
    if host >= useful:
        return HostBasis(operator, min(most, host), room // 2)
    if room >= FEWEST:
        return RecentBasis(operator, room)
    raise ValueError(f"max_bytes holds {room} vectors of the operator, and at least {FEWEST} are needed")
