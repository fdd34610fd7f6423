"""What a user's code finds around it: environment variables, working
directory, module path."""

import os
import sys

from agentcloud_host import contract


def prepare(launch: contract.Launch) -> None:
    os.environ.update({str(k): str(v) for k, v in launch.env.items()})
    os.environ["MCP_GATEWAY_URL"] = launch.gateway.url
    if launch.gateway.token:
        os.environ["MCP_GATEWAY_TOKEN"] = launch.gateway.token
    os.environ.setdefault("MCP_AGENT_DISABLE_VERSION_CHECK", "1")
    if not launch.gateway.url:
        del os.environ["MCP_GATEWAY_URL"]
    # As `python main.py` would have it: the entry's directory first.
    for path in (launch.app_dir, os.path.dirname(launch.entry_path)):
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(0, path)
