"""A process that has imported what agents of its environment need, and forks them.

It runs nobody's code and is told nothing about anybody: an order is read by the
process forked for it. Each order is a connection that comes over the control
socket; at its other end is the first process of the agent's namespace, whose
child the fork becomes (Go: services/scheduler/internal/agentinit).
"""

import gc
import json
import os
import signal
import socket
import sys
import time

from agentcloud_host import birth

FD_CONTROL = 3


def main(preload, live) -> None:
    """Imports, says how that went, and forks processes that call live(role)."""
    began = time.monotonic()
    control = socket.socket(fileno=FD_CONTROL)
    control.set_inheritable(False)
    for fd in _foreign():
        os.close(fd)
    gc.disable()
    preload()
    _forkable()
    gc.collect()
    gc.freeze()  # or the first collection in each fork copies all of it
    control.send(json.dumps({"memory": memory(), "modules": len(sys.modules), "ms": int((time.monotonic() - began) * 1000)}).encode())
    serve(control, live)
    os._exit(0)  # there is nothing to tidy up


def serve(control: socket.socket, live) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        _, orders, _, _ = socket.recv_fds(control, 1, 8)
        if not orders:
            return  # the runtime is gone, or wants this zygote to go
        for order in orders:
            _fork(control, order, live)


def _fork(control: socket.socket, order: int, live) -> None:
    _flush()
    try:
        if os.fork() == 0:
            birth.deliver(control, order, live)
    except OSError as err:
        # The connection ends without an answer, and the agent is started without us.
        print("fork an agent:", err, file=sys.stderr)
    os.close(order)


def _flush() -> None:
    """What is in a buffer now would be written by each fork."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _reap(*_) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _forkable() -> None:
    """A thread would be missing in the forks, a descriptor shared by all of them."""
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        raise RuntimeError(f"an import has started {len(threads) - 1} threads")
    if opened := _foreign():
        raise RuntimeError("an import has left open " + ", ".join(os.readlink(f"/proc/self/fd/{fd}") for fd in opened))


def _foreign() -> "list[int]":
    return [fd for fd in birth.descriptors() if fd > FD_CONTROL]


def memory() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


