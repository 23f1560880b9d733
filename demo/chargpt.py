"""A small GPT learns to spell Python: the training that most people have, with all its usual parts.

Characters of the standard library's own source, two blocks of fused attention, AdamW with warm-up and a last fifth
that slows down, clipped gradients, a validation loss. What is to be seen: where the sharpness stands against Adam's own
edge, the temperature, how hard each layer works, and how often a gradient is clipped.

    python -m lsmon.demo.chargpt         and, beside it:        lsmon
"""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from lsmon.probe import Probe

CONTEXT, WIDTH, HEADS, BLOCKS = 64, 96, 4, 2
BATCH = 16
TEXT = 400_000  # characters; the last tenth is for validation
STEPS = 3000  # about a minute on one core
WARM_UP = 200
LR, WEIGHT_DECAY, CLIP = 2e-3, 0.1, 1.0
EVAL_EVERY = 50
BUDGET = 0.2  # of the run's time for the probe: this run is short and made to be watched
SEED = 0

Batch = tuple[Tensor, Tensor]  # characters (n, CONTEXT), and those that follow each of them


def text() -> Tensor:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    joined = "".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    return torch.tensor([min(ord(character), 127) for character in joined[:TEXT]])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.heads, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(self.before(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        return x + self.feed(self.between(x))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(128, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 128, bias=False)

    def forward(self, characters: Tensor) -> Tensor:
        x = self.characters(characters) + self.places.weight[: characters.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    characters, following = batch
    return cross_entropy(model(characters).flatten(0, 1), following.flatten())


def windows(of: Tensor) -> Batch:
    starts = torch.randint(len(of) - CONTEXT, (BATCH,)).tolist()
    rows = torch.stack([of[start : start + CONTEXT + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def main(steps: int = STEPS) -> None:
    torch.set_num_threads(1)  # the second core is for whoever watches
    torch.manual_seed(SEED)

    train, val = text().split([TEXT - TEXT // 10, TEXT // 10])
    looks = [windows(val) for _ in range(8)]
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 5 * (steps - step) / steps, 1.0)
    )

    val_loss = math.nan
    with Probe(model, optimizer, loss_fn, name="chargpt", budget=BUDGET, clip=CLIP) as probe:
        for step in range(1, steps + 1):
            batch = windows(train)
            loss = loss_fn(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            probe.step(loss, batch)

            if step % EVAL_EVERY == 0 or step == steps:
                with torch.no_grad():
                    val_loss = sum(loss_fn(model, look).item() for look in looks) / len(looks)
                probe.log(**{"val/loss": val_loss})
                if step % (5 * EVAL_EVERY) == 0:
                    print(f"step {step:6d}  loss {loss.item():.3f}  val loss {val_loss:.3f}")

    print(
        f"validation loss {val_loss:.2f}, {val_loss / math.log(2):.2f} bits a character, after {steps} steps"
    )


if __name__ == "__main__":
    main()
