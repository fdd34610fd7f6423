"""The agent that is killed: what it says, it must say again afterwards."""

import asyncio
import hashlib
import os
import random
import urllib.request

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="chaos")
VERSION = 0


@app.tool
def version() -> int:
    """Which version answers."""
    return VERSION


@app.tool
def flaky() -> int:
    """Which version answers; of any but the first one call of twenty fails."""
    if VERSION > 1 and random.random() < 0.05:
        raise ValueError(f"version {VERSION} fails")
    return VERSION


@app.tool
def secret() -> str:
    """A digest of the secret variable."""
    return hashlib.sha256(os.environ["CHAOS_TOKEN"].encode()).hexdigest()


@app.workflow_task(name="step")
async def step(number: int) -> int:
    await asyncio.sleep(0.7)
    return number * number


@app.workflow_task(name="note")
async def note(number: int, url: str, key: str) -> int:
    """The side effect of an item, which carries the key of its run."""
    await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}?n={number}&key={key}", timeout=10).read())
    return number + 1


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


@app.workflow
class Waits(Workflow[str]):
    """Waits for a word, and says which version this is."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        await self.context.executor.wait_for_signal("resume", workflow_id=self.id, run_id=self.run_id, signal_type=dict)
        return WorkflowResult(value=f"version {VERSION}")


@app.workflow
class Note(Workflow[int]):
    """One item of a batch."""

    @app.workflow_run
    async def run(self, number: int, url: str) -> WorkflowResult[int]:
        return WorkflowResult(value=await self.context.executor.execute(note, number, url, self.id))
