"""The local learning coefficient of a checkpoint, in a process of its own, beside the training or after it::

    python -m lsmon.probe.sample train.py:parts checkpoint.pt

``parts()`` in ``train.py`` (or ``package.module:parts``) gives what ``llc`` takes: the model, ``loss_fn(model, data)`` and the
data. The checkpoint is what ``torch.save`` made of ``model.state_dict()``, or a dictionary with that in it; it is read without
running any code that it may hold. Without one the model is taken as ``parts()`` gives it. The process gives way to all others.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module, util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lsmon.protocol.errors import LsmonError, UsageError

from .coefficient import CHAINS, STEPS, LearningCoefficient, llc
from .subject import unwrap

USUAL = ("model", "state_dict", "model_state_dict")
"""Where a checkpoint of more than the model keeps its parameters."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before a parameter's name."""

GIVES_WAY = 10
"""The niceness of the process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 fine, 1 error, 2 usage, 130 interrupted."""
    parser = ArgumentParser(prog="python -m lsmon.probe.sample", description="The local learning coefficient of a checkpoint by Langevin sampling.")  # fmt: skip
    parser.add_argument(
        "source", metavar="FILE.py:FUNCTION", help="gives the model, loss_fn(model, data) and the data"
    )
    parser.add_argument("checkpoint", nargs="?", help="a state dict, or a dictionary with one in it")
    parser.add_argument("--key", help="where in the checkpoint the state dict is")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each chain (%(default)s)")
    parser.add_argument("--chains", type=int, default=CHAINS, help="(%(default)s)")
    parser.add_argument("--examples", type=int, help="n, by default those of the data")
    parser.add_argument("--temperature", type=float, help="by default ln n / n")
    parser.add_argument("--gamma", type=float, default=1.0, help="strength of the localisation (%(default)s)")
    parser.add_argument("--lr", type=float, help="by default 0.1 over the sharpness")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(argv)
    settings = {
        name: value
        for name, value in vars(given).items()
        if name not in ("source", "checkpoint", "key", "json")
    }
    try:
        model, loss_fn, data = _parts(given.source)
        if given.checkpoint:
            _load(model, given.checkpoint, given.key)
        found = llc(model, loss_fn, data, **settings)
    except LsmonError as error:
        if os.environ.get("LSMON_LOG") == "debug":
            raise
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    sys.stdout.write((_object(found) if given.json else _words(found)) + "\n")
    return 0


def _parts(source: str) -> tuple[nn.Module, Callable[[Any, Any], Any], Any]:
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise UsageError(f"{source} does not name a function; write FILE.py:FUNCTION or MODULE:FUNCTION.")
    try:
        function = getattr(_module(place), name)
        model, loss_fn, data = function()
    except Exception as error:
        raise LsmonError(
            f"{source} gave no model, loss_fn and data: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module) or not callable(loss_fn):
        raise LsmonError(f"{source} must return a model, loss_fn(model, data) and the data, in this order.")
    return model, loss_fn, data


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return import_module(place)
    path = Path(place)
    sys.path.insert(0, str(path.resolve().parent))  # as for a script, so that it finds what lies beside it
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _load(model: nn.Module, path: str, key: str | None) -> None:
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise LsmonError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise LsmonError(
            f"{path} is not a checkpoint of tensors and plain values; save model.state_dict()."
        ) from error
    state = _state(kept, path, key)
    try:
        unwrap(model).load_state_dict(state)
    except RuntimeError as error:
        raise LsmonError(f"{path} does not fit the model: {' '.join(str(error).split())[:300]}") from error


def _state(kept: Any, path: str, key: str | None) -> dict[str, Tensor]:
    """The parameters by name, without the names of wrappers."""
    if key is None and isinstance(kept, Mapping):
        key = next((name for name in USUAL if isinstance(kept.get(name), Mapping)), None)
    if key is not None:
        kept = kept.get(key) if isinstance(kept, Mapping) else None
    if not isinstance(kept, Mapping) or not all(isinstance(value, Tensor) for value in kept.values()):
        raise UsageError(
            f"{path} has no state dict{f' under {key}' if key else ''}; name its place with --key."
        )
    state = {}
    for name, value in kept.items():
        while name.startswith(WRAPPERS):
            name = name.split(".", 1)[1]
        state[name] = value
    return state


def _object(found: LearningCoefficient) -> str:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(found).items()
    }
    plain["chains"] = [value if math.isfinite(value) else None for value in found.chains]
    return json.dumps(plain)


def _words(found: LearningCoefficient) -> str:
    doubt = f"\nnot converged: {found.not_converged}" if found.not_converged else ""
    return (
        f"learning coefficient {found.value:.4g} ± {2 * found.se:.2g} (2σ) at T = {found.temperature:.3g}, "
        f"loss {found.loss:.4g}; {len(found.chains)} chains, {found.gradients} gradients, η = {found.lr:.2g}{doubt}"
    )


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(GIVES_WAY)
    sys.exit(main())
