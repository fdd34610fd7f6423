#!/usr/bin/env python3
"""An MCP server without any package: JSON-RPC on standard input and output, a line each."""

import json
import os
import sys

TOOLS = [
    {
        "name": "shout",
        "description": "Say it in capitals.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
    {"name": "process", "description": "Which process this session has.", "inputSchema": {"type": "object"}},
]


def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def call(params):
    if params["name"] == "shout":
        token = params.get("_meta", {}).get("progressToken")
        if token is not None:
            send(method="notifications/progress", params={"progressToken": token, "progress": 1, "total": 1})
        return text(params["arguments"]["text"].upper())
    return text(str(os.getpid()))


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "command", "version": "1.0.0"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call(params)
    return {}  # ping


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        try:
            send(id=request["id"], result=answer(request["method"], request.get("params", {})))
        except KeyError as missing:
            send(id=request["id"], error={"code": -32602, "message": f"{missing} is missing"})
