import os

from mcp.server.fastmcp import FastMCP

mcp = FastMCP("echo")


@mcp.tool()
def echo(text: str) -> str:
    return f"{text}@{os.getppid()}"


if __name__ == "__main__":
    mcp.run()
