"""The order of a start: imports, in a zygote a fork, what we are told, the
user's code, the role."""

import asyncio
import os
import sys
import time

_BEGAN = time.monotonic()

from agentcloud_host import (  # noqa: E402
    contract, discover, drain, environment, failure, imports, load, logs, offload, redact, repair_app, repair_aggregators,
    repair_gateway, repair_human_input, repair_questions, repair_sidecars, repair_signals, repair_steps, sdk_logs, settings, status, stdlib_logs, streams,
)


def main(argv: "list[str]") -> None:
    role = argv[0] if argv else ""
    if role == contract.ZYGOTE:
        from agentcloud_host import zygote

        return zygote.main(_preload, _forked)
    if role not in (contract.SERVER, contract.WORKER, contract.REPLAY):
        sys.exit(f"usage: agentcloud_host {contract.SERVER}|{contract.WORKER}|{contract.REPLAY}|{contract.ZYGOTE}")
    _introduce(role)
    imports.quicken()
    _live(role, _heavy(role))


def _preload() -> None:
    imports.quicken()
    imports.everything()


def _forked(role: str) -> None:
    global _BEGAN
    _BEGAN = time.monotonic()
    _introduce(role)
    _live(role, None)


def _introduce(role: str) -> None:
    contract.adopt(role)
    logs.start("info")
    streams.capture()
    status.starting()


def _live(role: str, missing: "Exception | None") -> None:
    """Everything big is imported, and no thread, loop or client exists yet."""
    launch = contract.read_launch(role)
    redact.learn(launch)
    logs.start(launch.log_level)
    stdlib_logs.install()
    phase = failure.IMPORTING
    try:
        if missing is not None:
            raise missing
        found = _user_code(launch)
        phase = failure.STARTING
        asyncio.run(_role(launch, found))
    except BaseException as err:
        failure.give_up(err, launch.app_dir, launch.entry_path, phase)
    drain.leave(0)


def _heavy(role: str) -> "Exception | None":
    try:
        imports.heavy(role)
    except Exception as err:
        return err
    return None


def _user_code(launch: contract.Launch) -> discover.Found:
    environment.prepare(launch)
    imports.give_way(launch.app_dir, os.path.dirname(launch.entry_path))
    _repair(launch)
    module = load.entry(launch)
    imports.settle()
    return discover.agent(module, launch.entry)


def _repair(launch: contract.Launch) -> None:
    """Before the user's code, which may take names out of the SDKs."""
    repair_app.install_fastmcp()
    offload.install_fastmcp()
    if not imports.has("mcp_agent"):
        return
    settings.preload(launch)
    sdk_logs.install(launch)
    repair_app.install_mcp_agent(launch)
    repair_human_input.install()
    repair_gateway.install()
    repair_questions.install()
    if launch.sidecars:
        repair_sidecars.install(launch.sidecars)
    if launch.role == contract.SERVER:
        offload.install_mcp_agent()
    else:
        repair_signals.install()
        repair_steps.install()
        repair_human_input.install_on_temporal()
        repair_aggregators.install()


async def _role(launch: contract.Launch, found: discover.Found) -> None:
    imported = time.monotonic()

    def ready(**facts) -> None:
        status.ready(
            kind=found.kind, app_name=(found.app or found.mcp).name, workflows=found.workflows, tools=found.tools, async_tools=found.async_tools,
            engine_declared=_declared_engine(launch), host_ms=_ms(time.monotonic()), import_ms=_ms(imported), **facts)

    if launch.role == contract.SERVER:
        from agentcloud_host import server

        return await server.run(launch, found, drain.Drain(launch.drain_seconds), ready)
    if not found.workflows:
        status.not_needed()
        return None
    if launch.temporal is None:
        raise failure.StartError("a worker needs to know where Temporal is, and the launch document does not say")
    from agentcloud_host import replay, temporal, worker

    temporal.set_runtime()
    if launch.role == contract.REPLAY:
        return await replay.run(launch, found)
    return await worker.run(launch, found, drain.Drain(launch.drain_seconds), ready)


def _declared_engine(launch: contract.Launch) -> str:
    return launch.settings.get("execution_engine") or "asyncio"


def _ms(at: float) -> int:
    return int((at - _BEGAN) * 1000)
