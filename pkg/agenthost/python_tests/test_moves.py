"""How many moves of runs are taken at once: without Temporal."""

import asyncio
import types
import unittest

from agentcloud_host import moves

BEGIN, GO_ON = types.SimpleNamespace(is_sticky=False), types.SimpleNamespace(is_sticky=True)


def used(permit):
    return types.SimpleNamespace(permit=permit)


class Slots(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.all = moves.Moves(begin=2, go_on=2, most=3, long=0.2)
        self.first, self.second = [await self.all.reserve_slot(BEGIN) for _ in range(2)]

    async def test_no_more_than_usual_and_in_order(self):
        waiting = [asyncio.create_task(self.all.reserve_slot(BEGIN)) for _ in range(2)]
        await asyncio.sleep(0)
        self.assertFalse([w for w in waiting if w.done()])
        await asyncio.to_thread(self.all.release_slot, used(self.first))
        await asyncio.wait_for(waiting[0], 5)
        self.assertFalse(waiting[1].done())
        waiting[1].cancel()

    async def test_a_long_move_does_not_count_up_to_the_most(self):
        third = asyncio.create_task(self.all.reserve_slot(BEGIN))
        await asyncio.to_thread(self.all.mark_slot_used, used(self.first))
        self.all.mark_slot_used(used(await asyncio.wait_for(third, 5)))
        self.all.mark_slot_used(used(self.second))
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(self.all.reserve_slot(BEGIN), 0.5)
        self.all.release_slot(used(self.first))
        await asyncio.wait_for(self.all.reserve_slot(BEGIN), 5)

    async def test_runs_that_go_on_have_places_of_their_own(self):
        for _ in range(2):
            await asyncio.wait_for(self.all.reserve_slot(GO_ON), 5)
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(self.all.reserve_slot(GO_ON), 0.1)

    async def test_a_poll_may_take_for_ever(self):
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(self.all.reserve_slot(BEGIN), 0.5)

    async def test_what_is_given_up_is_free_again(self):
        third = asyncio.create_task(self.all.reserve_slot(BEGIN))
        await asyncio.sleep(0)
        self.all._begin.free(self.first)  # given to the third, which is cancelled before it can take it
        third.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await third
        await asyncio.wait_for(self.all.reserve_slot(BEGIN), 5)

    async def test_a_bound_of_ones_own_is_exact(self):
        self.assertEqual(moves.tuner(7, 9)._get_workflow_task_slot_supplier().num_slots, 7)
        self.assertIsInstance(moves.tuner(0, 9)._get_workflow_task_slot_supplier(), moves.Moves)
        self.assertEqual(moves.tuner(0, 9)._get_activities_max(), 9)


if __name__ == "__main__":
    unittest.main()
