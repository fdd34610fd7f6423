"""Asks the server what a client would, without the network: ready means that
MCP answers, not that a port is open."""

import json

from agentcloud_host import failure


async def initialize(app) -> dict:
    """The result of `initialize`; the session it opened is closed again."""
    import httpx
    from mcp.types import LATEST_PROTOCOL_VERSION

    headers = {"accept": "application/json, text/event-stream"}
    params = {"protocolVersion": LATEST_PROTOCOL_VERSION, "capabilities": {}, "clientInfo": {"name": "agentcloud-host", "version": "1"}}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60) as client:
        try:
            answer = await client.post("/mcp", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        except AssertionError as err:  # the transport's way to say that the app returned in the middle of its answer
            raise failure.StartError("the agent's MCP server does not answer `initialize`: it ended the request without an answer") from err
        session = answer.headers.get("mcp-session-id")
        if session:
            await client.delete("/mcp", headers={**headers, "mcp-session-id": session})
    message = _message(answer.text)
    if answer.status_code != 200 or "result" not in message:
        raise failure.StartError(f"the agent's MCP server does not answer `initialize` (HTTP {answer.status_code})", answer.text[:2000])
    return message["result"]


def _message(text: str) -> dict:
    for line in [*(ln[5:] for ln in text.splitlines() if ln.startswith("data:")), text]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}
