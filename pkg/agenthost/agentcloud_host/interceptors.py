"""How runs and their steps fail, retry and stay alive.

An exception of the user's code ends the run, with its type, message and
traceback; only a non-deterministic replay stays a retried task, for that is
repaired by another version of the code, not by failing the run.
"""

import asyncio
import os
from dataclasses import replace
from datetime import timedelta

import temporalio.worker
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from agentcloud_host import heartbeat, logs, placement, repair_aggregators, run_parameters

_CRASHES = 17  # tries that may end by a killed worker, beside those that end by an error: even a step that kills every worker ends


class Policy:
    """What every interceptor of one worker shares."""

    def __init__(self, launch, place: "placement.Placement | None"):
        self.start_to_close = launch.activity.start_to_close_seconds
        self.heartbeat = launch.activity.heartbeat_seconds
        self.error_attempts = launch.activity.max_error_attempts
        self.app_dir = launch.app_dir
        self.place = place
        self.heart = heartbeat.Heart()
        self.bridge = lambda: None  # the worker's core, once it is made


class Interceptor(temporalio.worker.Interceptor):
    def __init__(self, policy: Policy):
        self._policy = policy

    def intercept_activity(self, next):
        return _ActivityInbound(next, self._policy)

    def workflow_interceptor_class(self, input):
        policy = self._policy
        return type("WorkflowInbound", (_WorkflowInbound,), {"policy": policy})


class _WorkflowInbound(temporalio.worker.WorkflowInboundInterceptor):
    policy: Policy

    def init(self, outbound):
        self.next.init(_WorkflowOutbound(outbound, self.policy))

    async def execute_workflow(self, input):
        try:
            input.args = run_parameters.bind(input.type, list(input.args))
            return await self.next.execute_workflow(input)
        except (FailureError, workflow.NondeterminismError):
            raise
        except SystemExit as err:
            raise as_failure(RuntimeError(f"the code ended the process: exit({err.code!r})"), err, self.policy.app_dir) from err
        except Exception as err:
            logs.write("ERROR", "agentcloud.run", f"{input.type.__name__} failed: {type(err).__name__}: {err}")
            raise as_failure(err, err, self.policy.app_dir) from err


class _WorkflowOutbound(temporalio.worker.WorkflowOutboundInterceptor):
    def __init__(self, next, policy: Policy):
        super().__init__(next)
        self._policy = policy
        self._servers: dict = {}

    def start_activity(self, input):
        p = self._policy
        # The SDK gives a step as long in all as for one try: no room for another.
        asked = [t.total_seconds() for t in (input.schedule_to_close_timeout, input.start_to_close_timeout) if t]
        input.start_to_close_timeout = timedelta(seconds=max(asked + [p.start_to_close]))
        input.schedule_to_close_timeout = None
        if input.heartbeat_timeout is None:
            input.heartbeat_timeout = timedelta(seconds=p.heartbeat)
        input.retry_policy = self._with_room(input.retry_policy or RetryPolicy())
        told = repair_aggregators.outgoing(input.activity, input.args, self._servers)
        if told is not None:
            input.headers = {**input.headers, repair_aggregators.HEADER: workflow.payload_converter().to_payload(told)}
        return self.next.start_activity(input)

    def _with_room(self, policy: RetryPolicy) -> RetryPolicy:
        if policy.maximum_attempts == 1:
            return policy  # "never twice", its author says
        errors = policy.maximum_attempts or self._policy.error_attempts
        return replace(policy, maximum_attempts=errors + _CRASHES)


class _ActivityInbound(temporalio.worker.ActivityInboundInterceptor):
    def __init__(self, next, policy: Policy):
        super().__init__(next)
        self._policy = policy

    def init(self, outbound):
        self._outbound = _ActivityOutbound(outbound)
        self.next.init(self._outbound)

    async def execute_activity(self, input):
        p, info = self._policy, activity.info()
        header = input.headers.get(repair_aggregators.HEADER)
        repair_aggregators.incoming(activity.payload_converter().from_payload(header) if header else None)
        timeout = info.heartbeat_timeout.total_seconds() if info.heartbeat_timeout else None
        with p.heart.beating(p.bridge, info.task_token, timeout) as beat:
            self._outbound.beat = beat
            try:
                if p.place is None:
                    return await self.next.execute_activity(input)
                return await p.place.run(_where(info.activity_type), lambda: self.next.execute_activity(input))
            except asyncio.CancelledError:
                raise
            except FailureError as err:
                if isinstance(err, ApplicationError) and not err.non_retryable and self._is_last(info):
                    raise as_failure(err, err, p.app_dir) from err
                raise
            except Exception as err:
                if self._is_last(info):
                    raise as_failure(err, err, p.app_dir) from err
                raise

    def _is_last(self, info) -> bool:
        """Errors are capped here and not by the retry policy, whose attempts
        killed workers use up too."""
        allowed = info.retry_policy.maximum_attempts if info.retry_policy else 0
        return info.attempt >= max(allowed - _CRASHES, 1 if allowed else self._policy.error_attempts)


class _ActivityOutbound(temporalio.worker.ActivityOutboundInterceptor):
    beat = None

    def heartbeat(self, *details):
        if self.beat is not None:
            self.beat.say(activity.payload_converter().to_payloads(details))


def _where(name: str) -> str:
    if name.startswith(repair_aggregators.TASKS):
        return placement.USER_ONLY  # connections belong to the loop that made them
    if name.startswith(("mcp_agent.workflows.llm.", "mcp_relay_", "mcp_forward_", "mcp_request_")):
        return placement.OWN
    return placement.USER


def as_failure(err: BaseException, origin: BaseException, app_dir: str) -> ApplicationError:
    """err as the end of a run: no retry, and the traceback starts in the user's code."""
    kind = err.type if isinstance(err, ApplicationError) and err.type else type(err).__name__
    message = err.message if isinstance(err, ApplicationError) else str(err)
    failure = ApplicationError(message or kind, type=kind, non_retryable=True)
    tb = origin.__traceback__
    while tb is not None and not tb.tb_frame.f_code.co_filename.startswith(app_dir + os.sep):
        tb = tb.tb_next
    return failure.with_traceback(tb or origin.__traceback__)
