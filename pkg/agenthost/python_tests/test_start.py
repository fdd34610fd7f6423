"""Starts: what is recognised, what is ready, and what a failed one says."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

import harness

APP = "from mcp_agent.app import MCPApp\napp = MCPApp(name='a')\n"
FAST = "from mcp.server.fastmcp import FastMCP\nmcp = FastMCP('f', instructions='do')\n@mcp.tool()\ndef hello() -> str:\n    'Says hello.'\n    return 'hi'\n"


def failed(files, **launch):
    role = launch.pop("role", "server")
    with harness.Host(role, None, files=files, **launch) as host:
        status = host.status("failed", "ready")
        assert status["state"] == "failed", status
        assert host.exit() == 1, host.code
        return status, host


class Failures(unittest.TestCase):
    def test_reasons(self):
        for name, files, reason, detail in [
            ("no main.py", {"server.py": ""}, "there is no main.py in the bundle; there is server.py", ""),
            ("missing module", {"main.py": "import os\nimport numpie\n"}, "needs the module 'numpie'", "import numpie"),
            ("missing name", {"main.py": "from os import nothing\n"}, "could not import something it needs (main.py, line 1)", "cannot import name"),
            ("syntax error", {"main.py": "def f(:\n  pass\n"}, "main.py has a syntax error in line 1", "def f(:"),
            ("syntax error elsewhere", {"main.py": "import lib.other\n", "lib/other.py": "\nx ==\n"}, "lib/other.py has a syntax error in line 2", ""),
            ("exception", {"main.py": "def go():\n    raise ValueError('boo')\ngo()\n"}, "main.py raised ValueError while it was imported (main.py, line 2): boo", "in go"),
            ("no app", {"main.py": "x = 1\n"}, "main.py makes no agent", ""),
            ("two apps", {"main.py": APP + "b = MCPApp(name='b')\n"}, "makes 2 MCPApps ('a', 'b')", ""),
            ("two servers", {"main.py": FAST.replace("mcp =", "one =").replace("@mcp", "@one") + "two = FastMCP('g')\n"}, "makes 2 FastMCP servers", ""),
            ("exit", {"main.py": "import sys\nsys.exit(3)\n"}, "ended the process while it was imported (exit code 3)", ""),
            ("keyboard", {"main.py": "name = input('who? ')\n"}, "asked for keyboard input", ""),
            ("asyncio.run of a failure", {"main.py": "import asyncio\nasync def m():\n    1 / 0\nasyncio.run(m())\n"}, "ZeroDivisionError", "1 / 0"),
        ]:
            with self.subTest(name):
                status, host = failed(files)
                self.assertIn(reason, status["reason"])
                self.assertIn(detail, status["detail"])
                self.assertNotIn(host.app_dir, status["reason"] + status["detail"])
                self.assertNotIn("agentcloud_host", status["detail"])

    def test_settings_that_do_not_fit(self):
        status, _ = failed({"main.py": APP}, settings={"openai": {"api_key": ["sk-secret-value"]}})
        self.assertIn("the app's settings are not valid: openai", status["reason"])
        self.assertNotIn("sk-secret", json.dumps(status))

    def test_an_import_that_hangs(self):
        status, _ = failed({"main.py": "import time\n\ndef wait():\n    time.sleep(100)\nwait()\n"}, import_timeout_seconds=1.5)
        self.assertIn("importing main.py took longer than 1.5 s; it was at main.py, line 4: time.sleep(100)", status["reason"])

    def test_a_lifespan_that_fails(self):
        text = "from contextlib import asynccontextmanager\n" + FAST.replace("FastMCP('f',", "FastMCP('f', lifespan=life,").replace(
            "mcp =", "@asynccontextmanager\nasync def life(s):\n    raise RuntimeError('no database')\n    yield\nmcp =")
        status, host = failed({"main.py": text})
        self.assertIn("initialize", status["reason"])
        self.assertTrue(host.said("no database"))

    def test_no_temporal(self):
        """Not reachable at all: said within the bound, by worker and server."""
        nowhere = {"address": "127.0.0.1:9", "namespace": "n", "task_queue": "q", "tools_queue": "q/v/tools"}
        tool = APP + "@app.tool\ndef f() -> str:\n    return ''\n"
        status, _ = failed({"main.py": tool}, temporal=nowhere)
        self.assertIn("Temporal did not answer at 127.0.0.1:9", status["reason"])

    def test_no_socket(self):
        class Deaf(harness.Host):
            def __enter__(self):
                self.listener.close()
                self.listener = open(os.devnull)
                return super().__enter__()

        with Deaf("server", None, files={"main.py": FAST}) as host:
            self.assertIn("the listening socket was not handed over", host.status("failed")["reason"])

    def test_secrets_stay_in(self):
        text = "import os\nprint('key', os.environ['K'])\nraise ValueError(os.environ['K'])\n"
        status, host = failed({"main.py": text}, env={"K": "very-secret-value"})
        self.assertNotIn("very-secret", json.dumps([status, host.logs, host.output]))
        self.assertIn("[secret]", status["reason"])


class Kinds(unittest.TestCase):
    def test_found(self):
        own = FAST + APP.replace("name='a'", "name='a', mcp=mcp")
        worker_app = APP + "from mcp_agent.executor.workflow import Workflow\n@app.workflow\nclass W(Workflow[str]):\n    @app.workflow_run\n    async def run(self): pass\n"
        for name, files, want in [
            ("FastMCP", {"main.py": FAST}, {"kind": "fastmcp", "app_name": "f", "tools": ["hello"], "instructions": "do"}),
            ("FastMCP by another name", {"main.py": FAST.replace("mcp =", "thing =").replace("@mcp.", "@thing.")}, {"kind": "fastmcp", "app_name": "f"}),
            ("several FastMCP, one called mcp", {"main.py": FAST + "other = FastMCP('g')\n"}, {"kind": "fastmcp", "app_name": "f"}),
            ("FastMCP that runs itself", {"main.py": FAST + "mcp.run()\n"}, {"kind": "fastmcp", "app_name": "f"}),
            ("mcp-agent", {"main.py": worker_app}, {"kind": "mcp-agent", "app_name": "a", "workflows": ["W"]}),
            ("mcp-agent on its own FastMCP", {"main.py": own}, {"kind": "mcp-agent", "app_name": "a"}),
            ("app of another module", {"main.py": "import agents.one\n", "agents/one.py": APP}, {"kind": "mcp-agent", "app_name": "a"}),
            ("modules named as the host's", {"main.py": "import server, logs, settings\nassert server.X == 1\n" + FAST, "server.py": "X = 1", "logs.py": "", "settings.py": ""}, {"kind": "fastmcp"}),
        ]:
            with self.subTest(name), harness.Host("server", None, files=files) as host:
                ready = host.ready()
                self.assertEqual({k: ready.get(k) for k in want}, want)

    def test_no_worker_is_needed(self):
        for files in ({"main.py": FAST}, {"main.py": APP}):
            with harness.Host("worker", None, files=files) as host:
                host.status("not-needed")
                self.assertEqual(host.exit(), 0)

    def test_settings_in_code_are_overruled_and_it_is_said(self):
        text = ("from mcp_agent.app import MCPApp\nfrom mcp_agent.config import Settings, TemporalSettings\n"
                "app = MCPApp(name='a', settings=Settings(execution_engine='temporal', temporal=TemporalSettings(host='h:1', task_queue='q')))\n"
                "@app.tool\ndef engine(app_ctx=None) -> str:\n    return app_ctx.config.execution_engine\n")
        with harness.Host("server", None, files={"main.py": text}) as host:
            host.ready()
            answer = harness.call(host.url, lambda s: s.call_tool("engine", {}))
            self.assertEqual(answer.content[0].text, "asyncio")
            self.assertTrue(host.said("the cloud decided: execution_engine"))

    def test_stdio_commands_are_those_of_the_build(self):
        made = (
            "from mcp_agent.config import Settings, MCPSettings, MCPServerSettings\n"
            "made = Settings(mcp=MCPSettings(servers={'fetch': MCPServerSettings(command='uvx', args=['mcp-server-fetch', '--x'], env={'A': '1'})}))\n")
        text = made + APP.replace("name='a'", "name='a', settings=made") + "@app.tool\ndef server(app_ctx=None) -> str:\n    s = app_ctx.config.mcp.servers['fetch']\n    return ' '.join([s.command, *s.args, s.env['A']])\n"
        table = {"mcp-server-fetch": {"command": "/opt/fetch", "args": ["-q"], "env": {"A": "2", "B": "3"}}}
        with harness.Host("server", None, files={"main.py": text}, stdio_commands=table) as host:
            host.ready()
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("server", {})).content[0].text, "/opt/fetch -q --x 1")


class Serving(unittest.TestCase):
    def test_both_transports_and_health(self):
        with harness.Host("server", "kinds") as host:
            host.ready()
            for transport in ("http", "sse"):
                answer = harness.call(host.url, lambda s: s.call_tool("add", {"a": 1}), transport)
                self.assertEqual(answer.structuredContent, {"result": 3})
            with urllib.request.urlopen(host.url + "/__agentcloud/health") as answer:
                self.assertEqual(json.load(answer), {"ready": True})
            request = urllib.request.Request(host.url + "/mcp", data=b"{}", method="POST", headers={"Host": "demo.example.com", "Content-Type": "application/json"})
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            self.assertNotEqual(refused.exception.code, 421, "foreign host names are refused")

    def test_large_arguments_come_in_unless_the_app_bounds_them(self):
        tool = "@mcp.tool()\ndef size(text: str) -> int:\n    return len(text)\n"
        text = "x" * (8 << 20)
        with harness.Host("server", None, files={"main.py": FAST + tool}) as host:
            host.ready()
            for transport in ("http", "sse"):
                answer = harness.call(host.url, lambda s: s.call_tool("size", {"text": text}), transport)
                self.assertEqual(answer.structuredContent, {"result": len(text)})
        bounded = FAST + tool + "mcp.settings.max_request_body_size = 1 << 20\n"
        with harness.Host("server", None, files={"main.py": bounded}) as host:
            host.ready()
            request = urllib.request.Request(host.url + "/mcp", data=b" " * (2 << 20), method="POST", headers={"Content-Type": "application/json"})
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            self.assertEqual(refused.exception.code, 413)

    def test_tools_list_is_that_of_the_sdk(self):
        for app in ("kinds", "durable"):
            with self.subTest(app), harness.Host("server", app) as host:
                host.ready()

                async def everything(session):
                    listed = await session.list_tools()
                    shown = await session.call_tool("workflows-list", {})
                    return [session.initialized.model_dump_json(), listed.model_dump_json(), shown.model_dump_json()]

                ours = harness.call(host.url, everything)
            with Stock(app) as stock:
                self.assertEqual(ours, harness.call(stock.url, everything))

    def test_plain_functions_block_nobody(self):
        blocking = "\nimport time\n@mcp.tool()\ndef wait(s: float) -> float:\n    time.sleep(s)\n    return s\n"
        for name, files, tool in [("FastMCP", {"main.py": FAST + blocking}, "wait"),
                                  ("mcp-agent", {"main.py": APP + blocking.replace("@mcp.tool()", "@app.tool")}, "wait")]:
            with self.subTest(name), harness.Host("server", None, files=files) as host:
                host.ready()
                began = time.monotonic()
                waiting = threading.Thread(target=lambda: harness.call(host.url, lambda s: s.call_tool(tool, {"s": 3})))
                waiting.start()
                time.sleep(0.5)
                harness.call(host.url, lambda s: s.call_tool(tool, {"s": 0}))
                self.assertLess(time.monotonic() - began, 2.5)
                waiting.join()

    def test_a_database_of_the_module_is_shared_with_the_tools(self):
        text = FAST + "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t (n)')\n@mcp.tool()\ndef put(n: int) -> int:\n    db.execute('insert into t values (?)', (n,))\n    return db.execute('select count(*) from t').fetchone()[0]\n"
        with harness.Host("server", None, files={"main.py": text}) as host:
            host.ready()
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("put", {"n": 1})).content[0].text, "1")

    def test_nothing_secret_is_in_the_environment_of_processes(self):
        text = APP + "import subprocess\n@app.tool\ndef child() -> str:\n    return subprocess.run(['env'], capture_output=True, text=True).stdout\n"
        settings = {"openai": {"api_key": "sk-very-secret"}}
        with harness.Host("server", None, files={"main.py": text}, settings=settings, env={"K": "in-env-secret"}, gateway={"url": "http://g", "token": "gw-token-123"}) as host:
            host.ready()
            seen = pathlib.Path(f"/proc/{host.pid}/environ").read_text() + pathlib.Path(f"/proc/{host.pid}/cmdline").read_text()
            for secret in ("sk-very-secret", "in-env-secret", "gw-token-123"):
                self.assertNotIn(secret, seen)
            self.assertNotIn("sk-very-secret", harness.call(host.url, lambda s: s.call_tool("child", {})).content[0].text)

    def test_scikit_learn_is_there_for_who_wants_it_and_only_then(self):
        text = APP + ("import sys\n@app.tool\ndef loaded() -> bool:\n    return 'sklearn' in sys.modules\n"
                      "@app.tool\ndef similar() -> float:\n    import numpy\n    from mcp_agent.workflows.embedding.embedding_base import compute_similarity_scores\n"
                      "    return compute_similarity_scores(numpy.array([1.0, 0.0]), numpy.array([1.0, 1.0]))['cosine']\n"
                      "@app.tool\ndef version() -> str:\n    import sklearn\n    return sklearn.__version__\n")
        with harness.Host("server", None, files={"main.py": text}) as host:
            host.ready()

            async def use(s):
                return [(await s.call_tool(t, {})).content[0].text for t in ("loaded", "similar", "version")]

            loaded, similar, version = harness.call(host.url, use)
            self.assertEqual(loaded, "false")
            self.assertAlmostEqual(float(similar), 0.7071, 4)
            self.assertRegex(version, r"^\d+\.\d+")


class Logs(unittest.TestCase):
    def test_every_source_is_one_kind_of_line(self):
        text = APP + ("import logging, sys, warnings, os\nlogging.getLogger('mine').warning('by logging %s', 1)\nprint('by print')\nprint('by stderr', file=sys.stderr)\n"
                      "warnings.warn('by warning')\nos.write(1, b'by descriptor\\n')\napp.logger.info('by app', data={'n': 1})\nprint('x' * 100000)\n"
                      "@app.tool\ndef f() -> str:\n    logging.getLogger('mine').error('bad', exc_info=ValueError('e'))\n    return ''\n")
        with harness.Host("server", None, files={"main.py": text}) as host:
            host.ready()
            harness.call(host.url, lambda s: s.call_tool("f", {}))
            for msg, level, logger in [("by logging 1", "WARNING", "mine"), ("by print", "INFO", "stdout"), ("by stderr", "ERROR", "stderr"),
                                       ("by warning", "WARNING", "py.warnings"), ("bad\nValueError: e", "ERROR", "mine")]:
                with self.subTest(msg):
                    harness.wait_for(msg, lambda: host.said(msg, level=level, logger=logger), 10)
            self.assertEqual(host.said("by app")[0]["fields"], {"data": {"n": 1}})
            self.assertIn("by descriptor", host.output)
            self.assertTrue(all(len(json.dumps(ln)) <= 64 << 10 and "ts" in ln for ln in host.logs))
            self.assertFalse([ln for ln in host.logs if "parameter named self" in ln["msg"]])

    def test_a_reader_that_stops_stops_nobody(self):
        text = FAST + "@mcp.tool()\ndef chat() -> str:\n    for i in range(3000):\n        print('x' * 1000)\n    return 'done'\n"

        class Unread(harness.Host):
            gate = threading.Event()

            def _read(self, fd, r):
                if fd == 5:
                    self.gate.wait(60)
                super()._read(fd, r)

        with Unread("server", None, files={"main.py": text}) as host:
            host.ready()
            began = time.monotonic()
            self.assertEqual(harness.call(host.url, lambda s: s.call_tool("chat", {})).content[0].text, "done")
            self.assertLess(time.monotonic() - began, 10)
            host.gate.set()
            harness.wait_for("the note", lambda: harness.call(host.url, lambda s: s.call_tool("chat", {})) and host.said("log lines were lost"))


class Drains(unittest.TestCase):
    def test_calls_end_streams_close_and_callers_queue(self):
        files = {"main.py": FAST + "import asyncio\n@mcp.tool()\nasync def wait(s: float) -> float:\n    await asyncio.sleep(s)\n    return s\n"}
        with harness.Host("server", None, files=files) as host:
            host.ready()
            answers = []

            async def ask(session):
                await session.list_tools()  # else the client asks for the result's schema when the server has left
                return await session.call_tool("wait", {"s": 2})

            calling = threading.Thread(target=lambda: answers.append(harness.call(host.url, ask)))
            calling.start()
            time.sleep(0.7)
            began = time.monotonic()
            host.signal(signal.SIGTERM)
            host.status("draining")
            self.assertEqual(host.exit(), 0)
            calling.join()
            self.assertEqual(answers[0].structuredContent, {"result": 2.0})
            self.assertLess(time.monotonic() - began, 5)
            # The socket is the runtime's: a caller of now waits for the next process.
            import socket
            socket.create_connection(host.listener.getsockname(), 2).close()

    def test_a_second_signal_ends_at_once(self):
        files = {"main.py": FAST + "import time\n@mcp.tool()\ndef wait(s: float) -> float:\n    time.sleep(s)\n    return s\n"}
        with harness.Host("server", None, files=files, drain_seconds=30) as host:
            host.ready()
            threading.Thread(target=lambda: _ignore(lambda: harness.call(host.url, lambda s: s.call_tool("wait", {"s": 60}))), daemon=True).start()
            time.sleep(0.7)
            host.signal(signal.SIGTERM)
            host.status("draining")
            began = time.monotonic()
            host.signal(signal.SIGTERM)
            self.assertEqual(host.exit(), 0)
            self.assertLess(time.monotonic() - began, 2)


def _ignore(do):
    try:
        do()
    except BaseException:
        pass


class Stock:
    """The SDK's own server for one of our test apps, nothing of the host."""

    def __init__(self, app):
        self.app = app

    def __enter__(self):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        code = ("import asyncio, main\nfrom mcp_agent.server.app_server import create_mcp_server_for_app\n"
                "async def go():\n    async with main.app.run() as app:\n"
                f"        await create_mcp_server_for_app(app, port={self.port}).run_streamable_http_async()\nasyncio.run(go())\n")
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=harness.HERE / "apps" / self.app, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, "the stock server ended"
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return True
            except OSError:
                return False

        harness.wait_for("the stock server", answers)
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    unittest.main()
