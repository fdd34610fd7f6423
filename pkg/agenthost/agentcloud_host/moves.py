"""How many moves of runs (Temporal's workflow tasks) a worker takes at once.

What a worker has taken waits for Python's one interpreter in order of arrival,
whatever its priority. So it takes few: the rest waits at Temporal, where urgent
runs go first. A move that takes long does not compute, its body blocks: it does
not count, or a few of those would hang all other runs.

Runs that begin and runs that go on (which come by the sticky queue) have places
of their own, for a poll takes one as long as it lasts. Those that begin have one in
which they do in order, and one for the urgent: the scheduler's edge holds the poll of
the second while the first is in use. That takes a worker which says, by HEADROOM, that
its places are these. More of those that go on finish more runs.
"""

import asyncio
import collections
import time

from temporalio.worker import CustomSlotSupplier, FixedSizeSlotSupplier, SlotPermit, WorkerTuner

BEGIN = 2  # of runs that begin
GO_ON = 2  # of runs that go on
MOST = 50  # with those that take long
LONG = 1.0  # seconds
HEADROOM = {"agentcloud-headroom": "1"}  # a header of gRPC


class Permit(SlotPermit):
    def __init__(self, places: "Places"):
        self.places = places
        self.began: "float | None" = None  # none while it only polls


class Places:
    """The places of one kind, on one loop."""

    def __init__(self, usual: int, most: int, long: float):
        self._usual, self._most, self._long = usual, most, long
        self._held: set = set()
        self._turns: collections.deque = collections.deque()
        self._timer = None

    async def take(self) -> Permit:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        self.serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # given, and not taken
                self.free(turn.result())
            raise

    def free(self, permit: Permit) -> None:
        self._held.discard(permit)
        self.serve()

    def serve(self) -> None:
        """Gives what is free in order of asking, and looks again when the next move becomes a long one."""
        now = time.monotonic()
        short = [p for p in self._held if p.began is None or now - p.began < self._long]
        while self._turns and len(self._held) < self._most and len(short) < self._usual:
            turn = self._turns.popleft()
            if turn.done():
                continue
            permit = Permit(self)
            self._held.add(permit)
            short.append(permit)
            turn.set_result(permit)
        if self._timer is not None:
            self._timer.cancel()
        ends = [p.began + self._long for p in short if p.began is not None]
        self._timer = asyncio.get_running_loop().call_later(min(ends) - now, self.serve) if self._turns and ends else None


class Moves(CustomSlotSupplier):
    def __init__(self, begin: int = BEGIN, go_on: int = GO_ON, most: int = MOST, long: float = LONG):
        self._begin, self._go_on = Places(begin, most, long), Places(go_on, most, long)
        self._loop = None

    async def reserve_slot(self, ctx) -> Permit:
        self._loop = asyncio.get_running_loop()
        return await (self._go_on if ctx.is_sticky else self._begin).take()

    def try_reserve_slot(self, ctx) -> None:
        return None  # nobody starts runs through a worker

    def mark_slot_used(self, ctx) -> None:
        ctx.permit.began = time.monotonic()
        self._soon(ctx.permit.places.serve)

    def release_slot(self, ctx) -> None:
        self._soon(ctx.permit.places.free, ctx.permit)

    def _soon(self, what, *args) -> None:
        """The worker's core calls from threads of its own."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *args)


def tuner(moves: int, steps: int) -> WorkerTuner:
    """The slots of a worker; 0 moves: as usual."""
    return WorkerTuner.create_composite(
        workflow_supplier=FixedSizeSlotSupplier(moves) if moves else Moves(),
        activity_supplier=FixedSizeSlotSupplier(steps),
        local_activity_supplier=FixedSizeSlotSupplier(100), nexus_supplier=FixedSizeSlotSupplier(100))
