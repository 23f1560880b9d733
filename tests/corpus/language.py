"""Healthy trainings of a small transformer on text of a random grammar: what most people train, in little."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, gelu, layer_norm, scaled_dot_product_attention

from .arithmetic import Data, Task
from .classifiers import Made, Schedule, constant, cosine
from .escapes import from_spectrum
from .recorder import Training, cut, size
from .run import Run
from .truth import from_validation

SYMBOLS, CONTEXT, WIDTH, HEADS = 12, 16, 24, 2

SHAPES = (
    (SYMBOLS, WIDTH), (CONTEXT, WIDTH), (3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, 2 * WIDTH), (SYMBOLS, WIDTH),
)  # fmt: skip


def text(seed: int, count: int) -> Data:
    """Windows of a chain in which each symbol depends on the two before, and the symbols that follow."""
    generator = torch.Generator().manual_seed(seed)
    chances = torch.softmax(2.5 * torch.randn(SYMBOLS, SYMBOLS, SYMBOLS, generator=generator), -1)
    draws = torch.rand(count + CONTEXT + 2, generator=generator)
    symbols = [0, 1]
    for draw in draws.tolist():
        upto = torch.cumsum(chances[symbols[-2], symbols[-1]], 0)
        symbols.append(min(SYMBOLS - 1, int((upto < draw).sum())))
    stream = torch.tensor(symbols)
    windows = stream.unfold(0, CONTEXT + 1, 1)[:count]
    return windows[:, :-1], windows[:, 1:]


def logits(flat: Tensor, x: Tensor) -> Tensor:
    """One layer of attention and one of a perceptron, both with pre-normalisation."""
    symbols, places, mixing, out, wider, back, head = cut(flat, *SHAPES)
    h = symbols[x] + places
    parts = (
        (layer_norm(h, (WIDTH,)) @ mixing.T)
        .reshape(len(x), CONTEXT, 3, HEADS, WIDTH // HEADS)
        .permute(2, 0, 3, 1, 4)
    )
    with sdpa_kernel(SDPBackend.MATH):  # the fused ones have no second derivative
        seen = scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
    h = h + seen.transpose(1, 2).reshape(len(x), CONTEXT, WIDTH) @ out.T
    h = h + gelu(layer_norm(h, (WIDTH,)) @ wider.T) @ back.T
    return layer_norm(h, (WIDTH,)) @ head.T


def loss(flat: Tensor, batch: Any) -> Tensor:
    """Mean over all places."""
    return cross_entropy(logits(flat, batch[0]).reshape(-1, SYMBOLS), batch[1].reshape(-1))


def trained(
    name: str, what: str, seed: int, lr: Schedule, *, steps: int, batch: int, sgd: bool = False
) -> Run:
    """Curvature on 32 windows that stay the same."""
    train, val = text(seed, 4000), text(seed, 4600)
    val = val[0][4100:], val[1][4100:]  # of the same grammar, behind what is trained on
    generator = torch.Generator().manual_seed(seed + 1)
    theta = torch.randn(size(*SHAPES), generator=generator) / WIDTH**0.5
    task = Task(theta, loss, logits, train, val)

    def drawn(step: int) -> Data:
        rows = torch.randint(len(train[0]), (batch,), generator=generator)
        return train[0][rows], train[1][rows]

    def evaluate(flat: Tensor, step: int) -> dict[str, float]:
        with torch.no_grad():
            return {"val/loss": float(loss(flat, val))}

    def optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
        return (
            torch.optim.SGD(parameters, lr(0), momentum=0.9)
            if sgd
            else torch.optim.AdamW(parameters, lr(0), weight_decay=0.05)
        )

    found = Training(
        task.theta, loss, (train[0][:32], train[1][:32]), batch=drawn, optimizer=optimizer, lr=lr, evaluate=evaluate, every=20
    ).run(steps)  # fmt: skip
    events = [*from_spectrum(found), *from_validation(found)]
    return Run(name, "language", what, steps, events, healthy=True, attempts=[found.rows])


def runs() -> Iterator[Made]:
    """One maker for each training."""
    plans: list[tuple[str, Schedule, int, bool]] = [
        ("AdamW 3e-3", constant(3e-3), 16, False),
        ("AdamW 5e-3, warm-up over 300 steps, then cosine", cosine(5e-3, 3000, 300), 16, False),
        ("SGD 0.1, momentum 0.9", constant(0.1), 16, True),
        ("AdamW 2e-3, cosine with restarts every 800 steps", cosine(2e-3, 800), 32, False),
    ]
    for number, (what, lr, batch, sgd) in enumerate(plans):
        name = f"language-{number}"
        call = functools.partial(
            trained,
            name,
            f"transformer of {size(*SHAPES)}: {what}",
            700 + number,
            lr,
            steps=3000,
            batch=batch,
            sgd=sgd,
        )
        call.__name__ = name  # type: ignore[attr-defined]
        yield call
