"""Workflows that do what ordinary Python does."""

import asyncio
import os
import random
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Optional

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.core.context import Context
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.human_input.console_handler import console_input_callback
from mcp_agent.human_input.types import HumanInputRequest
from pydantic import BaseModel
from temporalio import activity

app = MCPApp(name="durable", human_input_callback=console_input_callback)
SEEN = os.environ.get("SEEN", "/dev/null")


def note(text):
    with open(SEEN, "a") as f:
        f.write(text + "\n")


class Opt(BaseModel):
    n: int


@dataclass
class Inner:
    s: str


@dataclass
class Outer:
    inner: Inner


@app.workflow_task(name="slow_step")
async def slow_step(seconds: float, blocking: bool) -> str:
    note(f"slow {os.getpid()}")
    time.sleep(seconds) if blocking else await asyncio.sleep(seconds)
    return f"slept {seconds}"


@app.workflow_task(name="failing_step")
async def failing_step() -> str:
    note("failing")
    raise KeyError("no such thing")


@app.workflow_task(name="odd_step")
async def odd_step(kind: str) -> str:
    note("failing")
    raise {"KeyError": KeyError, "ValueError": ValueError}[kind]("odd")


@app.workflow_task(name="telling_step")
async def telling_step() -> dict:
    from agentcloud_host import patience  # which the SDK's own server does not have

    i = activity.info()
    times = {k: getattr(i, k + "_timeout").total_seconds() for k in ("schedule_to_close", "heartbeat")}
    times["start_to_close"] = round(patience.current().left())
    return {"priority": i.priority.priority_key, "share": i.priority.fairness_key, "weight": i.priority.fairness_weight, **times}


@app.workflow
class OddStep(Workflow[str]):
    @app.workflow_run
    async def run(self, kind: str) -> WorkflowResult[str]:
        return WorkflowResult(value=await self.context.executor.execute(odd_step, kind))


@app.workflow
class Tells(Workflow[dict]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[dict]:
        return WorkflowResult(value=await self.context.executor.execute(telling_step))


@app.workflow
class Steps(Workflow[str]):
    @app.workflow_run
    async def run(self, seconds: float, blocking: bool = False) -> WorkflowResult[str]:
        return WorkflowResult(value=await self.context.executor.execute(slow_step, seconds, blocking))


@app.workflow
class FailingStep(Workflow[str]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        return WorkflowResult(value=await self.context.executor.execute(failing_step))


@app.workflow
class Raises(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        if text == "exit":
            raise SystemExit(3)
        raise ValueError(text)


@app.workflow
class Several(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str, opt: Opt, out: Outer, times: int = 2, note: Optional[str] = None) -> WorkflowResult[str]:
        return WorkflowResult(value=f"{text} {type(opt).__name__}({opt.n}) {type(out.inner).__name__}({out.inner.s}) {times!r} {note!r}")


@app.workflow
class Blocks(Workflow[str]):
    @app.workflow_run
    async def run(self, seconds: float) -> WorkflowResult[str]:
        time.sleep(seconds)
        return WorkflowResult(value=f"{random.random()} {uuid.uuid4()} {time.time()}")


@app.workflow
class Waits(Workflow[str]):
    """Waits for as many resumes as it is told."""

    @app.workflow_run
    async def run(self, times: int, pause: float) -> WorkflowResult[list]:
        got = []
        for _ in range(times):
            await asyncio.sleep(pause)
            got.append(await self.context.executor.wait_for_signal("resume", workflow_id=self.id, run_id=self.run_id))
        return WorkflowResult(value=[f"{type(g).__mro__[-2 if type(g).__mro__[-1] is object else -1].__name__}:{g}" for g in got])


@app.workflow
class Asks(Workflow[str]):
    @app.workflow_run
    async def run(self, question: str) -> WorkflowResult[str]:
        answer = await self.context.upstream_session.elicit(message=question, requestedSchema={"type": "object", "properties": {"response": {"type": "string"}}})
        return WorkflowResult(value=f"{answer.action} {answer.content['response']}")


@app.workflow
class AsksHuman(Workflow[str]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        async with Agent(name="human", instruction="", server_names=[]) as agent:
            answer = await agent.request_human_input(HumanInputRequest(prompt="who?"))
        return WorkflowResult(value=answer.response)


@app.workflow
class Logs(Workflow[str]):
    @app.workflow_run
    async def run(self, word: str) -> WorkflowResult[str]:
        for i in range(3):
            app.logger.info(f"{word} {i}")
            print(f"printed {word} {i}")
            await asyncio.sleep(0.05)
        return WorkflowResult(value=word)


@app.workflow
class UsesServer(Workflow[str]):
    """Calls a tool of a stdio server, waits, and calls it again."""

    @app.workflow_run
    async def run(self, pause: float) -> WorkflowResult[str]:
        agent = Agent(name="user", instruction="", server_names=["echo"], context=self.context)
        async with agent:
            first = await agent.call_tool("echo", {"text": "one"})
            await asyncio.sleep(pause)
            second = await agent.call_tool("echo", {"text": "two"})
        return WorkflowResult(value=" ".join(r.content[0].text for r in (first, second)))


@app.tool
def blocking_tool(seconds: float) -> str:
    note(f"blocking {os.getpid()}")
    time.sleep(seconds)
    return f"slept {seconds}"


@app.async_tool
async def blocking_async_tool(seconds: float) -> str:
    note(f"blocking async {os.getpid()}")
    time.sleep(seconds)
    return f"slept {seconds}"


@app.async_tool
async def async_tool(seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return f"slept {seconds}"


@app.async_tool(name="typed")
async def typed_tool(opt: Opt, when: timedelta, n: int = 3, app_ctx: Optional[Context] = None) -> dict:
    app_ctx.logger.info(f"typed {n}")
    return {"opt": Opt(n=opt.n + n), "when": when.total_seconds(), "kind": type(opt).__name__}


@app.async_tool
async def asking_tool(question: str, app_ctx: Optional[Context] = None) -> str:
    await app_ctx.report_progress(0.5, 1.0, "half")
    answer = await app_ctx.upstream_session.elicit(message=question, requestedSchema={"type": "object", "properties": {"response": {"type": "string"}}})
    return f"{answer.action} {answer.content['response']}"


@app.tool
async def patient_tool(question: str, seconds: float = 0, app_ctx: Optional[Context] = None) -> str:
    note("patient")
    answer = await app_ctx.upstream_session.request("elicitation/create", {
        "message": question, "requestedSchema": {"type": "object", "properties": {"response": {"type": "string"}}},
        "_meta": {"io.agentcloud/deadlineSeconds": 60}})
    await asyncio.sleep(seconds)
    return f"{answer['action']} after all"


@app.tool
def protocol_tool(code: int) -> str:
    from mcp.shared.exceptions import McpError
    from mcp.types import ErrorData

    raise McpError(ErrorData(code=code, message="no credit", data={"left": 0}))


@app.tool
def raising_tool(text: str) -> str:
    note("raising")
    raise ValueError(text)
