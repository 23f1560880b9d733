"""A unix socket that listens under our own rules, for libzmq to accept on.

Left to itself, libzmq steals the path from whoever listens there, leaves the mode to the umask, and leaks the
listening descriptor into forked children, so that a dead run still takes connections. With ``ZMQ_USE_FD`` the
descriptor is made, named and closed here.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import weakref
from pathlib import Path
from typing import Protocol

import zmq

from ..errors import LsmonError
from ..places import private

BACKLOG = 64
"""Connections that wait to be accepted: libzmq's own default is 100, and a run has a few viewers."""


class Listener:
    """Binds ``path`` for a zmq socket. Raises LsmonError when another process answers there."""

    def __init__(self, path: Path, to: zmq.Socket[bytes]) -> None:
        self.path = path
        self._to = to
        self._fd = -1
        self._inode = 0
        self._open()
        forsake_in_children(self)

    @property
    def lost(self) -> bool:
        """Whether nobody can connect: paused, or the file is no longer ours, as when a clean-up took it."""
        return self._fd < 0 or not self._owned

    def renew(self) -> None:
        """Listen again under the same path, whose folder may be gone too. Who was connected is cut, and comes back.

        Raises LsmonError.
        """
        private(self.path.parent)
        self._unbind()
        self._open()

    def pause(self) -> None:
        """Listen no more until renewed, and cut who is connected: libzmq ends the connections with what accepted them."""
        self._unbind()

    def close(self) -> None:
        """Take the file away, if it is still ours; closing the zmq socket, next, ends the listening."""
        if self._owned:
            self.path.unlink(missing_ok=True)
        self._fd = -1
        _listeners.discard(self)

    @property
    def _owned(self) -> bool:
        """Whether the file is the one made here."""
        try:
            return self.path.lstat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
            try:
                _bind(ours, self.path)
                self.path.chmod(0o600)  # before listen: nobody has got in yet
                self._inode = self.path.lstat().st_ino
                ours.listen(BACKLOG)
                ours.setblocking(False)
                fd = os.dup(ours.fileno())
            except OSError as error:
                raise LsmonError(
                    f"Cannot listen for viewers ({(error.strerror or str(error)).lower()}); "
                    f"set LSMON_RUNTIME_DIR to another folder than {self.path.parent}"
                ) from None
        if sys.platform == "linux":  # a second lock behind the mode of file and folder
            self._to.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
        self._to.setsockopt(zmq.USE_FD, fd)
        try:
            self._to.bind(f"ipc://{self.path}")
        except zmq.ZMQError as error:
            os.close(fd)
            raise LsmonError(f"Cannot listen for viewers ({str(error).lower()}) at {self.path}") from None
        self._fd = fd  # libzmq's now, and closed by it

    def _unbind(self) -> None:
        if self._fd < 0:
            return
        self._fd = -1
        try:
            self._to.unbind(f"ipc://{self.path}")
        except zmq.ZMQError:
            pass  # the socket is closed already, and with it the descriptor

    def forsake(self) -> None:
        """In a forked child: let go of the descriptor, so that the run ends when its own process does."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _bind(ours: socket.socket, path: Path) -> None:
    """Bind, over a file that nobody listens behind any more but over nobody who does."""
    try:
        ours.bind(os.fspath(path))
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _answers(path):
            raise
        path.unlink(missing_ok=True)
        ours.bind(os.fspath(path))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # a full backlog must not hold us up
        try:
            caller.connect(os.fspath(path))
        except ConnectionRefusedError:
            return not path.is_socket()  # a plain file is somebody's, and stays
        except FileNotFoundError:
            return False
        except OSError:
            return True
    return True


class _Forsaken(Protocol):
    def forsake(self) -> None: ...


_listeners: weakref.WeakSet[_Forsaken] = weakref.WeakSet()


def forsake_in_children(listener: _Forsaken) -> None:
    """A child that is forked while this exists lets go of its descriptor."""
    _listeners.add(listener)


def _after_fork_in_child() -> None:
    for listener in list(_listeners):
        listener.forsake()


os.register_at_fork(after_in_child=_after_fork_in_child)
