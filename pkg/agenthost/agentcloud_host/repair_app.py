"""MCPApp and FastMCP as the user's code makes them, fitted to the cloud."""

import functools

from agentcloud_host import contract, discover, logs, settings


def install_mcp_agent(launch: contract.Launch) -> None:
    from mcp_agent.app import MCPApp

    stock = MCPApp.__init__

    @functools.wraps(stock)
    def __init__(self, *args, **kwargs):
        stock(self, *args, **kwargs)
        discover.made.append(self)
        given = kwargs.get("settings", args[2] if len(args) > 2 else None)
        if given is not None:
            changed = settings.impose(launch, self._config)
            logs.warning("the code gives MCPApp its settings itself, so those of the deployment are not used"
                         + (f"; the cloud decided: {', '.join(changed)}" if changed else ""), app=self.name)

    MCPApp.__init__ = __init__


def install_fastmcp() -> None:
    """A server that the module starts itself is served by the host instead."""
    from mcp.server.fastmcp import FastMCP

    def run(self, *args, **kwargs):
        logs.info(f"{self.name}.run() was called and did nothing: the cloud serves it")

    async def run_async(self, *args, **kwargs):
        run(self)

    FastMCP.run = run
    for name in ("run_stdio_async", "run_sse_async", "run_streamable_http_async"):
        if hasattr(FastMCP, name):
            setattr(FastMCP, name, run_async)
