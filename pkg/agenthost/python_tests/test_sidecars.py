"""The client of a stdio server that the runtime runs beside the agent."""

import json
import os
import socket
import tempfile
import threading
import unittest

import harness

APP = """from mcp_agent.app import MCPApp
from mcp_agent.mcp.gen_client import gen_client

app = MCPApp(name="t")


@app.tool
async def ask(word: str) -> str:
    async with gen_client("box", server_registry=app.context.server_registry, context=app.context) as session:
        return (await session.call_tool("echo", {"word": word})).content[0].text


@app.tool
def how() -> str:
    s = app.config.mcp.servers["box"]
    return f"{s.command} {s.args} {s.env}"
"""


class Runtime:
    """The socket of a runtime with one server, box, which echoes."""

    def __init__(self, token="right"):
        self.folder = tempfile.mkdtemp(prefix="x" * 120)  # too long for an address
        self.path = os.path.join(self.folder, "s")
        fd = os.open(self.folder, os.O_RDONLY)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"/proc/self/fd/{fd}/s")
        os.close(fd)
        self.listener.listen()
        self.token, self.hellos, self.ended = token, [], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def launch(self, servers=None):
        return {"socket": self.path, "token": self.token, "servers": servers or {}}

    def close(self):
        self.listener.close()
        os.unlink(self.path)
        os.rmdir(self.folder)

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn, conn.makefile("rw") as lines:
            hello = json.loads(lines.readline())
            self.hellos.append(hello)
            wrong = "" if hello == {"token": "right", "server": "box"} else "this is not a sidecar of yours"
            lines.write(json.dumps({"error": wrong} if wrong else {}) + "\n")
            lines.flush()
            for line in lines if not wrong else ():
                if not self._answer(lines, json.loads(line)):
                    break
            self.ended += 1

    def _answer(self, lines, message):
        """Whether to go on."""
        if "id" not in message:
            return True
        if message["method"] == "initialize":
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "box", "version": "1"}}
        elif message["method"] == "tools/call":
            word = message["params"]["arguments"]["word"]
            if word == "hang up":
                return False
            result = {"content": [{"type": "text", "text": word}]}
        else:
            result = {"tools": []}
        text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, ensure_ascii=False) + "\n"
        half = len(text) // 2
        for part in (text[:half], text[half:]):
            lines.write(part)
            lines.flush()
        return True


SETTINGS = {"mcp": {"servers": {"box": {"command": "agentcloud-sidecar", "args": ["box"]}}}}


class Sidecars(unittest.TestCase):
    def setUp(self):
        self.runtime = Runtime()
        self.addCleanup(self.runtime.close)

    def test_calls_go_over_the_socket(self):
        with harness.Host("server", None, files={"main.py": APP}, settings=SETTINGS, sidecars=self.runtime.launch()) as host:
            host.ready()
            for word in ("hello", "ü" * 300_000):
                self.assertEqual(harness.call(host.url, lambda s: s.call_tool("ask", {"word": word})).content[0].text, word)
            harness.wait_for("both connections' end", lambda: self.runtime.ended == 2)
            lost = harness.call(host.url, lambda s: s.call_tool("ask", {"word": "hang up"}))
            self.assertTrue(lost.isError)
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("ask", {"word": "again"})).content[0].text, "again")

    def test_a_refusal_is_told(self):
        sidecars = {**self.runtime.launch(), "token": "wrong"}
        with harness.Host("server", None, files={"main.py": APP}, settings=SETTINGS, sidecars=sidecars) as host:
            host.ready()
            answer = harness.call(host.url, lambda s: s.call_tool("ask", {"word": "x"}))
            self.assertTrue(answer.isError)
            told = answer.content[0].text + json.dumps(host.logs)
            self.assertIn("the MCP server box cannot be reached: this is not a sidecar of yours", told)

    def test_settings_made_by_code_use_it_when_they_are_the_same(self):
        made = (
            "from mcp_agent.config import Settings, MCPSettings, MCPServerSettings\n" + APP.replace(
                'MCPApp(name="t")', 'MCPApp(name="t", settings=Settings(mcp=MCPSettings(servers={"box": MCPServerSettings(command="python", args=["box.py"], env={"A": "1"})})))'))
        written = {"box": {"command": "python", "args": ["box.py"]}}
        with harness.Host("server", None, files={"main.py": made}, settings={}, sidecars=self.runtime.launch(written)) as host:
            host.ready()
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("how", {})).content[0].text, "agentcloud-sidecar ['box'] None")
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("ask", {"word": "hi"})).content[0].text, "hi")
        with harness.Host("server", None, files={"main.py": made}, settings={}, sidecars=self.runtime.launch({"box": {"command": "python", "args": ["other.py"]}})) as host:
            host.ready()
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("how", {})).content[0].text, "python ['box.py'] {'A': '1'}")


if __name__ == "__main__":
    unittest.main()
