"""Trainings drawn at random, broken in one of five ways or healthy: what the regime is judged by.

None was looked at while thresholds were chosen but those with ``half="tuned"``; the two halves have other data sets.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]

KINDS = ("exploding", "vanishing", "dead units", "stalling", "clipped", "healthy")
HALVES = {
    "tuned": ("wine", "classification", "moons", "friedman", "digits of 0 to 4"),
    "held out": ("breast cancer", "iris", "circles", "diabetes", "digits of 5 to 9"),
}
"""Data sets of scikit-learn, none of which the regime's own tests use."""

STEPS = 500
RATES = {"SGD": (0.03, 0.15), "momentum": (0.005, 0.03), "Adam": (5e-4, 4e-3), "AdamW": (5e-4, 4e-3), "RMSprop": (3e-4, 1e-3)}  # fmt: skip
ACTIVATIONS = {"ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU, "Tanh": nn.Tanh, "ELU": nn.ELU}
PASSING = ("ReLU", "GELU", "SiLU", "ELU")
"""Activations that do not saturate upwards, so that a scale can grow through them."""


def data(name: str) -> tuple[Tensor, Tensor]:
    """Standardised inputs, and labels or standardised targets."""
    from sklearn import datasets

    if name.startswith("digits"):
        x, y = datasets.load_digits(return_X_y=True)
        low = int(name.split()[2])
        keep = (y >= low) & (y < low + 5)
        x, y = x[keep] / 16, y[keep] - low
        return torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    makers = {
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
        "classification": lambda: datasets.make_classification(600, 20, n_informative=8, n_classes=4, random_state=0),
        "moons": lambda: datasets.make_moons(500, noise=0.2, random_state=0),
        "circles": lambda: datasets.make_circles(500, noise=0.1, factor=0.5, random_state=0),
        "friedman": lambda: datasets.make_friedman1(500, random_state=0),
    }  # fmt: skip
    x, y = makers[name]()
    inputs = torch.tensor(x, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    if y.dtype.kind == "i":
        return inputs, torch.tensor(y)
    targets = torch.tensor(y, dtype=torch.float32)
    return inputs, ((targets - targets.mean()) / targets.std())[:, None]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    found = model(batch[0])
    return F.mse_loss(found, batch[1]) if batch[1].is_floating_point() else F.cross_entropy(found, batch[1])


@dataclass
class Patient:
    """One training: ``step`` does one, ``words`` say what it is."""

    kind: str
    words: str
    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    batches: Iterator[Batch]
    clip: float | None
    steps: int
    data: Batch

    def step(self, number: int) -> tuple[Tensor, Batch]:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.schedule(number)
        batch = next(self.batches)
        loss = loss_fn(self.model, batch)
        torch.autograd.backward(loss)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), batch


def patients(kind: str, half: str, count: int, number: int = 0) -> Iterator[Patient]:
    """So many of a kind from a number on, always the same ones; those that the outcome shows to be no such case are left
    out."""
    while count:
        draw = random.Random(f"{kind} {half} {number}")
        torch.manual_seed(draw.randrange(1 << 30))
        patient = _draw(kind, HALVES[half][number % 5], draw)
        number += 1
        if _is_one(patient):
            count -= 1
            yield patient


def _draw(kind: str, source: str, draw: random.Random) -> Patient:
    inputs, targets = data(source)
    outputs = 1 if targets.is_floating_point() else int(targets.max()) + 1
    deep = kind in ("exploding", "vanishing")
    depth, width = draw.randint(24, 36) if deep else draw.randint(1, 6), draw.choice([16, 24, 32, 48, 64])
    activation = draw.choice(PASSING if kind == "exploding" else ("ReLU",) if kind == "dead units" else list(ACTIVATIONS))  # fmt: skip
    norm = (
        draw.choice(["", "", "LayerNorm", "BatchNorm"]) if kind in ("healthy", "stalling", "clipped") else ""
    )
    gain = 2**0.5 * 10 if kind == "exploding" else None if kind == "vanishing" else draw.choice([None, 2**0.5, 1.0])  # fmt: skip
    if kind in ("healthy", "dead units") and depth > 3:
        gain = gain or 2**0.5
    model = _network(inputs.shape[1], outputs, depth, width, ACTIVATIONS[activation], norm, gain)
    dropout = kind == "healthy" and draw.random() < 0.2
    if dropout:
        model.insert(len(model) - 1, nn.Dropout(0.1))
    if kind == "dead units":
        _kill(model, draw)
    name = draw.choice([*RATES] if kind == "healthy" else [one for one in RATES if one != "RMSprop"])
    low, high = RATES[name]
    rate = low * (high / low) ** draw.random()
    if depth > 3 and kind == "healthy":
        rate /= 2
    if kind == "stalling":
        rate /= draw.choice([100, 200, 300])
    size = draw.choice([16, 32, 64, None])
    clip = 3.0 if kind == "healthy" and draw.random() < 0.3 else None
    if kind == "clipped":
        clip = 0.02 * _gradient(model, (inputs, targets))
    shape = draw.choice(["constant", "cosine", "warm-up"]) if kind == "healthy" else "constant"
    return Patient(
        kind,
        f"{source}, {depth} x {width} {activation}{' ' + norm if norm else ''}{' dropout' if dropout else ''}, "
        f"gain {gain and round(gain, 2)}, {name} {rate:.2g} {shape}, batch {size}, clip {clip and float(f'{clip:.2g}')}",
        model, _optimizer(name, model, rate, draw), _schedules(STEPS)[shape], _batches(inputs, targets, size, draw.randrange(1 << 30)),
        clip, STEPS, (inputs, targets),
    )  # fmt: skip


def _network(inputs: int, outputs: int, depth: int, width: int, activation: type[nn.Module], norm: str, gain: float | None) -> nn.Sequential:  # fmt: skip
    layers: list[nn.Module] = []
    for place in range(depth):
        linear = nn.Linear(width if place else inputs, width)
        if gain is not None:
            nn.init.normal_(linear.weight, std=gain * linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        between = {"LayerNorm": nn.LayerNorm, "BatchNorm": nn.BatchNorm1d}
        layers += [linear, *([between[norm](width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def _kill(model: nn.Sequential, draw: random.Random) -> None:
    """Biases so low that most units of one layer, or of all, never act."""
    hidden = [layer for layer in list(model)[:-1] if isinstance(layer, nn.Linear)]
    share = draw.uniform(0.6, 1.0)
    for layer in hidden if draw.random() < 0.5 else [draw.choice(hidden)]:
        with torch.no_grad():
            layer.bias[: math.ceil(share * len(layer.bias))] = -20.0


def _optimizer(name: str, model: nn.Module, rate: float, draw: random.Random) -> torch.optim.Optimizer:
    decay = draw.choice([0.0, 0.0, 1e-4, 1e-3])
    made: torch.optim.Optimizer
    if name in ("SGD", "momentum"):
        made = torch.optim.SGD(model.parameters(), rate, momentum=0.9 * (name == "momentum"), weight_decay=decay)  # fmt: skip
    elif name == "RMSprop":
        made = torch.optim.RMSprop(model.parameters(), rate)
    else:
        made = getattr(torch.optim, name)(model.parameters(), rate, weight_decay=decay)
    for group in made.param_groups:
        group["initial_lr"] = rate
    return made


def _schedules(steps: int) -> dict[str, Callable[[int], float]]:
    return {
        "constant": lambda _: 1.0,
        "cosine": lambda n: 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * n / steps)),
        "warm-up": lambda n: min(1.0, (n + 1) / 100),
    }


def _batches(inputs: Tensor, targets: Tensor, size: int | None, seed: int) -> Iterator[Batch]:
    """Shuffled epochs; all of the data at every step when there is no size."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(inputs) - (size or 1) + 1, size or len(inputs)):
            rows = order[start : start + size] if size else slice(None)
            yield inputs[rows], targets[rows]


def _gradient(model: nn.Module, batch: Batch) -> float:
    twin = copy.deepcopy(model)
    torch.autograd.backward(loss_fn(twin, batch))
    return float(torch.stack([p.grad.norm() for p in twin.parameters() if p.grad is not None]).norm())


def _is_one(patient: Patient) -> bool:
    """By its outcome without a probe, from a copy of the same start: a healthy one learns, a stalling one does not and
    would at a hundred times the rate, a clipped one would without the clipping, dead units are silent over all of the data
    at the end."""
    if patient.kind not in ("healthy", "dead units", "stalling", "clipped"):
        return True
    twin = _twin(patient)
    if patient.kind == "clipped":
        twin.clip = None
    before = float(loss_fn(twin.model, twin.data).detach())
    for number in range(twin.steps):
        twin.step(number)
    after = float(loss_fn(twin.model, twin.data).detach())
    if patient.kind in ("healthy", "clipped"):
        return after < 0.7 * before
    if patient.kind == "dead units":
        return _silent(twin.model, twin.data[0]) > 0.5
    faster = _twin(patient)
    for group in faster.optimizer.param_groups:
        group["initial_lr"] *= 100
    for number in range(faster.steps):
        faster.step(number)
    return after > 0.8 * before and float(loss_fn(faster.model, faster.data).detach()) < 0.7 * before


def _twin(patient: Patient) -> Patient:
    model, optimizer = copy.deepcopy((patient.model, patient.optimizer))
    size = len(next(patient.batches)[0])
    whole = len(patient.data[0])
    batches = _batches(*patient.data, None if size == whole else size, 1)
    return Patient(
        patient.kind, "", model, optimizer, patient.schedule, batches, patient.clip, patient.steps, patient.data
    )  # fmt: skip


def _silent(model: nn.Sequential, inputs: Tensor) -> float:
    """The largest share of a layer's ReLUs that no example wakes."""
    worst, x = 0.0, inputs
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                worst = max(worst, float((x == 0).all(0).double().mean()))
    return worst
