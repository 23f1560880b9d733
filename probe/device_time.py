"""What a turn really took: on a GPU its work goes on after the call has returned, and delays the training all the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

Told = Callable[[float], None]


class DeviceTime:
    """A pair of events around each turn, polled later and never waited for; without a CUDA device there are none.

    ``make`` gives an event with ``record``, ``query`` and ``elapsed_time`` in milliseconds; tests give their own.
    """

    def __init__(self, model: Any, make: Callable[[], Any] | None = None) -> None:
        self._make = make or _events(model)
        self._pending: deque[tuple[Any, Any, float, Told]] = deque()

    def begin(self) -> Any:
        """To be given to ``end``; None where the host's clock tells all."""
        return None if self._make is None else self._recorded(self._make)

    def end(self, begun: Any, host: float, told: Told) -> None:
        """The turn took ``host`` seconds of the calling thread. ``told`` gets the larger of that and the device's
        seconds, as soon as they are known."""
        if begun is None or self._make is None:
            told(host)
        else:
            self._pending.append((begun, self._recorded(self._make), host, told))

    def poll(self) -> None:
        """Tell what has become known since, in order."""
        while self._pending and self._pending[0][1].query():
            begun, ended, host, told = self._pending.popleft()
            told(max(host, begun.elapsed_time(ended) / 1e3))

    @staticmethod
    def _recorded(make: Callable[[], Any]) -> Any:
        event = make()
        event.record()
        return event


def on_processor(model: Any) -> bool:
    """Whether all that is done for it is done by this process."""
    parameters = getattr(model, "parameters", None)
    return parameters is not None and all(p.device.type == "cpu" for p in parameters())


def _events(model: Any) -> Callable[[], Any] | None:
    parameters = getattr(model, "parameters", None)
    if parameters is None:
        return None
    device = next((p.device for p in parameters() if p.device.type == "cuda"), None)
    if device is None:
        return None
    import torch  # loaded already, since the model has parameters

    def make() -> Any:
        with torch.cuda.device(device):
            return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    return make
