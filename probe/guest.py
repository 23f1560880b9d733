"""What a call by the training loop is: the probe is a guest there, and what goes wrong in it stays with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .measuring import measuring
from .signals import gradients, heed, restore_gradients


class Guest(Protocol):
    """``_on``: whether it does anything at all."""

    _on: bool

    def _fault(self, part: str, error: Exception) -> None: ...


_Guest = TypeVar("_Guest", bound=Guest)
_Call = ParamSpec("_Call")


def guest(method: Callable[Concatenate[_Guest, _Call], None]) -> Callable[Concatenate[_Guest, _Call], None]:
    """Nothing when the probe is off, nor in a measurement of its own, and no exception of ours comes out."""

    @functools.wraps(method)
    def call(self: _Guest, /, *args: _Call.args, **kwargs: _Call.kwargs) -> None:
        if self._on and not measuring():
            on = gradients()
            try:
                method(self, *args, **kwargs)
            except BaseException as error:
                restore_gradients(on)
                if not isinstance(error, Exception):  # Ctrl-C, and in a notebook the loop may go on
                    raise
                heed(error)
                self._fault(method.__name__, error)  # the oath: it ends here, whatever it is

    return call
