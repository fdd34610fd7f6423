"""Runs the histories of past runs against this version's code: does it still ask
for the same things in the same order? Nothing is done meanwhile: the results of
steps come from the history, and Temporal is not reached.

One process does only that (role replay); a worker of a version that is not live
yet does it beside its polling, which saves the start of another process.
"""

import asyncio
import base64
import re
import time

from agentcloud_host import commands, contract, discover, failure, interceptors, logs, repair_human_input, run_parameters, secret_codec, status

OK, DIFFERENT, FAILED, MISSING = "ok", "non-deterministic", "failed", "missing"

# A body that blocks its thread is no deadlock; one that never ends must not hold
# the others up.
_DEADLOCK = 10.0
_ONE = 30.0  # seconds for one history


async def run(launch: contract.Launch, found: discover.Found) -> None:
    """The role: loads the app as a worker would, replays, and ends."""
    import mcp_agent.executor.temporal as sdk

    repair_human_input.attach(found.app)
    sdk.Worker = _Parts
    sdk.TemporalExecutor.ensure_client = _no_client
    sdk.pydantic_data_converter = secret_codec.fit(sdk.pydantic_data_converter, launch.secrets)
    async with sdk.create_temporal_worker_for_app(found.app) as parts:
        policy = interceptors.Policy(launch, None)
        await all_of(launch, parts.workflows, [*parts.interceptors, interceptors.Interceptor(policy)], sdk.pydantic_data_converter)


async def all_of(launch: contract.Launch, workflows, others: list, converter) -> None:
    """Reports each of the launch document's histories, in order."""
    replays = Replays(workflows, others, converter)
    histories, launch.histories = launch.histories, []  # they are large, and the process may live long
    for history in histories:
        began = time.monotonic()
        try:
            report = await asyncio.wait_for(replays.one(history), _ONE)
        except asyncio.TimeoutError:
            report = {"verdict": FAILED, "message": f"the replay did not end within {_ONE:g} s"}
        except Exception as err:
            report = {"verdict": FAILED, "message": f"{type(err).__name__}: {err}", "detail": failure.shorten(err, launch.app_dir)}
        _warn(history, report)
        status.replayed({"run_id": history.run_id, "workflow_id": history.workflow_id, "ms": int((time.monotonic() - began) * 1000), **report})
    logs.info("replayed", runs=len(histories))


def _warn(history: contract.History, report: dict) -> None:
    """The app's log is where whoever deploys looks."""
    told, name = {k: report[k] for k in ("event_id", "expected", "got", "message") if report.get(k)}, f"{history.workflow_id} ({history.run_id})"
    if report["verdict"] == DIFFERENT:
        why = f"event {report['event_id']} is {report['expected']!r}, the code asks for {report['got']!r}" if report.get("expected") else report["message"]
        logs.write("WARNING", "agentcloud.replay", f"replayed on this version, the past run {name} goes another way than its history: {why}", told, ids={})
    elif report["verdict"] == FAILED:
        logs.write("WARNING", "agentcloud.replay", f"the past run {name} could not be replayed on this version: {report['message']}", told, ids={})


class _Parts:
    """What the SDK would make a worker of."""

    def __init__(self, client=None, *, workflows=(), interceptors=(), **_):
        self.workflows, self.interceptors = list(workflows), list(interceptors)


async def _no_client(self):
    return None


class Replays:
    def __init__(self, workflows, others: list, converter):
        import temporalio.worker._replayer as replayer
        from temporalio.workflow import _Definition

        _patience(replayer)
        definitions = {cls: _Definition.must_from_class(cls) for cls in workflows}
        run_parameters.take_over(definitions.values())
        self._names = {d.name for d in definitions.values()}
        self._dynamic = None in self._names
        self._options = {"workflows": list(definitions), "interceptors": others, "data_converter": converter, "build_id": "replay"}

    async def one(self, history: contract.History) -> dict:
        from temporalio.api.history.v1 import History
        from temporalio.client import WorkflowHistory
        from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
        from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
        from temporalio.workflow import NondeterminismError

        if history.type not in self._names and not self._dynamic:
            return {"verdict": MISSING, "message": f"this version has no workflow {history.type}"}
        events = list(History.FromString(base64.b64decode(history.events)).events)
        seen = Seen()
        replayer = Replayer(workflow_runner=recording(SandboxedWorkflowRunner(), seen),
                            unsandboxed_workflow_runner=recording(UnsandboxedWorkflowRunner(), seen), **self._options)
        result = await replayer.replay_workflow(WorkflowHistory(history.workflow_id, events), raise_on_replay_failure=False)
        err = result.replay_failure
        if err is None:
            return {"verdict": OK}
        if not isinstance(err, NondeterminismError):
            return {"verdict": FAILED, "message": _first_line(str(err)), "detail": str(err)}
        at = commands.first_difference(seen.asked, events)
        told = {"event_id": at.event_id, "expected": at.expected, "got": at.got} if at else {}
        return {"verdict": DIFFERENT, "message": _rule(str(err)), **told}


def _patience(replayer) -> None:
    """The SDK's replayer allows workflow code two seconds of its own thread."""
    stock = replayer._WorkflowWorker
    if getattr(stock, "patient", False):
        return

    class Patient(stock):
        patient = True

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self._deadlock_timeout_seconds = _DEADLOCK

    replayer._WorkflowWorker = Patient


class Seen:
    """What the code asked for, by the number of events it knew of."""

    def __init__(self):
        self.asked: "dict[int, list[str]]" = {}

    def note(self, activation, completion) -> None:
        words = [w for w in map(commands.given, completion.successful.commands) if w]
        self.asked.setdefault(activation.history_length, []).extend(words)


def recording(runner, seen: Seen):
    """The same runner, whose instances are watched."""
    from temporalio.worker import WorkflowRunner

    class Recording(WorkflowRunner):
        def prepare_workflow(self, defn):
            runner.prepare_workflow(defn)

        def create_instance(self, det):
            instance = runner.create_instance(det)
            activate = instance.activate

            def watched(activation):
                completion = activate(activation)
                seen.note(activation, completion)
                return completion

            instance.activate = watched
            return instance

        def set_worker_level_failure_exception_types(self, types):
            runner.set_worker_level_failure_exception_types(types)

    return Recording()


def _rule(text: str) -> str:
    """The sentence in the core's account of its own structures."""
    found = re.search(r'Nondeterminism error: (.*?)(?:", source: |$)', _first_line(text))
    return found.group(1) if found else _first_line(text)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
