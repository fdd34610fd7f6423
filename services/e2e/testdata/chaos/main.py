"""The agent that is killed: what it says, it must say again afterwards."""

import asyncio
import hashlib
import os

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="chaos")
VERSION = 0


@app.tool
def version() -> int:
    """Which version answers."""
    return VERSION


@app.tool
def secret() -> str:
    """A digest of the secret variable."""
    return hashlib.sha256(os.environ["CHAOS_TOKEN"].encode()).hexdigest()


@app.workflow_task(name="step")
async def step(number: int) -> int:
    await asyncio.sleep(0.7)
    return number * number


@app.async_tool
async def slow_sum(upto: int) -> int:
    """Add the numbers up to a limit, slowly."""
    await asyncio.sleep(2)
    return sum(range(upto + 1))


@app.workflow
class Steps(Workflow[str]):
    """Squares three numbers, one after another, waits for a word, and says all of it."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        squares = [await self.context.executor.execute(step, number) for number in (1, 2, 3)]
        app.logger.info(f"squared for {name}")
        word = await self.context.executor.wait_for_signal("resume", workflow_id=self.id, run_id=self.run_id, signal_type=dict)
        return WorkflowResult(value=f"{name}: {squares} {word['word']}")
