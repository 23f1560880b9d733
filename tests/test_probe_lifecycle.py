"""What processes do to a probe: forks, workers, signals, exits without a word, notebooks, copies, a thousand in turn."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import closing
from pathlib import Path

import pytest
from torch import nn

from lsmon.probe import Probe
from lsmon.protocol.cards import read_cards
from lsmon.protocol.frames import UNNUMBERED, AnyFrame, Mark, RunEnded, Scalars
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording
from tests.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path / "sockets"))
    return tmp_path


def begin(code: str, home: Path, *flags: str) -> subprocess.Popen[str]:
    """A script in a process of its own; it says ``ready`` by a line on stdout."""
    script = home / "script.py"
    script.write_text(code)
    return subprocess.Popen(
        [sys.executable, *flags, str(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(code: str, home: Path, *flags: str, fails: bool = False) -> str:
    """To its end; what it said on stderr."""
    process = begin(code, home, *flags)
    _, err = process.communicate(timeout=60)
    assert bool(process.returncode) == fails, err
    return err


def runs(home: Path) -> list[list[AnyFrame]]:
    """The frames of every recording, the newest first; whole, and numbered without a hole."""
    found = []
    for folder in list_recordings(home / "recordings"):
        with closing(Recording.open(folder)) as recording:
            frames: list[AnyFrame] = [f for f in recording.frames() if not isinstance(f, UNNUMBERED)]
            assert recording.damage == ()
        assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
        found.append(frames)
    return found


def losses(frames: list[AnyFrame]) -> list[float]:
    return [frame.values["loss"] for frame in frames if isinstance(frame, Scalars)]


def ends(frames: list[AnyFrame]) -> list[str]:
    return [f"{frame.reason}: {frame.error}" for frame in frames if isinstance(frame, RunEnded)]


LOADER = """
import multiprocessing, sys, warnings
import torch
from torch.utils.data import DataLoader, Dataset
from lsmon.probe import Probe

warnings.simplefilter("ignore")

class Data(Dataset):
    probe = None
    def __len__(self): return 40
    def __getitem__(self, index):
        if self.probe is not None:
            self.probe.step(666.0)
            self.probe.log(loss=666.0)
        return torch.ones(2) * index

if __name__ == "__main__":
    torch.set_num_threads(1)
    data = Data()
    with Probe(name="loader") as probe:
        data.probe = probe
        loader = DataLoader(data, 4, num_workers=1, multiprocessing_context=sys.argv[1])
        for batch in loader:
            probe.step(1.0)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_say_nothing(home: Path, method: str) -> None:
    """Though the data set holds the probe and calls it: forked or pickled, a worker's copy is switched off."""
    script = home / "script.py"
    script.write_text(LOADER)
    done = subprocess.run(
        [sys.executable, str(script), method], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (frames,) = runs(home)
    assert losses(frames) == [1.0] * 10
    assert ends(frames) == ["finished: "]


def test_a_forked_child_may_have_a_probe_of_its_own(home: Path) -> None:
    """Parent and child are two runs; neither disturbs the other."""
    run(
        """
import os, warnings
warnings.simplefilter("ignore")
from lsmon.probe import Probe
with Probe(name="parent") as parent:
    parent.step(1.0)
    child = os.fork()
    if child == 0:
        with Probe(name="child") as own:
            own.step(2.0)
            parent.step(666.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    parent.step(1.0)
""",
        home,
    )
    assert sorted(losses(frames) for frames in runs(home)) == [[1.0, 1.0], [2.0]]


def test_a_subprocess_inherits_nothing(home: Path) -> None:
    """Neither sockets nor files: what a training starts and leaves behind cannot hold them open."""
    out = run(
        """
import os, subprocess, sys
from lsmon.probe import Probe
with Probe(name="parent") as probe:
    probe.step(1.0)
    said = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True)
    sys.stderr.write(said.stdout)
""",
        home,
    )
    assert "mcap" not in out and "socket:" not in out and out


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGTERM)", "os.abort()"])
def test_what_was_flushed_survives_an_exit_without_a_word(home: Path, how: str) -> None:
    """``os._exit``, a scheduler's SIGTERM and a crash in C run no exit handler: the recording has no end, and no damage."""
    run(
        f"""
import os, signal, time
from lsmon.probe import Probe
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording
from pathlib import Path
probe = Probe(name="cut")
for step in range(100): probe.step(1.0)
(folder,) = list_recordings(Path(os.environ["LSMON_DIR"]) / "recordings")
def recorded():
    with Recording.open(folder) as recording: return recording.last_step
deadline = time.monotonic() + 20
while recorded() < 100:
    assert time.monotonic() < deadline
    time.sleep(0.01)
{how}
""",
        home,
        fails=True,
    )
    (frames,) = runs(home)
    assert losses(frames) == [1.0] * 100 and ends(frames) == []
    assert not any(card.alive for card in read_cards())


