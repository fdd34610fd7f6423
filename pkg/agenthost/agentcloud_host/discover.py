"""Finds the one agent in a user's module."""

import sys
from dataclasses import dataclass, field
from typing import Any

from agentcloud_host import failure

_USUAL = ("mcp", "server", "app")


@dataclass
class Found:
    kind: str
    app: Any = None  # MCPApp, for mcp-agent
    mcp: Any = None  # FastMCP, for fastmcp
    workflows: "list[str]" = field(default_factory=list)
    tools: "list[str]" = field(default_factory=list)
    async_tools: "list[str]" = field(default_factory=list)


made: "list[Any]" = []  # every MCPApp, in the order the user's code made them


def agent(module, entry: str) -> Found:
    apps = _instances(module, "mcp_agent.app", "MCPApp") or _unique(made)
    if len(apps) > 1:
        names = ", ".join(repr(a.name) for a in apps)
        raise failure.StartError(f"{entry} makes {len(apps)} MCPApps ({names}); one app serves one: keep one in {entry}")
    if apps:
        return _mcp_agent(apps[0])
    servers = _instances(module, "mcp.server.fastmcp", "FastMCP")
    if len(servers) > 1:
        servers = [getattr(module, n) for n in _USUAL if getattr(module, n, None) in servers][:1] or servers
    if len(servers) > 1:
        raise failure.StartError(f"{entry} makes {len(servers)} FastMCP servers; name the one to serve `mcp`")
    if servers:
        return Found(kind="fastmcp", mcp=servers[0])
    raise failure.StartError(f"{entry} makes no agent: it needs a line such as `app = MCPApp(name=...)` or `mcp = FastMCP(...)` at the top level{_almost(module)}")


def _mcp_agent(app) -> Found:
    found = Found(kind="mcp-agent", app=app)
    found.tools = [d["name"] for d in app._declared_tools if d["mode"] == "sync"]
    found.async_tools = [d["name"] for d in app._declared_tools if d["mode"] == "async"]
    declared = set(found.tools) | set(found.async_tools)
    found.workflows = [n for n in app.workflows if n not in declared]
    return found


def _instances(module, package: str, cls: str) -> list:
    kind = getattr(sys.modules.get(package), cls, None)
    return _unique([v for v in vars(module).values() if isinstance(v, kind)]) if kind else []


def _unique(values) -> list:
    seen: "dict[int, Any]" = {}
    for v in values:
        seen.setdefault(id(v), v)
    return list(seen.values())


def _almost(module) -> str:
    other = getattr(sys.modules.get("fastmcp"), "FastMCP", None)
    if other and any(isinstance(v, other) for v in vars(module).values()):
        return " (the FastMCP of the package `fastmcp` is another one: use `from mcp.server.fastmcp import FastMCP`)"
    return ""
