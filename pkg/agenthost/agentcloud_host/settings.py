"""The settings an agent runs with: its own, and what the cloud must decide."""

import copy
import json
import os

from agentcloud_host import contract, failure, repair_sidecars, stdio

PRELOAD = "MCP_APP_SETTINGS_PRELOAD"


def effective(launch: contract.Launch) -> dict:
    """The launch document's settings with engine, Temporal and logger decided."""
    s = copy.deepcopy(launch.settings)
    s.update(forced(launch, s))
    return s


def forced(launch: contract.Launch, s: dict) -> dict:
    out: dict = {"execution_engine": "temporal" if launch.durable else "asyncio"}
    logger = dict(s.get("logger") or {})
    logger.update(type="none", transports=["none"], progress_display=False)
    logger.setdefault("level", launch.log_level if launch.log_level in ("debug", "info", "warning", "error") else "info")
    out["logger"] = logger
    if launch.durable and launch.temporal:
        t = launch.temporal
        out["temporal"] = {**(s.get("temporal") or {}), "host": t.address, "namespace": t.namespace, "task_queue": t.task_queue,
                           "api_key": t.api_key or None, "tls": False}
    elif "temporal" in s and not {"host", "task_queue"} <= set(s["temporal"] or {}):
        out["temporal"] = None  # half a block would fail validation, and this role has no use for it
    auth = s.get("authorization") or {}
    if auth.get("enabled"):
        # The gateway checks callers and never passes their keys on, so the
        # agent's own check would refuse everybody.
        out["authorization"] = {**auth, "enabled": False}
    return out


def preload(launch: contract.Launch) -> None:
    """Makes the effective settings the ones get_settings() answers with.

    They go through the SDK's documented variable, which is taken away again:
    children of the user's code would inherit the secrets in it."""
    from mcp_agent import config

    wanted = effective(launch)
    os.environ[PRELOAD] = json.dumps(wanted)
    os.environ[PRELOAD + "_STRICT"] = "1"
    try:
        config._settings = config.get_settings()
    except ValueError as err:
        raise failure.StartError("the app's settings are not valid: " + _problems(err)) from None
    finally:
        del os.environ[PRELOAD], os.environ[PRELOAD + "_STRICT"]


def impose(launch: contract.Launch, settings) -> "list[str]":
    """Decides the same in a Settings object that the user's code made itself.
    Says what it changed."""
    from mcp_agent import config

    before = settings.model_dump(mode="python")
    wanted = forced(launch, before)
    changed = []
    if settings.execution_engine != wanted["execution_engine"]:
        settings.execution_engine = wanted["execution_engine"]
        changed.append("execution_engine")
    if wanted.get("temporal"):
        settings.temporal = config.TemporalSettings(**wanted["temporal"])
        changed.append("temporal")
    settings.logger = config.LoggerSettings(**wanted["logger"])
    if "authorization" in wanted and settings.authorization is not None:
        settings.authorization.enabled = False
        changed.append("authorization")
    servers = settings.mcp.servers if settings.mcp and settings.mcp.servers else {}
    plain = {name: {"command": s.command, "args": list(s.args or []), "env": s.env} for name, s in servers.items()}
    mine = repair_sidecars.rewrite(plain, launch.sidecars) if launch.sidecars else []
    for name in mine + stdio.rewrite(plain, launch.stdio_commands):
        servers[name].command, servers[name].args, servers[name].env = plain[name]["command"], plain[name]["args"], plain[name].get("env")
        changed.append(f"mcp.servers.{name}")
    return changed


def _problems(err: ValueError) -> str:
    errors = getattr(err.__cause__, "errors", None)
    if not callable(errors):
        return str(err.__cause__ or err)
    # The offending values are left out: they may be secrets.
    found = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in errors(include_input=False, include_url=False)]
    return "; ".join(found[:5])
