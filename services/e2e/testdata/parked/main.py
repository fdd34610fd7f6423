import asyncio

from mcp.server.fastmcp import Context, FastMCP
from mcp_agent.app import MCPApp
from pydantic import BaseModel

mcp = FastMCP("parked")
app = MCPApp(name="parked", mcp=mcp)
calls = 0


class Sure(BaseModel):
    sure: bool


@mcp.tool()
async def ask(what: str, ctx: Context, pause: float = 0) -> str:
    """Asks, works for a while, and says which call of this process it was."""
    global calls
    calls += 1
    call = calls
    answer = await ctx.elicit(message=f"{what}?", schema=Sure)
    await ctx.report_progress(1)
    await asyncio.sleep(pause)
    return f"{what}: {answer.data.sure} in call {call}"
