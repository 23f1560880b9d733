"""NumPy's arrays, without loading NumPy where nobody has."""

from __future__ import annotations

import sys
from typing import Any


def is_array(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray
