"""Runs every benchmark in this folder in turn, each in a process of its own: ``python -m tests.bench [NAME ...]``.

What begins with ``--`` and all behind it is for the benchmarks: ``python -m tests.bench kills --rounds 200``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Exit code 1 when one of them could not finish; the others run all the same."""
    options = next((index for index, word in enumerate(words) if word.startswith("--")), len(words))
    wanted, given = words[:options], words[options:]
    scripts = Path(__file__).parent.glob("[!_]*.py")
    found = sorted(path.stem for path in scripts if "\ndef main(" in path.read_text())
    unknown = set(wanted) - set(found)
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}.")
    failed = []
    for name in wanted or found:
        print(f"\n{name}\n{'─' * len(name)}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *given], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nnot finished: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
