"""Steps that are alive say so, from a thread of ours and straight into
Temporal's core: neither a blocked event loop nor a body that never yields
makes a step look dead. When the process dies, the beat stops at once."""

import threading
import time
from contextlib import contextmanager


class Heart:
    def __init__(self):
        self._beats: "dict[bytes, _Beat]" = {}
        self._changed = threading.Condition()
        self._thread: "threading.Thread | None" = None

    @contextmanager
    def beating(self, bridge, token: bytes, timeout: "float | None"):
        """Beats for one step while the block runs."""
        if not timeout:
            yield None
            return
        beat = _Beat(bridge, token, timeout / 3)
        with self._changed:
            self._beats[token] = beat
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield beat
        finally:
            with self._changed:
                self._beats.pop(token, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._beats:
                    self._changed.wait()
                now = time.monotonic()
                due = [b for b in self._beats.values() if b.next <= now]
                if not due:
                    self._changed.wait(min(b.next for b in self._beats.values()) - now)
                    continue
            for beat in due:
                beat.send()


class _Beat:
    def __init__(self, bridge, token: bytes, every: float):
        self._bridge, self._token, self._every = bridge, token, every
        self._details: list = []
        self.next = time.monotonic()  # the first at once

    def say(self, payloads: list) -> None:
        """What the step itself wants remembered, sent now and repeated."""
        self._details = payloads
        self.send()

    def send(self) -> None:
        import temporalio.bridge.proto

        self.next = time.monotonic() + self._every
        beat = temporalio.bridge.proto.ActivityHeartbeat(task_token=self._token)
        beat.details.extend(self._details)
        try:
            self._bridge().record_activity_heartbeat(beat)
        except Exception:
            pass  # the step has just ended, or the worker is shutting down
