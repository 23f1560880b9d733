"""Values that may still be on a device: read on the host without ever making the training thread wait for it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Reading(Protocol):
    """A number, or several, on the way to the host."""

    def ready(self) -> bool: ...

    def values(self) -> list[float]:
        """The numbers. Waits for them when they are not ready: ask only on a thread that may wait."""
        ...


class _Here:
    """Already on the host."""

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def ready(self) -> bool:
        return True

    def values(self) -> list[float]:
        return self._values


class _Pinned:
    """On a CUDA device: a copy into pinned memory and an event behind it, both queued on the current stream."""

    def __init__(self, tensor: Tensor) -> None:
        import torch

        flat = tensor.detach().reshape(-1)
        self._host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
        with torch.cuda.device(flat.device):
            self._host.copy_(flat, non_blocking=True)
            self._event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def ready(self) -> bool:
        return bool(self._event.query())

    def values(self) -> list[float]:
        self._event.synchronize()
        return [float(value) for value in self._host.tolist()]


class _Elsewhere:
    """On a device without such events (mps, xpu): a copy on the device, which the sending thread fetches."""

    def __init__(self, tensor: Tensor) -> None:
        self._copy = tensor.detach().reshape(-1).clone()

    def ready(self) -> bool:
        return True

    def values(self) -> list[float]:
        return [float(value) for value in self._copy.tolist()]


def read(tensor: Tensor) -> Reading:
    """Begin to read a tensor of any shape (flattened) from any device."""
    if tensor.device.type == "cpu":
        return _Here([float(value) for value in tensor.detach().reshape(-1).tolist()])
    return _Pinned(tensor) if tensor.device.type == "cuda" else _Elsewhere(tensor)


def number(value: Any) -> float | Reading:
    """One number from whatever a loop logs: a Python or numpy number, or an array or tensor of one element.

    Raises TypeError, ValueError or RuntimeError for anything else.
    """
    kind = type(value)
    if kind is float or kind is int:
        return float(value)
    torch = sys.modules.get("torch")  # a tensor can only be one when torch is loaded
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_cpu:
            return float(value.item())
        if value.numel() == 1:
            return read(value)
        raise TypeError(f"a tensor of shape {tuple(value.shape)} is not one number")
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{value!r:.40} is not a number")
    if getattr(value, "size", 0) == 1 and hasattr(value, "item"):
        if getattr(value, "mask", False):  # numpy's masked arrays: under the mask lies anything
            raise TypeError("what is masked is no number")
        return float(value.item())  # of an array float() is to go, and numpy warns
    return float(value)


def arrived(values: Iterable[Any]) -> bool:
    """Whether all of these floats and Readings can be taken: also where a device that failed will never give one, which is told then."""
    try:
        return all(type(value) is float or value.ready() for value in values)
    except Exception:  # noqa: BLE001  whatever a device says
        return True


def taken(value: Any) -> float:
    """The number itself, of a float or a Reading. Raises whatever a device says that failed."""
    return value if type(value) is float else float(value.values()[0])
