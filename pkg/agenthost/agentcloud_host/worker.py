"""The worker role: workflow classes on Temporal, durable step by step."""

import asyncio
import threading

from agentcloud_host import contract, control, discover, drain, interceptors, logs, moves, placement, repair_human_input, replay, round_trip, run_parameters, secret_codec, temporal

# The SDK allows workflow code two seconds of its own thread before it calls it
# a deadlock and retries for ever; a plain blocking call is no deadlock. Runs
# are started with a workflow task timeout above this.
_DEADLOCK = 110


async def run(launch: contract.Launch, found: discover.Found, draining: drain.Drain, ready) -> None:
    import mcp_agent.executor.temporal as sdk

    t = launch.temporal
    place = placement.Placement(asyncio.get_running_loop(), threading.get_ident(), launch.app_dir)
    policy = interceptors.Policy(launch, place)
    repair_human_input.attach(found.app)
    own = control.Loop("temporal")
    made: list = []
    sdk.Worker = _factory(launch, policy, made)
    sdk.pydantic_data_converter = secret_codec.fit(sdk.pydantic_data_converter, launch.secrets)
    _patient_client(sdk, t, {} if launch.slots.workflows else moves.HEADROOM)
    async with sdk.create_temporal_worker_for_app(found.app) as worker:
        running = own.submit(worker.run())
        running.add_done_callback(_fatal)
        await own.do(temporal.polls(worker.client, t, t.task_queue, True, running))
        ready(round_trip=True)
        replays = _replays(own, launch, made[0], sdk.pydantic_data_converter) if launch.histories else None
        await draining.asked()
        if replays:
            replays.cancel()
        logs.info("draining", running_steps=len(worker._activity_worker._running_activities) if worker._activity_worker else 0)
        await own.do(_shut_down(worker, running))


def _factory(launch: contract.Launch, policy: interceptors.Policy, made: list):
    """What the SDK calls instead of Worker: the same, fitted to the cloud."""
    from temporalio.worker import Worker

    def build(*args, interceptors: list, workflows: list, **kwargs):
        options = temporal.worker_options(launch.temporal, launch.drain_seconds, _ours(policy))
        options["interceptors"] = [*interceptors, *options["interceptors"]]
        most = launch.slots.steps or (launch.settings.get("temporal") or {}).get("max_concurrent_activities") or 100
        kwargs["workflows"] = [*workflows, round_trip.RoundTrip]
        worker = Worker(*args, **{**kwargs, **options, "tuner": moves.tuner(launch.slots.workflows, most)})
        worker._workflow_worker._deadlock_timeout_seconds = _DEADLOCK
        run_parameters.take_over(worker._workflow_worker._workflows.values())
        policy.bridge = lambda: worker._bridge_worker
        made.append(worker)
        return worker

    return build


def _replays(own: control.Loop, launch: contract.Launch, worker, converter):
    """Has past runs replayed beside the polling, for whoever decides whether this version goes live."""
    options = worker.config()
    return own.submit(replay.all_of(launch, options["workflows"], options["interceptors"], converter))


def _ours(policy):
    return interceptors.Interceptor(policy)


def _patient_client(sdk, t: contract.Temporal, headers: dict) -> None:
    stock = sdk.TemporalExecutor.ensure_client

    async def ensure_client(self):
        if self.client is None:
            client = await temporal.patiently(t, lambda: stock(self))
            client.rpc_metadata = {**client.rpc_metadata, **headers}
        return self.client

    sdk.TemporalExecutor.ensure_client = ensure_client


async def _shut_down(worker, running) -> None:
    await worker.shutdown()
    await asyncio.wrap_future(running)


def _fatal(running) -> None:
    """A worker that stops polling by itself leaves a process of no use."""
    err = running.exception() if not running.cancelled() else None
    if err is not None:
        logs.write("CRITICAL", "agentcloud.host", f"the Temporal worker failed: {err!r}", ids={})
        drain.leave(70)
