"""An agent's connections to its MCP servers survive the worker that made them.

The SDK remembers only in memory which servers an agent has. The run repeats
it in a header of every later step, so that any worker can connect again.
"""

import contextvars
from contextlib import asynccontextmanager

TASKS = "mcp_agent.agents.agent.AgentTasks."
HEADER = "__agentcloud_servers"
_told: "contextvars.ContextVar[dict | None]" = contextvars.ContextVar("agentcloud_servers", default=None)


def install() -> None:
    from mcp_agent.agents.agent import AgentTasks

    stock = AgentTasks._with_aggregator

    @asynccontextmanager
    async def _with_aggregator(self, agent_name):
        told = _told.get()
        if told is not None and agent_name not in self._agent_init_params:
            self._agent_init_params[agent_name] = (told["server_names"], told["connection_persistence"])
            # Held once, so that the run's own shutdown closes it.
            self.agent_refcounts.setdefault(agent_name, 1)
        async with stock(self, agent_name) as aggregator:
            yield aggregator

    AgentTasks._with_aggregator = _with_aggregator


def outgoing(activity: str, args, known: dict) -> "dict | None":
    """Learns from a run's own steps; says what to send along with this one."""
    if not activity.startswith(TASKS) or not args:
        return None
    request = args[0]
    name = request if isinstance(request, str) else getattr(request, "agent_name", None)
    if activity.endswith(".initialize_aggregator_task"):
        known[name] = {"server_names": list(request.server_names or []), "connection_persistence": bool(request.connection_persistence)}
        return None
    return known.get(name)


def incoming(told: "dict | None") -> None:
    _told.set(told)
