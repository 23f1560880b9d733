"""Three small trainings on which curvature engines are compared, and what their curvature really is.

========== ========= ============================================ =====================================
mlp        50 826    digits, 512 images                           SGD 0.1, momentum 0.9, 200 steps
cnn        283 786   digits, 128 images                           SGD 0.05, momentum 0.9, 200 steps
gpt        826 624   8 KB of the standard library, 8 x 64 tokens  AdamW 1e-3, 1000 steps
========== ========= ============================================ =====================================

Each has three stages: init, mid (after 60, 60 and 150 steps) and end. The digits are those of scikit-learn where it
is installed, else a stand-in of the same shapes: ten smooth random prototypes, shifted and noisy.
"""

from __future__ import annotations

import argparse
import copy
import string
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]
STAGES = ("init", "mid", "end")
STEPS = {"mlp": (0, 60, 200), "cnn": (0, 60, 200), "gpt": (0, 150, 1000)}
VOCABULARY = "".join(c for c in string.printable if c not in "\x0b\x0c")  # 98 characters
CONTEXT, WIDTH, LAYERS, HEADS = 64, 128, 4, 4


def digits() -> tuple[Batch, str]:
    """Images (1797, 1, 8, 8) in 0…1 with labels, and where they come from."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        generator = torch.Generator().manual_seed(0)
        prototypes = F.interpolate(torch.rand(10, 1, 4, 4, generator=generator), size=8, mode="bilinear")
        labels = torch.randint(0, 10, (1797,), generator=generator)
        shifts = torch.randint(-1, 2, (1797,), generator=generator).tolist()
        images = torch.stack(
            [torch.roll(prototypes[y], s, dims=2) for y, s in zip(labels.tolist(), shifts, strict=True)]
        )
        images = (images + 0.2 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
        return (images, labels), "digits stand-in (scikit-learn is not installed)"
    found = load_digits()
    return (
        torch.tensor(found.images, dtype=torch.float32)[:, None] / 16,
        torch.tensor(found.target),
    ), "digits of scikit-learn"


def text() -> Tensor:
    """8 KB of the standard library, as indices."""
    source = Path(argparse.__file__).read_text()
    return torch.tensor([VOCABULARY.index(c) for c in source if c in VOCABULARY][:8192])


class Block(nn.Module):
    """Pre-norm attention, by the fused kernel, and a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.heads, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        parts = self.heads(self.before(x)).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        return x + self.feed(self.between(x))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(VOCABULARY), WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(VOCABULARY), bias=False)
        for name, parameter in self.named_parameters():  # as in GPT-2
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name and "before" not in name and "between" not in name:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))  # type: ignore[no-any-return]


def network(name: str) -> nn.Module:
    if name == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 10)
        )
    if name == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 10),
        )  # fmt: skip
    return GPT()


def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    return criterion(model(batch[0]), batch[1])


@dataclass
class Training:
    """A model with its optimizer and its data; ``batches`` never ends."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[Batch]
    reference: Batch

    def step(self) -> tuple[Tensor, Batch]:
        batch = next(self.batches)
        loss = loss_fn(self.model, batch)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss, batch


def training(name: str, seed: int = 0) -> Training:
    torch.manual_seed(seed)
    model = network(name)
    optimizer: torch.optim.Optimizer
    if name == "gpt":
        corpus = text()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        return Training(model, optimizer, _windows(corpus, seed), next(_windows(corpus, seed + 1)))
    optimizer = torch.optim.SGD(model.parameters(), 0.1 if name == "mlp" else 0.05, momentum=0.9)
    (images, labels), _ = digits()
    size = 512 if name == "mlp" else 128
    return Training(model, optimizer, _rows(images, labels, seed), (images[:size], labels[:size]))


def _rows(images: Tensor, labels: Tensor, seed: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randint(0, 1024, (128,), generator=generator)
        yield images[rows], labels[rows]


def _windows(corpus: Tensor, seed: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(0, len(corpus) - CONTEXT, (8,), generator=generator).tolist()
        windows = torch.stack([corpus[s : s + CONTEXT + 1] for s in starts])
        yield windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


@dataclass(frozen=True)
class Truth:
    """Converged eigenvalues in double precision."""

    top: tuple[float, ...]
    lowest: float


@dataclass
class Workload:
    name: str
    model: nn.Module
    batch: Batch
    truth: Truth

    @property
    def dim(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def workload(name: str, stage: str) -> Workload:
    """Trained up to a stage, with its truth; both are kept in the temporary folder for the next time."""
    folder = Path(tempfile.gettempdir()) / "lsmon-bench"
    folder.mkdir(mode=0o700, exist_ok=True)
    source = "" if name == "gpt" else f"-{digits()[1].split()[1]}"
    path = folder / f"{name}-{stage}{source}.pt"
    run = training(name)
    if path.exists():
        kept: dict[str, Any] = torch.load(path)
    else:
        for _ in range(STEPS[name][STAGES.index(stage)]):
            run.step()
        found = truth(run.model, run.reference)
        kept = {"state": run.model.state_dict(), "top": found.top, "lowest": found.lowest}
        torch.save(kept, path)
    run.model.load_state_dict(kept["state"])
    return Workload(f"{name}:{stage}", run.model, run.reference, Truth(kept["top"], kept["lowest"]))


def truth(model: nn.Module, batch: Batch) -> Truth:
    """By ARPACK in double precision, which shares no code with what is measured here but the double backward."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    product = plain_product(
        copy.deepcopy(model).double(), tuple(part.double() if part.is_floating_point() else part for part in batch)
    )  # fmt: skip
    dim = sum(parameter.numel() for parameter in model.parameters())
    operator = LinearOperator(
        (dim, dim), lambda v: product(torch.from_numpy(v.reshape(-1))).numpy(), dtype="f8"
    )
    top = eigsh(operator, k=5, which="LA", tol=1e-7, return_eigenvectors=False)
    low = eigsh(operator, k=1, which="SA", tol=1e-5, ncv=60, return_eigenvectors=False)
    return Truth(tuple(sorted((float(value) for value in top), reverse=True)), float(low[0]))


def plain_product(model: nn.Module, batch: Any) -> Callable[[Tensor], Tensor]:
    """v → Hv by double backward on a kept graph, with nothing around it."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(loss_fn(model, batch), parameters, create_graph=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])

    def product(vector: Tensor) -> Tensor:
        pieces = torch.autograd.grad(flat, parameters, grad_outputs=vector, retain_graph=True)
        return torch.cat([piece.reshape(-1) for piece in pieces])

    return product
