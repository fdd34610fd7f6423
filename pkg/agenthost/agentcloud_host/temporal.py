"""Connecting to Temporal, and knowing that a worker of ours really polls."""

import asyncio
import logging
import os
import socket
import time
from datetime import timedelta

from agentcloud_host import contract, failure, logs, secret_codec

_CONNECT = 30.0  # seconds until an unreachable Temporal is a failed start
_POLLING = 30.0
_LOOKS = (0.01, 0.1)  # seconds between two looks whether we poll: the first, the longest


def set_runtime() -> None:
    """Before the first client: what Temporal's core says becomes log lines."""
    from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

    core = logging.getLogger("temporalio.core")
    forwarding = LogForwardingConfig(logger=core, append_target_to_name=False, prepend_target_on_message=False)
    # Polling fails while Temporal restarts and then goes on; warnings are enough.
    config = LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=config)))


def identity(t: contract.Temporal) -> str:
    return t.identity or f"{os.getpid()}@{socket.gethostname()}"


async def connect(t: contract.Temporal, secrets: dict):
    from temporalio.client import Client
    from temporalio.contrib.pydantic import pydantic_data_converter

    converter = secret_codec.fit(pydantic_data_converter, secrets)
    return await patiently(t, lambda: Client.connect(
        t.address, namespace=t.namespace, api_key=t.api_key or None, tls=False, identity=identity(t), data_converter=converter))


async def patiently(t: contract.Temporal, connect):
    """Temporal may be restarting as this process starts; wait a bounded while."""
    deadline, wait = time.monotonic() + _CONNECT, 0.1
    while True:
        try:
            return await connect()
        except RuntimeError as err:
            if time.monotonic() + wait > deadline:
                raise failure.StartError(f"Temporal did not answer at {t.address} within {_CONNECT:g} s", str(err)) from err
        await asyncio.sleep(wait)
        wait = min(wait * 2, 2)


def worker_options(t: contract.Temporal, drain_seconds: float, interceptor) -> dict:
    from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
    from temporalio.worker import WorkerDeploymentConfig

    options = {
        "identity": identity(t),
        "interceptors": [interceptor],
        "graceful_shutdown_timeout": timedelta(seconds=drain_seconds),
        "max_heartbeat_throttle_interval": timedelta(seconds=5),
    }
    if t.deployment_name and t.build_id:
        options["deployment_config"] = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(t.deployment_name, t.build_id),
            use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED)
    else:
        # Any build id will do: without one the SDK hashes every loaded module.
        options["build_id"] = t.build_id or "unversioned"
    return options


async def polls(client, t: contract.Temporal, queue: str, workflows: bool, running) -> None:
    """Returns once Temporal names us among the queue's pollers."""
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    request = DescribeTaskQueueRequest(namespace=t.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind)
    me, deadline, last = identity(t), time.monotonic() + _POLLING, ""
    wait, longest = _LOOKS
    while time.monotonic() < deadline:
        if running.done():
            raise failure.StartError("the Temporal worker ended at once", str(running.exception() or ""))
        try:
            answer = await client.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=5))
            if any(p.identity == me for p in answer.pollers):
                return
        except Exception as err:
            last = str(err)
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, longest)
    logs.warning("polling was not seen", queue=queue, last=last)
    raise failure.StartError(f"the worker does not poll {queue} after {_POLLING:g} s", last)
