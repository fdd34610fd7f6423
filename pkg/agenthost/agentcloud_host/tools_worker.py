"""The server polls for tool bodies too: each tool is one activity, so that a
run of it is durable as a whole without a worker process."""

import asyncio
import threading

from agentcloud_host import contract, control, discover, drain, interceptors, logs, placement, temporal, tool_call


class ToolsWorker:
    """Made and used on the server's loop; polls on a loop of its own."""

    def __init__(self, launch: contract.Launch, found: discover.Found):
        self._launch, self._t = launch, launch.temporal
        self._policy = interceptors.Policy(launch, None)  # bodies place themselves
        self._place = placement.Placement(asyncio.get_running_loop(), threading.get_ident(), launch.app_dir)
        self._tools = [tool_call.Tool(found.app, d, launch) for d in found.app._declared_tools]
        self._own = control.Loop("temporal")
        self._worker = None
        self._running = None

    async def start(self) -> None:
        """Returns once Temporal knows that we poll."""
        await self._own.do(self._start())

    async def _start(self) -> None:
        from temporalio.worker import Worker

        client = await temporal.connect(self._t, self._launch.secrets)
        options = temporal.worker_options(self._t, self._launch.drain_seconds, interceptors.Interceptor(self._policy))
        # The queue itself belongs to one version; nothing to choose here.
        options.pop("deployment_config", None)
        options["build_id"] = self._t.build_id or "unversioned"
        self._worker = Worker(client, task_queue=self._t.tools_queue, activities=[self._activity(t) for t in self._tools],
                              max_concurrent_activities=self._launch.slots.tools, **options)
        self._policy.bridge = lambda: self._worker._bridge_worker
        self._running = asyncio.run_coroutine_threadsafe(self._worker.run(), self._own.loop)
        self._running.add_done_callback(_fatal)
        await temporal.polls(client, self._t, self._t.tools_queue, False, self._running)

    def _activity(self, tool: tool_call.Tool):
        from temporalio import activity

        where = placement.OWN if tool.blocking else placement.USER

        @activity.defn(name=f"tool:{tool.name}")
        async def run(arguments=None):
            return await self._place.run(where, lambda: tool.call(arguments))

        # As JSON says it, whatever the SDK reads out of the signature. The definition is
        # frozen, and a dot before its name would be mangled in a class.
        object.__setattr__(getattr(run, "__temporal_activity_definition"), "arg_types", None)
        return run

    async def stop(self) -> None:
        if self._worker is not None:
            await self._own.do(self._worker.shutdown())


def _fatal(running) -> None:
    err = running.exception() if not running.cancelled() else None
    if err is not None:
        logs.write("CRITICAL", "agentcloud.host", f"the tools worker failed: {err!r}", ids={})
        drain.leave(70)
