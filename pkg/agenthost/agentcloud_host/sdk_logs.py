"""mcp-agent's own logger: onto the log pipe, and to the right client.

Within a run the SDK's listener guesses the run from a global, so that under
concurrency one run's words reach another's client; there the run's id is taken
where the words are said.
"""

import asyncio

from agentcloud_host import contract, forward, logs, stdlib_logs

_LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "progress": "INFO"}
_ORDER = {"debug": 10, "info": 20, "progress": 20, "warning": 30, "error": 40}


class _Silent:
    """A transport or listener that says nothing: the line is written already."""

    async def send_event(self, event):
        return None

    async def handle_event(self, event):
        return None


def install(launch: contract.Launch) -> None:
    import mcp_agent.core.context as context
    from mcp_agent.logging.logger import Logger, LoggingConfig
    from mcp_agent.logging.transport import AsyncEventBus

    context.create_transport = lambda *args, **kwargs: _Silent()
    AsyncEventBus.get().listeners["logging"] = _Silent()
    stock, forwarder = Logger._emit_event, forward.Forwarder(launch.gateway)

    def _emit_event(self, event):
        ids = logs.speaker()
        chosen = LoggingConfig.get_event_filter()
        shown = chosen.matches(event) if chosen is not None else _ORDER.get(event.type, 20) >= logs.minimum
        if ids.get("replaying") or stdlib_logs.is_noise(event.message):
            return
        if shown:
            name = f"{event.namespace}.{event.name}" if event.name else event.namespace
            logs.write(_LEVELS.get(event.type, "INFO"), name, event.message, event.data or None, event.timestamp.timestamp(), ids)
        if ids.get("run_id"):
            if shown:
                forwarder.send(ids["run_id"], event)
        elif event.upstream_session is not None:
            _to_client(stock, self, event)

    Logger._emit_event = _emit_event


def _to_client(stock, logger, event) -> None:
    try:
        asyncio.get_running_loop()
        stock(logger, event)
        return
    except RuntimeError:
        pass
    loop = getattr(logger.event_bus, "_loop", None)
    if loop is not None and loop.is_running():  # a tool's thread: the bus lives on the server's loop
        asyncio.run_coroutine_threadsafe(logger.event_bus.emit(event), loop)