def test_a_sigterm_that_the_script_handles_is_its_end(home: Path) -> None:
    """The usual handler of a preempted job raises SystemExit: that ends the record, with its code."""
    process = begin(
        """
import signal, sys, time
from lsmon.probe import Probe
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with Probe(name="preempted") as probe:
    probe.step(1.0)
    print("ready", flush=True)
    while True: time.sleep(0.01)
""",
        home,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert ends(runs(home)[0]) == ["error: SystemExit: 143"]


def test_ctrl_c_twice_ends_at_once_and_is_recorded(home: Path) -> None:
    """The second one comes while ``close`` waits for a slow disk: it is not swallowed, and the end is written at exit."""
    process = begin(
        """
import signal, sys, time
from lsmon.probe import Probe
from lsmon.protocol.recording.outfile import OutFile
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests in the background
finish = OutFile.finish
def slowly(self):
    print("finishing", flush=True)
    while not hasattr(sys, "last_value"):  # the interpreter is on its way out
        time.sleep(0.001)
    finish(self)
OutFile.finish = slowly
with Probe(name="impatient") as probe:
    probe.step(1.0)
    print("ready", flush=True)
    while True: time.sleep(0.01)
""",
        home,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "finishing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and err.count("KeyboardInterrupt") >= 2, err
    assert ends(runs(home)[0]) == ["error: KeyboardInterrupt"]


def test_an_exception_is_recorded_and_the_hooks_of_the_script_are_called(home: Path) -> None:
    """By the end of the interpreter alone: no hook is replaced, and each gets what it would have got."""
    err = run(
        """
import atexit, sys
from lsmon.probe import Probe
sys.excepthook = lambda kind, error, trace: sys.stderr.write(f"my hook: {kind.__name__}: {error}\\n")
before = sys.excepthook
atexit.register(lambda: sys.stderr.write("my exit\\n"))
probe = Probe(name="fails")
assert sys.excepthook is before
probe.step(1.0)
class Diverged(Exception): pass
raise Diverged("loss is nan\\nat step 1")
""",
        home,
        fails=True,
    )
    assert err == "my hook: Diverged: loss is nan\nat step 1\nmy exit\n"
    assert ends(runs(home)[0]) == ["error: Diverged: loss is nan\nat step 1"]


def test_a_cell_that_is_run_again_replaces_the_probe(home: Path) -> None:
    """Under one name there is one run at a time, though something keeps the old probe; what another cell raised is not
    this run's end; two names are two runs."""
    process = begin("", home, "-i")
    out, err = process.communicate(
        """
from lsmon.probe import Probe
from lsmon.protocol.cards import read_cards
kept = []
for _ in range(3):
    kept.append(Probe(name="cell"))
    kept[-1].step(1.0)

other = Probe(name="other")
print(sorted(card.name for card in read_cards()))
1 / 0
""",
        timeout=60,
    )
    assert "['cell', 'other']" in out, (out, err)
    assert err.count("lsmon: the probe 'cell' of before is closed") == 2
    assert [ends(frames) for frames in runs(home)] == [["finished: "]] * 4
    marks = [frame.note for frames in runs(home) for frame in frames if isinstance(frame, Mark)]
    assert marks == ["replaced by a new probe"] * 2


def test_a_probe_that_was_dropped_ends_its_run_and_frees_the_model(home: Path) -> None:
    """A function that forgot ``close``: no thread of ours keeps what it trained."""

    def train() -> weakref.ref[nn.Module]:
        model = nn.Linear(2, 1)
        probe = Probe(model, name="dropped")
        probe.step(1.0)
        return weakref.ref(model)

    model = train()
    gc.collect()
    assert model() is None
    until(lambda: not read_cards())
    assert ends(runs(home)[0]) == ["finished: "]
    assert losses(runs(home)[0]) == [1.0]


def test_a_copy_is_silent(home: Path) -> None:
    """Trainers are copied and pickled with all they hold."""
    with Probe(name="original") as probe:
        for twin in (copy.deepcopy(probe), copy.copy(probe), pickle.loads(pickle.dumps(probe))):
            twin.step(666.0)
            twin.log(loss=666.0)
            twin.close()
            assert twin.share == 0.0
        probe.step(1.0)
    assert [losses(frames) for frames in runs(home)] == [[1.0]]


def test_two_probes_in_one_process_are_two_runs(home: Path) -> None:
    """Also under one name: only where a person types is the one before replaced."""
    with Probe(name="gan") as first, Probe(name="gan") as second:
        for _ in range(50):
            first.step(1.0)
            second.step(2.0)
        assert len(read_cards()) == 2
    assert sorted(losses(frames) for frames in runs(home)) == [[1.0] * 50, [2.0] * 50]


def test_a_loop_may_change_its_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``LSMON_DIR`` is relative everything stays where it began, and is cleared away there."""
    for place in ("there", "elsewhere"):
        (home / place).mkdir()
    monkeypatch.chdir(home / "there")
    monkeypatch.setenv("LSMON_DIR", "runs of mine")
    with Probe(name="hydra") as probe:
        probe.step(1.0)
        monkeypatch.chdir(home / "elsewhere")
        probe.step(2.0)
    assert not list((home / "elsewhere").iterdir())
    assert list((home / "there/runs of mine/recordings").iterdir())
    assert not list((home / "there/runs of mine/runs").iterdir())


def held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_many_probes_in_turn_leave_nothing_behind(home: Path) -> None:
    """Descriptors and threads after sixty are those after five, whether closed or dropped."""

    def one(close: bool) -> None:
        probe = Probe(name="sweep")
        probe.step(1.0)
        if close:
            probe.close()

    for _ in range(5):
        one(True)
    before = held()
    for index in range(60):
        one(index % 4 > 0)
    gc.collect()
    until(lambda: held() <= before)
    assert not read_cards()
    assert list((home / "sockets").iterdir()) == []


def test_it_works_without_docstrings_and_assertions(home: Path) -> None:
    """Under ``python -OO``: a run, its recording, and the command line."""
    run(
        """
from lsmon.probe import Probe
from lsmon.tui.cli import main
with Probe(name="optimised", sensors="full") as probe:
    for _ in range(30):
        probe.step(1.0)
    probe.mark("here")
commands = ["ls", "ls --json", "info optimised", "tail optimised", "alerts optimised", "prune --keep 1", "replay --help"]
assert False, "assertions are off"
for command in commands:
    try:
        code = main(command.split())
    except SystemExit as end:
        code = end.code
    if code:
        raise SystemExit(f"{command}: {code}")
""",
        home,
        "-OO",
    )
    (frames,) = runs(home)
    assert ends(frames) == ["finished: "] and losses(frames) == [1.0] * 30
