"""A workflow of one step, which says when it began."""

import asyncio
import time

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="flood")


@app.workflow_task(name="step")
async def step(seconds: float) -> float:
    began = time.time()
    await asyncio.sleep(seconds)
    return began


@app.workflow
class Step(Workflow[float]):
    @app.workflow_run
    async def run(self, seconds: float = 0) -> WorkflowResult[float]:
        return WorkflowResult(value=await self.context.executor.execute(step, seconds))
