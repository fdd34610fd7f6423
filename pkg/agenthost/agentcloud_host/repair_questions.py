"""What a step asks a person is asked once, however often the step is tried, and
waited for as long as it takes.

The SDK gives a question up when its connection breaks, and asks another one when
the step is tried again.
"""

import asyncio
import hashlib
import json
import os

from agentcloud_host import patience

_ASK = "X-Agentcloud-Ask"  # names a question of a step
_FIRST, _LONGEST = 0.2, 5.0  # seconds between two tries to reach the gateway
_HOLD = 300.0  # seconds after which a silent connection is given up; asking again is harmless


def install() -> None:
    from mcp_agent.executor.temporal import system_activities
    from mcp_agent.mcp import client_proxy

    stock = client_proxy.request_via_proxy

    async def request_via_proxy(make_async_call, execution_id, method, params=None, *, gateway_url=None, gateway_token=None):
        watch = patience.current()
        if watch is None or os.environ.get("MCP_GATEWAY_REQUEST_TIMEOUT"):
            return await stock(make_async_call, execution_id, method, params, gateway_url=gateway_url, gateway_token=gateway_token)
        base = client_proxy._resolve_gateway_url(gateway_url=gateway_url, context_gateway_url=None)
        token = gateway_token or os.environ.get("MCP_GATEWAY_TOKEN")
        headers = {"X-MCP-Gateway-Token": token, "Authorization": f"Bearer {token}"} if token else {}
        body = {"method": method, "params": params or {}}
        name = _name(watch, body)
        if make_async_call:
            return await _asked(base, execution_id, {**body, "signal_name": f"mcp_rpc_{method}_{name}"}, headers)
        with watch.standing():
            return await _post(_path(base, execution_id, "request"), body, {**headers, _ASK: name})

    client_proxy.request_via_proxy = system_activities.request_via_proxy = request_via_proxy


async def _asked(base: str, execution_id: str, body: dict, headers: dict) -> dict:
    """A question whose answer comes as a signal: the workflow waits, not the step."""
    from temporalio import activity

    said = await _post(_path(base, activity.info().workflow_id, execution_id, "async-request"), body, headers)
    return said if said.get("error") else {"error": "", "signal_name": body["signal_name"]}


def _path(base: str, *parts: str) -> str:
    from urllib.parse import quote

    return f"{base}/internal/session/by-run/" + "/".join(quote(p, safe="") for p in parts)


def _name(watch: "patience.Watch", body: dict) -> str:
    """The same for the same question in each try of a step."""
    from temporalio import activity

    asked = json.dumps(body, sort_keys=True, default=str)
    text = "\0".join([activity.info().workflow_run_id, activity.info().activity_id, asked, str(watch.nth(asked))])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def _post(url: str, body: dict, headers: dict) -> dict:
    """The gateway's answer; while it is away, again. The step's own end ends this."""
    import httpx

    pause = _FIRST
    async with httpx.AsyncClient(timeout=httpx.Timeout(10, read=_HOLD), trust_env=False) as client:
        while True:
            try:
                r = await client.post(url, json=body, headers=headers)
            except httpx.RequestError:
                r = None
            if r is not None and r.status_code < 500 and r.status_code != 429:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST)
    if r.status_code >= 400:
        return {"error": r.text}
    try:
        return r.json()
    except ValueError:
        return {"error": "invalid_response"}
