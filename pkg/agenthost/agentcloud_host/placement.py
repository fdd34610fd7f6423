"""Which loop runs the body of a step.

A user's async code runs on one loop, as where it was written: clients it made
at import stay with the loop they know. If that loop is stuck because somebody
blocks it, a new body gets a spare loop instead of waiting.
"""

import asyncio

from agentcloud_host import control, failure, logs

OWN, USER, USER_ONLY = "own", "user", "user-only"
_PATIENCE = 1.0  # seconds after which the user's loop counts as stuck
_SPARES = 8
_CLEANUP = 5.0  # seconds a cancelled body has to end


class Placement:
    def __init__(self, user_loop: asyncio.AbstractEventLoop, user_thread: int, app_dir: str):
        self._user, self._thread, self._app_dir = user_loop, user_thread, app_dir
        self._spares: "list[control.Loop]" = []

    async def run(self, where: str, make):
        """Runs make() and returns its result; cancelling this cancels it."""
        if where == OWN:
            return await make()
        loop = self._user
        if not await _answers(loop) and where == USER:
            loop = await self._spare() or loop
        return await _across(loop, make)

    async def _spare(self) -> "asyncio.AbstractEventLoop | None":
        at, _ = failure.stack_of(self._thread, self._app_dir)
        logs.write("WARNING", "agentcloud.host", f"an async function blocks the event loop ({at}); other work goes on in a thread of its own; use `await`, or make it a plain def", ids={})
        for spare in self._spares:
            if await _answers(spare.loop, 0.05):
                return spare.loop
        if len(self._spares) >= _SPARES:
            return None
        spare = control.Loop(f"spare-{len(self._spares)}")
        self._spares.append(spare)
        return spare.loop


async def _answers(loop: asyncio.AbstractEventLoop, patience: float = _PATIENCE) -> bool:
    here = asyncio.get_running_loop()
    answered = asyncio.Event()
    loop.call_soon_threadsafe(lambda: here.call_soon_threadsafe(answered.set))
    try:
        await asyncio.wait_for(answered.wait(), patience)
        return True
    except asyncio.TimeoutError:
        return False


async def _across(loop: asyncio.AbstractEventLoop, make):
    here, ended = asyncio.get_running_loop(), asyncio.Event()

    async def body():
        try:
            return await make()
        finally:
            here.call_soon_threadsafe(ended.set)

    future = asyncio.run_coroutine_threadsafe(body(), loop)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.cancel()
        try:
            await asyncio.wait_for(ended.wait(), _CLEANUP)
        except asyncio.TimeoutError:
            logs.warning("a cancelled step did not end; it goes on in its thread, its result is dropped")
        raise
