"""A thread with an event loop of our own, for what must go on whatever the
user's code does on its loop: polling Temporal, and the bodies of steps that
are the SDK's."""

import asyncio
import threading


class Loop:
    def __init__(self, name: str):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coro):
        """Starts coro here; returns a concurrent future."""
        return asyncio.run_coroutine_threadsafe(coro, self.loop)

    async def do(self, coro):
        """Runs coro here and waits on the caller's loop."""
        return await asyncio.wrap_future(self.submit(coro))
