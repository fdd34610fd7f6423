"""The server role: MCP on the inherited socket, and tool bodies for Temporal."""

import asyncio
import contextlib
import socket
import time

from agentcloud_host import asgi, contract, discover, drain, failure, logs, probe, repair_human_input, temporal, tools_worker

_LAST = 3  # seconds for connections to close once nothing is answered any more


async def run(launch: contract.Launch, found: discover.Found, draining: drain.Drain, ready) -> None:
    listener = _listener()
    tools = _tools(launch, found)
    # Connecting takes as long as the app's own start: do both at once, unless a caller waits.
    polling = asyncio.create_task(tools.start()) if tools and not launch.woken else None
    app = asgi.Application(await _mcp(found))
    server = _uvicorn(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, serving)
        answer = await probe.initialize(app)
        if polling:
            await polling
    except BaseException:
        if polling:
            polling.cancel()
        raise
    if found.kind == "fastmcp":
        found.tools = [t.name for t in await found.mcp.list_tools()]
    app.ready = True
    ready(instructions=answer.get("instructions") or "")
    await _asked(draining, tools if launch.woken else None)
    await _drain(app, server, serving, tools, launch.drain_seconds)


def _listener() -> socket.socket:
    try:
        listener = socket.socket(fileno=contract.FD_LISTENER)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError("it is not listening")
    except OSError as err:
        raise failure.StartError(f"the listening socket was not handed over: {err}") from err
    listener.setblocking(False)
    # Connections inherit it. asyncio sets it on what it knows for TCP, which a socket
    # that somebody else made need not be (MPTCP is not): answers would wait 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _tools(launch: contract.Launch, found: discover.Found):
    if launch.temporal is None or not launch.temporal.tools_queue or not (found.tools or found.async_tools):
        return None
    temporal.set_runtime()
    return tools_worker.ToolsWorker(launch, found)


async def _mcp(found: discover.Found):
    if found.kind == "fastmcp":
        return found.mcp
    from mcp_agent.server.app_server import create_mcp_server_for_app

    repair_human_input.attach(found.app)
    await found.app.initialize()
    return create_mcp_server_for_app(found.app)


def _uvicorn(app: asgi.Application):
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self):
            yield  # signals are the host's business

    # The gateway keeps connections open for reuse; it must be the one to close.
    return Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_keep_alive=120,
                                 timeout_graceful_shutdown=_LAST, ws="none", loop="asyncio"))


async def _started(server, serving: asyncio.Task) -> None:
    while not server.started:
        if serving.done():
            raise failure.StartError("the web server could not start", str(serving.exception() or "it ended"))
        await asyncio.sleep(0.005)


async def _asked(draining: drain.Drain, tools) -> None:
    """Waits for the end, and begins to poll meanwhile; who cannot poll is of no use."""
    asked = asyncio.create_task(draining.asked())
    if tools:
        polling = asyncio.create_task(tools.start())
        await asyncio.wait({asked, polling}, return_when=asyncio.FIRST_COMPLETED)
        if not polling.done():
            polling.cancel()
        else:
            polling.result()
    await asked


async def _drain(app, server, serving, tools, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    logs.info("draining", calls=app.calls)
    for accepting in server.servers:
        accepting.close()  # callers from now on wait in the socket's queue for the next process
    stopping = asyncio.create_task(tools.stop()) if tools else None
    while app.calls and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await app.end_sessions()
    server.should_exit = True
    await asyncio.wait([serving], timeout=_LAST + 1)
    if stopping:
        await asyncio.wait([stopping], timeout=max(deadline - time.monotonic(), 0.1))
