"""A plain FastMCP server, without workflows. The command line wants to see an MCPApp,
so one wraps it; the server stays usable as it is by `mcp run main.py:mcp`."""

from mcp.server.fastmcp import FastMCP
from mcp_agent.app import MCPApp

mcp = FastMCP("plain", instructions="Converts temperatures.")
app = MCPApp(name="plain", description="Converts temperatures.", mcp=mcp)


@mcp.tool()
def fahrenheit(celsius: float) -> float:
    """Convert degrees Celsius to degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


@mcp.resource("scale://{name}")
def scale(name: str) -> str:
    """Where a scale has its fixed points."""
    points = {"celsius": "water freezes at 0 and boils at 100", "fahrenheit": "water freezes at 32 and boils at 212"}
    return points.get(name.lower(), f"there is no scale called {name}")


@mcp.prompt()
def weather_report(city: str) -> str:
    """Ask for a weather report in both scales."""
    return f"Write a short weather report for {city} with temperatures in Celsius and Fahrenheit."
