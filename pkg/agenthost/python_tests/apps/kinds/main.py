"""An mcp-agent app of every kind of part."""

import asyncio
import time
from typing import Optional

from mcp_agent.app import MCPApp
from mcp_agent.core.context import Context
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="kinds", description="All kinds")


@app.tool
def add(a: int, b: int = 2) -> int:
    """Adds."""
    print(f"adding {a} and {b}")
    return a + b


@app.tool
def slow(seconds: float, app_ctx: Optional[Context] = None) -> str:
    """Blocks."""
    app_ctx.logger.info("going to sleep")
    time.sleep(seconds)
    return f"slept {seconds}"


@app.async_tool
async def ask(question: str, app_ctx: Optional[Context] = None) -> str:
    """Asks the client."""
    answer = await app_ctx.upstream_session.elicit(message=question, requestedSchema={"type": "object", "properties": {"ok": {"type": "boolean"}}})
    return answer.action


@app.workflow
class Echo(Workflow[str]):
    """Echoes."""

    @app.workflow_run
    async def run(self, text: str, times: int = 1) -> WorkflowResult[str]:
        await asyncio.sleep(0)
        return WorkflowResult(value=" ".join([text] * times))


if __name__ == "__main__":
    raise SystemExit("the cloud must not run this")
