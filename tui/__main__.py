"""``python -m lsmon.tui`` is ``lsmon``, for machines on whose PATH the command is not."""

import sys

from .cli import main

sys.exit(main())
