"""How runs and their steps fail, retry and stay alive.

An exception of the user's code ends the run, with its type, message and
traceback; only a non-deterministic replay stays a retried task, for that is
repaired by another version of the code, not by failing the run.
"""

import asyncio
import json
import os
from dataclasses import replace
from datetime import timedelta

import temporalio.worker
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from agentcloud_host import heartbeat, logs, patience, placement, repair_aggregators, retries, run_parameters

PROTOCOL_ERROR = "McpError"  # the scheduler knows it by this type
_MOST_DATA = 64 << 10  # bytes of an error's data
_CRASHES = 17  # tries that may end by a killed worker, beside those that end by an error: even a step that kills every worker ends


class Policy:
    """What every interceptor of one worker shares."""

    def __init__(self, launch, place: "placement.Placement | None"):
        self.start_to_close = launch.activity.start_to_close_seconds
        self.heartbeat = launch.activity.heartbeat_seconds
        self.error_attempts = launch.activity.max_error_attempts
        self.retries = launch.retries
        self.app_dir = launch.app_dir
        self.place = place
        self.heart = heartbeat.Heart()
        self.bridge = lambda: None  # the worker's core, once it is made

    def limit(self, name: str) -> float:
        """Seconds of one try of a tool's body, of which its starter says nothing."""
        return self._of_tool(name).get("start_to_close_seconds") or self.start_to_close

    def errors(self, name: str) -> int:
        """After how many a tool's body is not tried again: what one try did may cost."""
        return self._of_tool(name).get("max_attempts", 1)

    def _of_tool(self, name: str) -> dict:
        return retries.of_tool(self.retries, name.removeprefix("tool:")) if self.place is None else {}


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
        rule = retries.of_step(p.retries, input.activity)
        # The SDK gives a step as long in all as for one try: no room for another.
        asked = [t.total_seconds() for t in (input.schedule_to_close_timeout, input.start_to_close_timeout) if t]
        limit = rule.get("start_to_close_seconds") or max(asked + [p.start_to_close])
        input.headers = {**input.headers, patience.HEADER: workflow.payload_converter().to_payload(limit)}
        input.start_to_close_timeout, input.schedule_to_close_timeout = patience.OUT_OF_REACH, retries.seconds(rule, "schedule_to_close_seconds")
        input.heartbeat_timeout = retries.seconds(rule, "heartbeat_seconds") or input.heartbeat_timeout or timedelta(seconds=p.heartbeat)
        input.retry_policy = self._with_room(retries.apply(rule, input.retry_policy or RetryPolicy()))
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
        told = input.headers.get(patience.HEADER)
        limit = activity.payload_converter().from_payload(told) if told else p.limit(info.activity_type)
        with p.heart.beating(p.bridge, info.task_token, timeout) as beat:
            self._outbound.beat = beat
            try:
                return await patience.within(limit, lambda: self._placed(info, input))
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

    async def _placed(self, info, input):
        if self._policy.place is None:
            return await self.next.execute_activity(input)
        return await self._policy.place.run(_where(info.activity_type), lambda: self.next.execute_activity(input))

    def _is_last(self, info) -> bool:
        """Errors are capped here and not by the retry policy, whose attempts
        killed workers use up too."""
        if self._policy.place is None:  # of a tool: its body has said so, but not of its own time
            return info.attempt >= self._policy.errors(info.activity_type)
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


def _for_protocol(err: BaseException) -> "dict | None":
    """What an error of the MCP SDK says beside its message: a JSON-RPC error."""
    import pydantic_core

    said = getattr(err, "error", None)
    code = getattr(said, "code", None)
    if not isinstance(code, int) or all(c.__name__ != PROTOCOL_ERROR for c in type(err).__mro__):
        return None
    data = pydantic_core.to_jsonable_python(getattr(said, "data", None), fallback=str)
    if len(json.dumps(data)) > _MOST_DATA:
        data = None  # the code and the message are what a client acts on
    return {"code": code, "data": data}


def as_failure(err: BaseException, origin: BaseException, app_dir: str) -> ApplicationError:
    """err as the end of a run: no retry, and the traceback starts in the user's code."""
    kind = err.type if isinstance(err, ApplicationError) and err.type else type(err).__name__
    message = err.message if isinstance(err, ApplicationError) else str(err)
    if (said := _for_protocol(err)) is not None:
        kind = PROTOCOL_ERROR  # its subclasses are the same to a client
    details = err.details if isinstance(err, ApplicationError) else () if said is None else (said,)
    failure = ApplicationError(message or kind, *details, type=kind, non_retryable=True)
    tb = origin.__traceback__
    while tb is not None and not tb.tb_frame.f_code.co_filename.startswith(app_dir + os.sep):
        tb = tb.tb_next
    return failure.with_traceback(tb or origin.__traceback__)
