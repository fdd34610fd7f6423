"""The stdio servers of the settings run beside the agent (Go: runtime/sidecar).

Their client speaks with them over the runtime's socket, where the SDK would
start a process. What the user's code starts itself is not touched.
"""

import contextlib
import json
import os
import sys

from agentcloud_host import contract

COMMAND = "agentcloud-sidecar"  # stands in the settings; its argument is the server's name
_MAX_ANSWER = 4 << 10
_LONGEST_PATH = 100  # of a unix socket


def rewrite(servers: dict, sidecars: "contract.Sidecars") -> "list[str]":
    """Takes servers that user code made itself for those of the settings when
    they are the same. Changes servers in place, says whose command it changed."""
    changed = []
    for name, server in servers.items():
        known = sidecars.servers.get(name)
        if known and server.get("command") == known["command"] and list(server.get("args") or []) == (known.get("args") or []):
            server["command"], server["args"], server["env"] = COMMAND, [name], None
            changed.append(name)
    return changed


def install(sidecars: "contract.Sidecars") -> None:
    from mcp_agent.mcp import stdio_transport

    stock = stdio_transport.stdio_client

    def stdio_client(server, errlog=sys.stderr):
        if server.command == COMMAND:
            return connected(sidecars, server.args[0])
        return stock(server, errlog)

    stdio_transport.stdio_client = stdio_client


@contextlib.asynccontextmanager
async def connected(sidecars: "contract.Sidecars", name: str):
    """The streams of a client session, as the SDK's stdio_client gives them."""
    import anyio

    stream = await _dial(sidecars, name)
    into, incoming = anyio.create_memory_object_stream(0)
    outgoing, out_of = anyio.create_memory_object_stream(0)
    async with stream, incoming, outgoing, anyio.create_task_group() as tasks:
        tasks.start_soon(_receive, stream, into)
        tasks.start_soon(_send, stream, out_of)
        try:
            yield incoming, outgoing
        finally:
            tasks.cancel_scope.cancel()


async def _receive(stream, into) -> None:
    import anyio
    from mcp import types
    from mcp.shared.message import SessionMessage

    async with into:
        parts: "list[bytes]" = []
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                *lines, rest = (await stream.receive()).split(b"\n")
                for line in lines:
                    whole, parts = b"".join([*parts, line]), []
                    try:
                        message = SessionMessage(types.JSONRPCMessage.model_validate_json(whole))
                    except ValueError as err:
                        message = err
                    await into.send(message)
                parts.append(rest)


async def _send(stream, out_of) -> None:
    import anyio

    async with out_of:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for message in out_of:
                text = message.message.model_dump_json(by_alias=True, exclude_none=True)
                await stream.send(text.encode() + b"\n")


async def _dial(sidecars: "contract.Sidecars", name: str):
    import anyio

    with _address(sidecars.socket) as path:
        try:
            stream = await anyio.connect_unix(path)
        except OSError as err:
            raise ConnectionError(f"the MCP server {name} cannot be reached: {err.strerror}") from None
    await stream.send(json.dumps({"token": sidecars.token, "server": name}).encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < _MAX_ANSWER:
        # Nothing else comes before we have spoken.
        try:
            answer += await stream.receive()
        except anyio.EndOfStream:
            raise ConnectionError(f"the MCP server {name} cannot be reached: too many connections are open") from None
    refused = json.loads(answer).get("error")
    if refused:
        await stream.aclose()
        raise ConnectionError(f"the MCP server {name} cannot be reached: {refused}")
    return stream


@contextlib.contextmanager
def _address(path: str):
    """A path that is too long for an address is reached by way of its folder."""
    if len(path) <= _LONGEST_PATH:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
