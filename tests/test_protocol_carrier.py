"""How lsmon is called elsewhere: found there without a PATH, quoted for a shell, handed to other carriers as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsmon.protocol.cards import Card, remove_card, write_card
from lsmon.protocol.errors import UsageError
from lsmon.protocol.wire.carrier import Carrier, ssh, via

HOSTILE = "a b;$(touch pwned)`x`'\"\\"
NOWHERE = Carrier("here", ())


def launched(home: Path, *, path: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What the launcher does with ``ls HOSTILE`` where only these folders have programs."""
    environment = {"HOME": str(home), "PATH": path, **({"LSMON_DIR": str(state)} if state else {})}
    command = NOWHERE.command("ls", HOSTILE)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "{says}" "$@"\n')
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A PATH with what any box has, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "head"):
        found = next(Path(place, name) for place in os.defpath.split(":") if Path(place, name).exists())
        (folder / name).symlink_to(found)
    return str(folder)


def test_lsmon_is_found_on_path_then_at_home_then_with_the_python_that_trains(
    tmp_path: Path, tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the words come through whole, whatever they are."""
    assert launched(tmp_path, path=tools).returncode == 127
    state = tmp_path / "state"
    monkeypatch.setenv("LSMON_DIR", str(state))
    trainer = tmp_path / "my env" / "python"
    program(trainer, "trainer")
    monkeypatch.setattr(sys, "executable", str(trainer))
    write_card(Card(run="0a", name="x", host="h", pid=1, boot="", pid_started=0, live="", ask=""))
    remove_card("0a")  # it is known also when nothing trains any more
    assert launched(tmp_path, path=tools, state=state).stdout == f"trainer -m lsmon.tui ls {HOSTILE}\n"
    if os.getuid() == 0:
        os.chown(state / "python", 65534, 65534)  # planted by somebody else
        assert launched(tmp_path, path=tools, state=state).returncode == 127
    program(Path(tools, "python3"), "python3")
    assert launched(tmp_path, path=tools).stdout == f"python3 -m lsmon.tui ls {HOSTILE}\n"
    program(tmp_path / ".local/bin/lsmon", "home")
    assert launched(tmp_path, path=tools).stdout == f"home ls {HOSTILE}\n"
    program(Path(tools, "lsmon"), "path")
    assert launched(tmp_path, path=tools).stdout == f"path ls {HOSTILE}\n"
    assert not list(tmp_path.glob("**/pwned"))


def test_a_python_without_lsmon_is_passed_over(tmp_path: Path, tools: str) -> None:
    Path(tools, "python3").write_text("#!/bin/sh\nexit 1\n")
    Path(tools, "python3").chmod(0o755)
    program(Path(tools, "python"), "python")
    assert launched(tmp_path, path=tools).stdout == f"python -m lsmon.tui ls {HOSTILE}\n"


@pytest.mark.parametrize("remote_command", [(), ("echo",)])
def test_a_far_shell_gives_back_the_words_that_ssh_was_given(
    tmp_path: Path, tools: str, remote_command: tuple[str, ...]
) -> None:
    """The last word of ssh's command line is a shell's whole input."""
    program(Path(tools, "lsmon"), "echo")
    said = subprocess.run(
        ["sh", "-c", ssh("box", remote_command).command("relay", HOSTILE)[-1]],
        env={"PATH": tools, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert said.stdout.removeprefix("echo ") == f"relay {HOSTILE}\n"
    assert not (tmp_path / "pwned").exists()


def test_other_carriers_get_the_words_themselves_and_no_shell() -> None:
    carrier = via("kubectl exec -i 'my pod' --", ("/opt/my env/lsmon",))
    assert carrier.command("relay", HOSTILE) == [
        "kubectl", "exec", "-i", "my pod", "--", "/opt/my env/lsmon", "relay", HOSTILE,
    ]  # fmt: skip
    said = subprocess.run(
        via(f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))'").command("ls"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(said.stdout)[-2:] == ["lsmon", "ls"]


@pytest.mark.parametrize("prefix", ["", "  ", "kubectl exec 'pod", "docker exec box\\"])
def test_what_is_no_command_line_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="--via"):
        via(prefix)


@pytest.mark.parametrize(
    ("carrier", "code", "why", "sentence"),
    [
        (via("docker exec box"), 1, "Error response from daemon: No such container: box", "docker exec box says: Error"),
        (via("docker exec box"), 127, "sh: lsmon: not found", r"not installed there.*\(sh: lsmon: not found\).*docker exec"),
        (via("srun --overlap"), 1, "", r"not lsmon \(exit code 1\)"),
        (ssh("box"), 2, "lsmon: Unrecognized arguments: --acks; see", "older one.*update it there.*box"),
        (ssh("box"), 255, "ssh: no route", r"Cannot connect \(ssh: no route\)"),
        (via("ssh box"), 255, "ssh: no route", "ssh box says: ssh: no route"),
    ],
)  # fmt: skip
def test_a_failure_is_one_sentence_with_the_remedy(
    carrier: Carrier, code: int, why: str, sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(carrier.failure(code, why))


def test_a_connection_that_failed_is_told_from_an_lsmon_that_did() -> None:
    """Only the first is tried again."""
    for carrier, code in ((ssh("box"), 255), (ssh("box"), -9), (via("kubectl exec pod --"), 1)):
        assert carrier.is_broken(code, "Connection reset")
    for carrier, code in ((ssh("box"), 1), (via("kubectl exec pod --"), 1)):
        assert not carrier.is_broken(code, "lsmon: No live run is called 'x'.")
