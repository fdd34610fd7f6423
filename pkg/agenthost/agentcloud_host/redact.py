"""Keeps the values this process was entrusted with out of what it says.

It knows values, not shapes: what the launch document named as secret. A value
that a user's code makes up or fetches itself is not known here.
"""

import json
import re

_SECRETISH = re.compile(r"key|token|secret|password|passwd|credential|authorization", re.IGNORECASE)
_SHORTEST = 8  # shorter values are words; hiding them would garble every line
_pattern: "re.Pattern | None" = None


def learn(launch) -> None:
    found = set(str(v) for v in (*launch.env.values(), *launch.secrets.values()))
    found.add(launch.gateway.token)
    if launch.temporal:
        found.add(launch.temporal.api_key)
    _leaves(launch.settings, "", found)
    global _pattern
    forms = {form for v in found if len(v) >= _SHORTEST for form in (v, json.dumps(v)[1:-1])}
    _pattern = re.compile("|".join(re.escape(f) for f in sorted(forms, key=len, reverse=True))) if forms else None


def text(s: str) -> str:
    return _pattern.sub("[secret]", s) if _pattern else s


def _leaves(node, name: str, found: set) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            # Everything under `env` or `headers` of an MCP server may be a secret.
            _leaves(value, "secret" if name in ("env", "headers") else str(key), found)
    elif isinstance(node, list):
        for value in node:
            _leaves(value, name, found)
    elif isinstance(node, str) and _SECRETISH.search(name):
        found.add(node)
