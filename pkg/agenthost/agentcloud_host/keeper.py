"""Keeps a forked agent where no namespace does: stays its parent, says how it
ended, and ends with it whatever it has left behind."""

import ctypes
import os
import select
import signal
import socket

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SWEEPS = 10  # bounds how often orphans of orphans are looked for


def fork(born) -> int:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            born()
        os._exit(1)
    return pid


def keep(connection: socket.socket, pid: int) -> None:
    connection.settimeout(None)
    status = _end(connection, pid)
    _sweep()
    connection.send(b"%d" % status)


def _end(connection: socket.socket, pid: int) -> int:
    """How the agent ended, by itself or because whoever asked for it is gone."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    heard = [read, connection]
    while True:
        for ended, status in _ended():
            if ended == pid:
                return status
        ready, _, _ = select.select(heard, [], [])
        if connection in ready:  # only its end can be read
            os.kill(pid, signal.SIGKILL)
            heard.remove(connection)
        if read in ready:
            os.read(read, 64)


def _ended():
    """Children that have ended; orphans of the agent are some."""
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            yield child
    except ChildProcessError:
        return


def _sweep() -> None:
    for _ in range(_SWEEPS):
        children = _children()
        if not children:
            return
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _children() -> "list[int]":
    me, found = str(os.getpid()), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[1] == me:
                    found.append(int(name))
        except OSError:
            continue  # it has just ended
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, value, 0, 0, 0) != 0:
        raise OSError("prctl")
