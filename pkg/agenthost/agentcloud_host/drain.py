"""SIGTERM: finish what runs, take nothing new, leave. Bounded twice: the
second signal ends at once, and so does the clock, for a worker that met a
stuck body never finishes shutting down."""

import asyncio
import os
import signal
import threading

from agentcloud_host import logs, status, streams

_BEYOND = 5.0  # seconds after the drain's own bound


class Drain:
    def __init__(self, seconds: float):
        self.seconds = seconds
        self._asked = False
        self._loop: "asyncio.AbstractEventLoop | None" = None
        self._event: "asyncio.Event | None" = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    async def asked(self) -> None:
        """Waits on the caller's loop until a drain is asked for."""
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        if self._asked:
            return
        await self._event.wait()

    def _signalled(self, number, frame) -> None:
        if self._asked or self._loop is None:
            leave(0)  # the second time, or nothing has begun yet
        self._asked = True
        status.draining()
        timer = threading.Timer(self.seconds + _BEYOND, self._over)
        timer.daemon = True
        timer.start()
        self._loop.call_soon_threadsafe(self._event.set)

    def _over(self) -> None:
        logs.write("WARNING", "agentcloud.host", f"the drain took longer than {self.seconds + _BEYOND:g} s; what still ran is cut off", ids={})
        leave(0)


def leave(code: int) -> None:
    """Ends the process without Python's finalisation, which aborts now and
    then when Temporal's core is still there."""
    streams.finish()
    os._exit(code)
