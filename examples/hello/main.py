"""A first agent: a tool that answers, a tool that runs on, and a workflow."""

import asyncio

from mcp_agent.app import MCPApp
from mcp_agent.core.context import Context
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="hello", description="Greets, adds and counts.")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.async_tool
async def countdown(start: int = 3, app_ctx: Context | None = None) -> str:
    """Count down, one number a second; ask for the result with workflows-get_status."""
    for number in range(start, 0, -1):
        if app_ctx:
            app_ctx.logger.info(f"{number} …")
        await asyncio.sleep(1)
    return "lift-off"


@app.workflow
class Greet(Workflow[str]):
    """Greet somebody."""

    @app.workflow_run
    async def run(self, name: str = "World") -> WorkflowResult[str]:
        app.logger.info(f"greeting {name}")
        return WorkflowResult(value=f"Hello, {name}!")
