"""The house rules that a machine can check: arrows, sizes, packaging."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "probe", "tui", "demo")


def loaded_by(code: str) -> set[str]:
    """Top-level modules in ``sys.modules`` of a fresh interpreter that ran ``code``."""
    script = f"{code}\nimport sys; print('\\n' + ' '.join({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.splitlines()[-1].split())


def modules(room: str) -> list[str]:
    return [
        "lsmon." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "__main__.py"
    ]


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("protocol", {"torch", "textual", "rich"}),
        ("probe", {"textual", "rich"}),
        ("tui", {"torch"}),
    ],
)
def test_a_room_loads_nothing_that_is_not_its_own(room: str, never: set[str]) -> None:
    code = "import " + ", ".join(modules(room))
    assert not loaded_by(code) & never


def test_importing_the_probe_loads_neither_torch_nor_sockets() -> None:
    assert not loaded_by("import lsmon.probe") & {"torch", "numpy", "zmq", "mcap"}


@pytest.mark.parametrize("command", ["--help", "ls --json", "relay --help", "tail --help", "doctor --help"])
def test_light_commands_load_neither_textual_nor_numpy_nor_torch(command: str, tmp_path: Path) -> None:
    code = (
        f"import os; os.environ['LSMON_DIR'] = {str(tmp_path)!r}\n"
        "from lsmon.tui.cli import main\n"
        f"try: main({command.split()!r})\nexcept SystemExit: pass"
    )
    assert not loaded_by(code) & {"textual", "numpy", "torch", "rich"}


def test_every_folder_with_code_is_in_the_package_list() -> None:
    """A forgotten subpackage works in a checkout and is missing from the wheel."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "lsmon." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


def test_no_file_outgrows_its_one_idea() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for room in (*ROOMS, "tests")
        for path in (ROOT / room).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "base", "misc"}
    assert not [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.stem in vague]


def test_each_room_says_what_it_is() -> None:
    for room in ROOMS:
        text = (ROOT / room / "__init__.py").read_text()
        assert text.startswith('"""') and len(text.splitlines()) >= 4
