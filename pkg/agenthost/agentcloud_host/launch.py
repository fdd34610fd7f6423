"""The order of a start: imports, (fork point), what we are told, the user's
code, the role."""

import asyncio
import sys
import time

_BEGAN = time.monotonic()

from agentcloud_host import (  # noqa: E402
    contract, discover, drain, environment, failure, imports, load, logs, offload, redact, repair_app, repair_aggregators,
    repair_gateway, repair_human_input, repair_signals, repair_steps, sdk_logs, settings, status, stdlib_logs, streams,
)


def main(argv: "list[str]") -> None:
    role = argv[0] if argv else ""
    if role not in (contract.SERVER, contract.WORKER):
        sys.exit(f"usage: agentcloud_host {contract.SERVER}|{contract.WORKER}")
    contract.adopt(role)
    logs.start("info")
    streams.capture()
    status.starting()
    imports.quicken()
    missing = _heavy(role)
    # A process may be forked from here on: no thread, loop or client exists yet.
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
    from agentcloud_host import temporal, worker

    temporal.set_runtime()
    return await worker.run(launch, found, drain.Drain(launch.drain_seconds), ready)


def _declared_engine(launch: contract.Launch) -> str:
    return launch.settings.get("execution_engine") or "asyncio"


def _ms(at: float) -> int:
    return int((at - _BEGAN) * 1000)
