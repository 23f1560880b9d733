"""Install the built wheel alone and see that it holds the whole tree and that ``lsmon`` runs from it.

Run by ``make wheel``. Dependencies are borrowed from the environment that runs this, the code is not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "probe", "tui", "demo")


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("lsmon-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("lsmon/")}
    tree = {
        f"lsmon/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".tcss", ".typed"} or path.name == "py.typed"
    }
    assert packed == tree, f"missing {sorted(tree - packed)}, extra {sorted(packed - tree)}"

    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            str(site),
            str(wheel),
        ]
        subprocess.run([sys.executable, *install], check=True)
        # -S leaves out the editable checkout; the site folder of the dependencies goes back on the path by hand.
        borrowed = next(path for path in sys.path if path.endswith("site-packages"))
        code = (
            f"import sys; sys.path[:0] = [{str(site)!r}]; sys.path.append({borrowed!r})\n"
            "import lsmon.tui.cli as cli\n"
            f"assert cli.__file__.startswith({str(site)!r}), cli.__file__\n"
            "import lsmon.probe, lsmon.tui.app\n"
            "sys.exit(cli.main(['--version']))"
        )
        run = subprocess.run(
            [sys.executable, "-S", "-c", code], cwd=folder, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0 and run.stdout.startswith("lsmon "), run.stderr
        assert (site / "bin" / "lsmon").exists(), "the wheel has no lsmon command"
    print(f"{wheel.name}: {len(packed)} files, lsmon runs from it")


if __name__ == "__main__":
    main()
