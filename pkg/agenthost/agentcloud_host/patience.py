"""How long one try of a step may take, without the time for which it waits for
a person.

Temporal's own limit of a step knows no pauses. So it is set out of reach, a dead
process is found by the missing heartbeat, and the limit is kept here.
"""

import asyncio
import contextvars
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

from temporalio.exceptions import ApplicationError

HEADER = "agentcloud-limit"  # seconds, from who starts a step to who does it
OUT_OF_REACH = timedelta(days=3650)

_watch: "contextvars.ContextVar[Watch | None]" = contextvars.ContextVar("agentcloud_watch", default=None)


class Watch:
    """The time of one try; it stands still while anything in it waits for a person."""

    def __init__(self, limit: float):
        self._limit, self._lock = limit, threading.Lock()
        self._spent, self._since, self._waits = 0.0, time.monotonic(), 0
        self._asked: "dict[str, int]" = {}

    def left(self) -> float:
        with self._lock:
            return self._limit - self._so_far()

    def _so_far(self) -> float:
        return self._spent if self._waits else self._spent + time.monotonic() - self._since

    @contextmanager
    def standing(self):
        with self._lock:
            self._spent = self._so_far()
            self._waits += 1
        try:
            yield
        finally:
            with self._lock:
                self._waits -= 1
                self._since = time.monotonic()

    def nth(self, question: str) -> int:
        """How often the same question was asked before in this try."""
        with self._lock:
            self._asked[question] = self._asked.get(question, 0) + 1
            return self._asked[question]


def current() -> "Watch | None":
    """The watch of the step that this code is a part of, on whichever loop."""
    return _watch.get()


async def within(limit: float, make):
    """Runs make() and returns its result; ends it when its own time is over."""
    watch = Watch(limit)
    token = _watch.set(watch)
    try:
        body = asyncio.ensure_future(make())
    finally:
        _watch.reset(token)
    try:
        while (left := watch.left()) > 0:
            done, _ = await asyncio.wait({body}, timeout=max(left, 0.05))
            if done:
                return body.result()
    except asyncio.CancelledError:
        body.cancel()
        return await body  # it may clean up, as if nobody stood between
    body.cancel()
    await asyncio.wait({body}, timeout=10)
    if body.done() and not body.cancelled() and body.exception() is None:
        return body.result()  # it ended in this very moment
    raise ApplicationError(f"it took longer than {limit:g} s, the time for which it waited for people not counted", type="TimeoutError")
