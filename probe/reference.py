"""The fixed reference batch: the same examples for the whole run.

On fresh minibatches the extreme eigenvalues jump by a fifth from batch to batch and are biased outwards (E λ_max of a
batch ≥ λ_max of the data, by Jensen), so a time series of them would show the sampling and not the training.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lsmon.protocol.errors import UsageError

from .arrays import is_array
from .batches import cut, leading, mapped, tensors

QUARTER = 4
"""Of a batch whose examples depend on one another (BatchNorm) at least a quarter is kept, so that its statistics stay
near those that the training sees."""

EXAMPLES = 512
"""At 256 of 1024 examples λ_max of a digits MLP was still 1.3 times too large; 512 is what a budget of 5 % can pay."""


class Reference:
    """One batch or several, detached copies, with their numbers of examples.

    Raises UsageError for a batch without tensors.
    """

    def __init__(self, given: Any = None, *, thinnest: int | None = None) -> None:
        self.thinnest = thinnest
        """Largest n of which ``thinned`` may take every n-th example, where an example's loss depends on the others of its
        batch: a quarter is left of one that BatchNorm sees, and 1 leaves it as it is. None: they are independent."""
        self.fewest = 1
        """Examples that the model takes at least: to many one alone is no batch (``squeeze``)."""
        self.remark = ""
        """Why they cannot, for a person."""
        self.batches: list[Any] = []
        self.sizes: list[int] = []
        self.given = given is not None
        """Chosen by a person, who wants the curvature on just these examples."""
        self.complete = self.given
        if given is not None:
            for batch in given if _is_list_of_batches(given) else [given]:
                self._keep(batch)

    @property
    def examples(self) -> int:
        return sum(self.sizes)

    def part_of(self, whole: Reference | None) -> bool:
        """Whether these are fewer examples than those of ``whole``."""
        return whole is not None and self.examples < whole.examples

    def offer(self, batch: Any) -> None:
        """A batch that the loop trains on; kept while fewer than 512 examples are."""
        if self.complete or batch is None:
            return
        room = EXAMPLES - self.examples
        if self.thinnest is not None and self.batches and size_of(batch) > room:
            self.complete = True
            return
        self._keep(self._head(batch, room))
        self.complete = self.examples >= EXAMPLES

    def thinned(self, wanted: int) -> Reference:
        """About ``wanted`` of the examples, spread evenly over all of them, always the same ones.

        As few batches as hold that many, each being a forward pass of its own; what cannot be cut stays whole.
        """
        if wanted >= self.examples:
            return self
        count = max(1, min(len(self.batches), math.ceil(wanted * len(self.batches) / self.examples)))
        places = [index * len(self.batches) // count for index in range(count)]
        held = sum(self.sizes[place] for place in places)
        stride = max(1, round(held / max(1, wanted)))
        stride = min(stride, self.thinnest or stride)
        return self._of([_strided(self.batches[place], 0, stride) for place in places])

    def first(self, wanted: int) -> Reference:
        """The first ``wanted`` examples, where it is plain which dimension counts them; else the first batch."""
        return self._of([self._head(self.batches[0], wanted)])

    def halves(self) -> tuple[Reference, Reference] | None:
        """Every other example and the rest, or batch; None when that is not possible."""
        if self.thinnest is not None:
            return (
                (self._of(self.batches[::2]), self._of(self.batches[1::2])) if len(self.batches) > 1 else None
            )
        cut = [[_strided(batch, offset, 2) for batch in self.batches] for offset in (0, 1)]
        one, other = self._of(cut[0]), self._of(cut[1])
        return (one, other) if one.examples + other.examples == self.examples else None

    def chunks(self, wanted: int) -> Chunks:
        """All examples, at most about ``wanted`` at a time."""
        return Chunks(self, wanted)

    def _of(self, batches: list[Any]) -> Reference:
        part = Reference(thinnest=self.thinnest)
        part.fewest, part.remark = self.fewest, self.remark
        part.batches = batches
        part.sizes = [size_of(batch) for batch in batches]
        part.complete = True
        return part

    def _head(self, batch: Any, room: int) -> Any:
        """The first ``room`` examples; the whole batch where it cannot be cut or is small enough."""
        if self.thinnest == 1 or size_of(batch) <= room or not _cuttable(batch):
            return batch
        return mapped(lambda leaf: cut(leaf, slice(room)), batch)

    def _keep(self, batch: Any) -> None:
        size = size_of(batch)
        if size == 0:
            raise UsageError("The batch holds no tensor with examples; pass one to Probe as reference=.")
        self.batches.append(mapped(_own, batch))
        self.sizes.append(size)


class Chunks:
    """All examples in parts, each cut when it is looked at: to cut hundreds takes longer than a training step."""

    def __init__(self, whole: Reference, wanted: int) -> None:
        self._whole = whole
        self._places: list[tuple[Any, int, int]] = []
        for batch, size in zip(whole.batches, whole.sizes, strict=True):
            whole_only = whole.thinnest is not None or not _cuttable(batch)
            count = 1 if whole_only else max(1, math.ceil(size / max(1, wanted)))
            self._places += [(batch, offset, count) for offset in range(count)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Reference:
        return self._whole._of([_strided(*self._places[place])])

    def __iter__(self) -> Iterator[Reference]:
        return map(self.__getitem__, range(len(self)))


def _is_list_of_batches(given: Any) -> bool:
    """A list of tuples, lists or dicts is several batches; a list (or tuple) of tensors is one."""
    if not isinstance(given, list) or not given:
        return False
    return not any(isinstance(item, Tensor) or is_array(item) for item in given)


def size_of(batch: Any) -> int:
    """How many examples, as far as can be seen: the leading dimension that most tensors share, of several the last.

    Where they differ that is a guess. A graph's edges come in two rows, and its nodes have features and labels; labels
    come last, and there is one for each example. What lies deeper has no say: it may be of a single example (the boxes
    in one image), and where all do so differently the examples lie in lists.
    """
    found = leading(batch)
    least = min((level for level, _ in found), default=0)
    if least > 1 and plain_size(batch) is None and (listed := _listed(batch)):
        return listed
    sizes = [size for level, size in found if level == least]
    shared = Counter(sizes)
    return max(reversed(sizes), key=shared.__getitem__, default=0)


def _listed(batch: Any) -> int:
    """How many examples, of images and boxes in two lists or in a dict for each; 0 where there are no such lists."""
    if isinstance(batch, list):
        several = all(isinstance(each, dict) for each in batch) and any(plain_size(e) is None for e in batch)
        return len(batch) if several else 0  # else these may be micro-batches
    members = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple) else ()
    lengths = {len(member) for member in members if isinstance(member, (list, tuple))}
    return lengths.pop() if len(lengths) == 1 else 0


def plain_size(batch: Any) -> int | None:
    """How many examples, where all tensors say the same; else None."""
    sizes = {size for _, size in leading(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def _strided(batch: Any, offset: int, stride: int) -> Any:
    """Every ``stride``-th example; the whole batch where it cannot be cut so far."""
    if stride <= 1 or not _cuttable(batch) or size_of(batch) < stride:
        return batch
    return mapped(lambda leaf: cut(leaf, slice(offset, None, stride)), batch)


def _cuttable(batch: Any) -> bool:
    """It is plain which dimension counts the examples, and some of them can be taken."""
    size = size_of(batch)
    return all(
        tensor.layout == torch.strided and tensor.dim() > 0 and len(tensor) == size
        for tensor in tensors(batch)
    )


def _own(leaf: Tensor) -> Tensor:
    """A copy that training cannot change, in single precision at least: half has no Hessian worth the name."""
    with torch.inference_mode(False), torch.no_grad():  # else the copy could not be differentiated through
        copy = leaf.detach().clone()
        copy = copy.float() if copy.dtype in (torch.float16, torch.bfloat16) else copy
    return copy.requires_grad_(leaf.requires_grad)
