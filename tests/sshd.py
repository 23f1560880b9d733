"""A real sshd on this machine, as several hosts of a user's ssh config, and a network between that can fail."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lsmon.protocol.wire.carrier import ssh

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Compiled into sshd; root's must exist, which is the package's or the service's business."""

SSHD_CONFIG = """
Port {port}
Port {gate}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel INFO
AllowTcpForwarding no
ForceCommand echo "Welcome to a noisy shell."; export LSMON_DIR={folder}; eval "$SSH_ORIGINAL_COMMAND"; code=$?; echo "Bye."; exit $code
Match LocalPort {gate}
  AllowTcpForwarding yes
"""

SSH_CONFIG = """
Host wire
  Port {wire}
Host nobody
  Port {closed}
Host gate
  Port {gate}
Host behind
  ProxyJump gate
Host shared
  ControlMaster auto
  ControlPath {folder}/master
  ControlPersist 60
Host stranger
  IdentityFile {folder}/host_key
Host changed
  UserKnownHostsFile {folder}/others
  StrictHostKeyChecking yes
  LogLevel FATAL
Host * !stranger
  IdentityFile {folder}/user_key
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentitiesOnly yes
  IdentityAgent none
  StrictHostKeyChecking no
  UserKnownHostsFile {folder}/known_hosts
  LogLevel ERROR
"""
"""``box`` is any other name. ssh takes the first value that it finds."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Wire:
    """A port that leads to another, until somebody does something to the network."""

    def __init__(self, to: int, port: int = 0) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._dark: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Both ends of every connection learn at once that it is over."""
        with self._lock:
            ends, self._ends = self._ends, []
        _shut(*ends)

    def forget(self) -> None:
        """What goes into a connection that stands is lost, and nobody is told: as after a change of network."""
        with self._lock:
            self._dark.update(self._ends)

    def close(self) -> None:
        _shut(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            with self._lock:
                self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._carry, args=(source, sink), daemon=True))
                self._threads[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if source not in self._dark:
                    sink.sendall(data)
        except OSError:
            pass
        _shut(source, sink)
        source.close()  # the sink is another thread's


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Sshd:
    """Runs until it is closed; ``$LSMON_SSH`` then leads to it, whatever the host is called."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.port = free_port()
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        self.wire = Wire(self.port)
        values = {
            "port": self.port, "gate": free_port(), "closed": free_port(), "wire": self.wire.port,
            "folder": folder, "user": getpass.getuser(),
        }  # fmt: skip
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(**values))
        (folder / "ssh_config").write_text(SSH_CONFIG.format(**values))
        key = (folder / "user_key.pub").read_text()
        (folder / "others").write_text(f"[127.0.0.1]:{self.port} {key}")
        self._made = os.getuid() == 0 and not PRIVILEGE_SEPARATION.exists()
        if self._made:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)
        self._log = (folder / "log").open("wb")
        assert SSHD is not None
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=self._log)
        patch.setenv("LSMON_DIR", str(folder))
        patch.setenv("LSMON_SSH", f"ssh -F {folder}/ssh_config")
        deadline = time.monotonic() + 15
        knock = ssh("box", ("true",)).command()
        while subprocess.run(knock, check=False, capture_output=True).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                pytest.skip(f"sshd does not serve here: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.05)

    @property
    def logins(self) -> int:
        """How often somebody has been let in."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def control(self, order: str) -> subprocess.CompletedProcess[str]:
        """Speak to the master connection of ``shared``."""
        command = ["ssh", "-F", str(self.folder / "ssh_config"), "-O", order, "shared"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def close(self) -> None:
        self.control("exit")
        self.wire.close()
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
        if self._made:
            PRIVILEGE_SEPARATION.rmdir()
