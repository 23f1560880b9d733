"""What the tests of curvature share: dense float64 Hessians, and all that a measurement might have touched."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from lsmon.probe.reference import Reference

T = TypeVar("T")
LossFn = Callable[[Any, Any], Tensor]


@dataclass
class Subject:
    """What the ladder asks of a context."""

    model: nn.Module
    loss_fn: LossFn
    reference: Reference


def drain(work: Generator[None, None, T]) -> T:
    """All of a piecewise work at once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def classes(count: int = 32, width: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random inputs and three random labels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator), torch.randint(0, 3, (count,), generator=generator)


def perceptron(seed: int = 0, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3))


def dense_hessian(model: nn.Module, loss_fn: LossFn, batch: Any) -> Tensor:
    """∇²L of a float64 copy in eval mode but for norms that train, row by row, the parameters in the order of
    ``named_parameters``."""
    twin = copy.deepcopy(model).double().eval()
    for kept, module in zip(model.modules(), twin.modules(), strict=True):
        if isinstance(kept, (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)):
            module.train(kept.training)
    parameters = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    batch = tree_map(
        lambda leaf: leaf.double() if torch.is_tensor(leaf) and leaf.is_floating_point() else leaf, batch
    )
    with sdpa_kernel(SDPBackend.MATH):
        loss = loss_fn(twin, batch)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        gradients = tuple(gradient.to_dense() for gradient in gradients)
        rows = []
        for entry in torch.cat([gradient.reshape(-1) for gradient in gradients]):
            pieces = torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat([
                    (torch.zeros_like(p) if piece is None else piece.to_dense()).reshape(-1)
                    for p, piece in zip(parameters, pieces, strict=True)
                ])
            )  # fmt: skip
    return torch.stack(rows).detach()


def matrix(operator: Any) -> Tensor:
    """All columns of an operator, in float64."""
    columns = [operator.matvec(unit) for unit in torch.eye(operator.dim, dtype=operator.dtype)]
    return torch.stack(columns, dim=1).double()


def apart(found: Tensor, truth: Tensor) -> float:
    """Relative difference in the Frobenius norm."""
    return float((found.double() - truth).norm() / truth.norm())


def traces(model: nn.Module) -> dict[str, Any]:
    """Everything that measuring might have changed, to be compared by ``same``."""
    cuda: Any = torch.backends.cuda
    numpy_state: Any = np.random.get_state()
    return {
        "parameters": [p.detach().clone() for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "needs": [p.requires_grad for p in model.parameters()],
        "buffers": [buffer.clone() for buffer in model.buffers()],
        "training": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": numpy_state[1],
        "python": random.getstate(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "kernels": (cuda.flash_sdp_enabled(), cuda.math_sdp_enabled()),
        "precision": (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32),
        "enter": torch.autocast.__enter__,
    }


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit."""
    if torch.is_tensor(a):
        return torch.is_tensor(b) and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
