"""Ordinary tasks of families that no threshold has seen: regression, autoencoders, convolutions, recurrence, classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv1d, cross_entropy, huber_loss

from .arithmetic import Task
from .networks import perceptron, squares, start_of
from .recorder import cut, size


def regressed(seed: int, sizes: Sequence[int], *, activation: str, robust: bool, noise: float) -> Task:
    """A wavy function of several inputs under noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1400, sizes[0], generator=generator)
    waves = torch.randn(sizes[0], 3, generator=generator)
    y = torch.sin(x @ waves).sum(1, keepdim=True) + noise * torch.randn(1400, 1, generator=generator)
    criterion = (lambda a, b: huber_loss(a, b)) if robust else squares
    _, loss, outputs = perceptron(sizes, activation, criterion)
    return Task(start_of(sizes, 1.2, generator), loss, outputs, (x[:1000], y[:1000]), (x[1000:], y[1000:]))


def compressed(seed: int, hidden: int) -> Task:
    """A ReLU autoencoder of points near a curved surface."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(1400, 3, generator=generator)
    x = torch.tanh(inner @ torch.randn(3, 12, generator=generator)) + 0.05 * torch.randn(
        1400, 12, generator=generator
    )
    sizes = (12, hidden, 4, hidden, 12)
    _, loss, outputs = perceptron(sizes, "relu", squares)
    return Task(start_of(sizes, 1.4, generator), loss, outputs, (x[:1000], x[:1000]), (x[1000:], x[1000:]))


def convolved(seed: int) -> Task:
    """Which of four shapes is hidden in a noisy series: two convolutions and a mean."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.randn(4, 7, generator=generator)
    labels = torch.randint(4, (1200,), generator=generator)
    x = 0.5 * torch.randn(1200, 24, generator=generator)
    for row, at in enumerate(torch.randint(0, 17, (1200,), generator=generator).tolist()):
        x[row, at : at + 7] += shapes[labels[row]]
    pieces = [(8, 1, 5), (8,), (8, 8, 5), (8,), (4, 8), (4,)]

    def outputs(flat: Tensor, x: Tensor) -> Tensor:
        first, b1, second, b2, last, b3 = cut(flat, *pieces)
        h = torch.relu(conv1d(x[:, None], first, b1))
        h = torch.relu(conv1d(h, second, b2)).amax(2)
        return h @ last.T + b3

    theta = torch.cat([torch.randn(math.prod(s), generator=generator) / math.sqrt(math.prod(s[1:]) / 2) if len(s) > 1 else torch.zeros(s) for s in pieces])  # fmt: skip
    return Task(theta, lambda flat, part: cross_entropy(outputs(flat, part[0]), part[1]), outputs, (x[:800], labels[:800]), (x[800:], labels[800:]))  # fmt: skip


def recurrent(seed: int) -> Task:
    """The next value of a sum of two waves, by a small recurrent network."""
    generator = torch.Generator().manual_seed(seed)
    phase, speed = (
        6.3 * torch.rand(900, 2, 1, generator=generator),
        0.2 + 0.6 * torch.rand(900, 2, 1, generator=generator),
    )
    series = torch.sin(phase + speed * torch.arange(13)).sum(1) + 0.05 * torch.randn(
        900, 13, generator=generator
    )
    shapes = [(16, 1), (16, 16), (16,), (1, 16), (1,)]

    def outputs(flat: Tensor, x: Tensor) -> Tensor:
        inward, again, bias, out, shift = cut(flat, *shapes)
        h = torch.zeros(len(x), 16)
        for step in range(x.shape[1]):
            h = torch.tanh(x[:, step : step + 1] @ inward.T + h @ again.T + bias)
        return h @ out.T + shift

    theta = 0.25 * torch.randn(size(*shapes), generator=generator)
    return Task(theta, lambda flat, part: squares(outputs(flat, part[0]), part[1]), outputs, (series[:600, :12], series[:600, 12:]), (series[600:, :12], series[600:, 12:]))  # fmt: skip


def heavy(seed: int, classes: int, tails: float) -> Task:
    """Softmax regression, convex, on inputs of heavy tails."""
    generator = torch.Generator().manual_seed(seed)
    x = (
        torch.distributions.StudentT(tails).sample((1400, 8))
        if tails
        else torch.randn(1400, 8, generator=generator)
    )
    x = x.clamp(-20, 20)
    y = (
        x @ torch.randn(8, classes, generator=generator) + torch.randn(1400, classes, generator=generator)
    ).argmax(1)
    _, loss, outputs = perceptron((8, classes), "tanh", cross_entropy)
    return Task(
        0.01 * torch.randn(8 * classes + classes, generator=generator),
        loss,
        outputs,
        (x[:1000], y[:1000]),
        (x[1000:], y[1000:]),
    )


def everyday(seed: int) -> Task:
    """Five classes of clusters that overlap, in eight dimensions; there is enough data."""
    generator = torch.Generator().manual_seed(seed)
    centres = 1.1 * torch.randn(5, 3, 8, generator=generator)
    labels = torch.randint(5, (4400,), generator=generator)
    x = centres[labels, torch.randint(3, (4400,), generator=generator)] + torch.randn(
        4400, 8, generator=generator
    )
    sizes = (8, 28, 20, 5)
    _, loss, outputs = perceptron(sizes, "relu", cross_entropy)
    return Task(
        start_of(sizes, 1.4, generator), loss, outputs, (x[:4000], labels[:4000]), (x[4000:], labels[4000:])
    )
