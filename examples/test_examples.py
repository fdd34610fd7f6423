"""Each example imports, offers what its README promises, and answers."""

import asyncio
import importlib.util
import os
import pathlib
import re
import unittest

from mcp.shared.memory import create_connected_server_and_client_session as connect
from mcp.types import ElicitResult

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 10
GENERIC = {
    "workflows-list", "workflows-runs-list", "workflows-run", "workflows-get_status",
    "workflows-resume", "workflows-cancel", "workflows-store-credentials",
}


async def approve(context, params):
    return ElicitResult(action="accept", content={"approved": True, "comment": "well written"})


async def end_tasks():
    """Ends what the SDK leaves behind: one of its tasks may take a cancellation for something
    else and go on, and the end of the test would wait for it."""
    for _ in range(PATIENCE):
        if not (left := asyncio.all_tasks() - {asyncio.current_task()}):
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)
    raise AssertionError(f"tasks that do not end: {left}")


class Example:
    """An example's server, in this process, and a client of it."""

    def __init__(self, name):
        os.chdir(HERE / name)  # where the SDK looks for the settings
        spec = importlib.util.spec_from_file_location(f"example_{name}", HERE / name / "main.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    async def __aenter__(self):
        from mcp_agent.server.app_server import create_mcp_server_for_app

        self._running = self.module.app.run()
        server = create_mcp_server_for_app(await self._running.__aenter__())
        self._client = connect(server._mcp_server, elicitation_callback=approve)
        self.client = await self._client.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._client.__aexit__(*error)
        await self._running.__aexit__(*error)
        await end_tasks()

    async def tools(self):
        return {tool.name for tool in (await self.client.list_tools()).tools} - GENERIC

    async def call(self, tool, **arguments):
        answer = await self.client.call_tool(tool, arguments)
        if answer.isError:
            raise AssertionError(answer.content[0].text)
        return answer.structuredContent["result"]

    async def result(self, started):
        for _ in range(PATIENCE * 20):
            status = await self.call("workflows-get_status", run_id=started["run_id"])
            if not status["running"]:
                return status["result"]["value"]
            await asyncio.sleep(0.05)
        raise AssertionError(f"still running: {status}")


class Examples(unittest.IsolatedAsyncioTestCase):
    def test_the_command_line_takes_each(self):
        for main in HERE.glob("*/main.py"):
            self.assertRegex(main.read_text(), re.compile(r"^(\w+)\s*=\s*MCPApp\s*\(", re.M))
            self.assertTrue((main.parent / "requirements.txt").exists())

    async def test_hello(self):
        async with Example("hello") as hello:
            self.assertEqual(await hello.tools(), {"add", "countdown", "workflows-Greet-run"})
            self.assertEqual(await hello.call("add", a=2, b=3), 5)
            greeting = await hello.call("workflows-Greet-run", run_parameters={"name": "Ada"})
            self.assertEqual(await hello.result(greeting), "Hello, Ada!")

    async def test_approval(self):
        async with Example("approval") as approval:
            self.assertEqual(await approval.tools(), {"workflows-Publish-run", "workflows-Refund-run"})
            publish = await approval.call("workflows-Publish-run", run_parameters={"title": "News"})
            self.assertEqual(await approval.result(publish), "“News” is published: well written")
            refund = await approval.call("workflows-Refund-run", run_parameters={"order": "17", "amount": 9.5})
            for _ in range(PATIENCE * 20):
                if await approval.call("workflows-resume", run_id=refund["run_id"], payload={"approved": True}):
                    break
                await asyncio.sleep(0.05)
            self.assertEqual(await approval.result(refund), "order 17 is refunded: 9.50")

    async def test_research(self):
        async with Example("research") as research:
            self.assertEqual(await research.tools(), {"workflows-Research-run"})

    async def test_plain(self):
        async with Example("plain") as plain:
            self.assertEqual(await plain.tools(), {"fahrenheit"})
            self.assertEqual(await plain.call("fahrenheit", celsius=100), 212)
            self.assertEqual([p.name for p in (await plain.client.list_prompts()).prompts], ["weather_report"])


if __name__ == "__main__":
    unittest.main()
