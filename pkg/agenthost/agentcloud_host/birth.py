"""How a fork of a zygote becomes an agent as if it had been started: in the
namespaces, groups and folder of the one who asked, with its environment and
descriptors, and nothing of the zygote's that two agents must not share.

    zygote ── fork ── courier ── fork ── midwife ── fork ── agent
                      enters what          ends, so that the agent is the child
                      the order names      of its namespace's first process

Without namespaces there is no midwife: the courier stays and keeps the agent
(keeper.py).
"""

import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import sys

from agentcloud_host import contract, keeper

# What the descriptors that come with an order become; those beyond are namespaces.
TARGETS = (1, 2, contract.FD_LAUNCH, contract.FD_LISTENER, contract.FD_LOG, contract.FD_STATUS)
_LONGEST = 64 << 10  # of an order
_PATIENCE = 20.0  # seconds for each word of the one who asked
_ABOVE = 64  # descriptors wait above this for their place
_NOT_BORN = 125
_GO = b"!"
_ARG_END = 46  # of /proc/self/stat after the name, proc(5)


def deliver(control: socket.socket, order: int, live) -> None:
    """The forked process from its first moment on; does not return."""
    code = _NOT_BORN
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        connection = socket.socket(fileno=order)
        connection.settimeout(_PATIENCE)
        told, fds = _read(connection)
        namespaces = fds[len(TARGETS):]
        _enter(told["groups"], namespaces)
        _hand_over(connection, fds, bool(namespaces), lambda wait: _live(told, fds, wait, live))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as err:
        print("become an agent:", repr(err), file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _read(connection: socket.socket) -> "tuple[dict, list[int]]":
    text, fds, _, _ = socket.recv_fds(connection, _LONGEST, 16)
    if len(fds) < len(TARGETS):
        raise ValueError(f"the order has {len(fds)} descriptors")
    return json.loads(text), fds


def _enter(groups: "list[str]", namespaces: "list[int]") -> None:
    """What the agent is born in: this process's children are, too."""
    for group in groups:
        with open(group, "wb", buffering=0) as f:
            f.write(b"0")
    libc = ctypes.CDLL(None, use_errno=True)
    for fd in namespaces:
        if libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "enter a namespace")


def _hand_over(connection: socket.socket, fds: "list[int]", contained: bool, agent) -> None:
    """Says the agent's number once it has its parent, and lets it live when it is told to.
    Whoever asked and has given up starts another."""
    wait, go = os.pipe()

    def born() -> None:
        os.close(go)
        connection.close()
        agent(wait)

    pid = _by_midwife(born) if contained else keeper.fork(born)
    connection.send(b"%d" % pid)
    if connection.recv(1) != _GO:
        raise EOFError("nobody waits for it")
    os.write(go, _GO)
    if not contained:
        for fd in (wait, go, *fds):
            os.close(fd)
        keeper.keep(connection, pid)


def _by_midwife(born) -> int:
    """Forks; the number is as the namespace counts."""
    read, write = os.pipe()
    midwife = os.fork()
    if midwife == 0:
        pid = os.fork()
        if pid == 0:
            born()
        os.write(write, b"%d" % pid)
        os._exit(0)
    os.close(write)
    os.waitpid(midwife, 0)
    return int(os.read(read, 32))


def _live(told: dict, fds: "list[int]", wait: int, live) -> None:
    if os.read(wait, 1) != _GO:
        os._exit(_NOT_BORN)
    _wire(fds)
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(pair.split("=", 1) for pair in told["env"])
    os.chdir(told["dir"])
    *_, host, role = told["args"]
    sys.argv = [host, role]
    _refresh(role)
    live(role)
    sys.exit(0)


def _wire(fds: "list[int]") -> None:
    """The descriptors that an exec would have left, and no other."""
    null = os.open(os.devnull, os.O_RDONLY)
    waiting = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE) for fd in [null, *fds[:len(TARGETS)]]]
    for fd, target in zip(waiting, (0, *TARGETS)):
        os.dup2(fd, target)
    for fd in descriptors():
        if fd > max(TARGETS):
            os.close(fd)


def descriptors() -> "list[int]":
    """This process's open descriptors."""
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if _open(fd)]  # not the one that listed them


def _open(fd: int) -> bool:
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


def _refresh(role: str) -> None:
    """What an import may have drawn or remembered once for all its forks."""
    random.seed()
    loaded = sys.modules.get
    if numpy := loaded("numpy.random"):
        numpy.seed()
    if ssl := loaded("ssl"):
        ssl.RAND_add(os.urandom(32), 32.0)  # it tells forks by their number, which namespaces repeat
    if tempfile := loaded("tempfile"):
        tempfile.tempdir = None
    _rename(role)


def _rename(role: str) -> None:
    """What ps shows: the last argument is the role. All of them have the same length."""
    with open("/proc/self/stat") as f:
        end = int(f.read().rsplit(")", 1)[1].split()[_ARG_END])
    old, new = contract.ZYGOTE.encode() + b"\0", role.encode() + b"\0"
    if end and len(old) == len(new) and ctypes.string_at(end - len(old), len(old)) == old:
        ctypes.memmove(end - len(new), new, len(new))
