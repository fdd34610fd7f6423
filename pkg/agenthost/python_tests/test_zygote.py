"""Forks of a zygote: what they get, and what they must not."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import harness

MAIN = """
import os, random, ssl, sys, tempfile, threading, uuid
import numpy
from mcp_agent.app import MCPApp
app = MCPApp(name='z')
os.environ["SEEN"] = "1" if "MINE" in os.environ else "0"
print("drawn", random.random(), numpy.random.random(), ssl.RAND_bytes(8).hex(), uuid.uuid4(), flush=True)
print("others", os.environ.get("OTHER"), sys.argv[-1], tempfile.gettempdir(), os.getcwd(), flush=True)
print("fds", *sorted(int(n) for n in os.listdir("/proc/self/fd")), flush=True)
print("sklearn", "sklearn" in sys.modules, "threads", threading.active_count(), flush=True)
try:
    import openai
    print("openai", openai.__file__, flush=True)
except ImportError:
    pass
"""


class Zygote:
    """A zygote of this very environment."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="zygote-")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        high = os.dup(theirs.fileno())
        env = {"PATH": os.environ["PATH"], "HOME": self.home, "TMPDIR": self.home, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
        argv = ["env", "-C", "/", harness.PYTHON, "-X", "utf8", os.path.join(harness.HOST, "agentcloud_host"), "zygote"]
        null = os.open(os.devnull, os.O_RDWR)
        self.output = tempfile.TemporaryFile()
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, self.output.fileno(), 1), (os.POSIX_SPAWN_DUP2, self.output.fileno(), 2)]
        actions += [(os.POSIX_SPAWN_DUP2, high, 3)] if high != 3 else []
        os.set_inheritable(3, True) if high == 3 else None
        self.pid = os.posix_spawn("/usr/bin/env", argv, env, file_actions=actions)
        for fd in (high, null):
            os.close(fd)
        theirs.close()

    def ready(self):
        self.control.settimeout(harness.PATIENCE)
        said = self.control.recv(4096)
        assert said, self.said()
        return json.loads(said)

    def said(self):
        self.output.seek(0)
        return self.output.read().decode()

    def order(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.control, [b"+"], [theirs.fileno()])
        theirs.close()
        ours.settimeout(harness.PATIENCE)
        return ours

    def close(self):
        self.control.close()
        _, status = os.waitpid(self.pid, 0)
        self.output.close()
        shutil.rmtree(self.home, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)


class Forked(harness.Host):
    """The host, forked instead of started. Who delivered it says how it ended."""

    def __init__(self, zygote, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._zygote = zygote

    def spawn(self, sources, env):
        order = self._zygote.order()
        told = {"args": ["-X", "utf8", os.path.join(harness.HOST, "agentcloud_host"), self._role], "dir": self.app_dir, "groups": [],
                "env": [f"{k}={v}" for k, v in env.items()]}
        socket.send_fds(order, [json.dumps(told).encode()], [sources[fd] for fd in (1, 2, 3, 4, 5, 6)])
        pid = int(order.recv(32))
        order.send(b"!")
        order.setblocking(False)
        self._order = order
        return pid

    def ended(self):
        if self.code is None:
            try:
                self.code = os.waitstatus_to_exitcode(int(self._order.recv(32)))
                self._order.close()
            except BlockingIOError:
                pass
        return self.code is not None


def values(host, word):
    line = harness.wait_for(word, lambda: host.said(word + " "))[0]["msg"]
    return line.split()[1:]


class Zygotes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.zygote = Zygote()
        cls.addClassCleanup(lambda: cls.zygote.close())
        cls.born = cls.zygote.ready()

    def fork(self, role="server", files=None, **launch):
        return Forked(self.zygote, role, None, files=files or {"main.py": MAIN}, **launch)

    def test_two_forks_share_nothing(self):
        with self.fork(env={"MINE": "sekret-one", "OTHER": "first"}) as one, self.fork() as two:
            for host in (one, two):
                host.ready()
            drawn = list(zip(values(one, "drawn"), values(two, "drawn")))
            self.assertTrue(all(a != b for a, b in drawn), drawn)
            self.assertEqual(values(one, "others")[:2], ["first", "server"])
            self.assertEqual(values(two, "others")[:2], ["None", "server"])
            for host in (one, two):
                self.assertEqual(values(host, "others")[2:], [host.scratch, host.app_dir])
                # One more is the listing itself.
                self.assertEqual(values(host, "fds"), ["0", "1", "2", "3", "4", "5", "6"])
                self.assertEqual(values(host, "sklearn"), ["False", "threads", "2"])  # the watch of the import is one
            for name in ("environ", "cmdline"):
                for pid in (self.zygote.pid, two.pid):
                    self.assertNotIn(b"sekret", pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
            self.assertNotIn("sekret", self.zygote.said())

    def test_they_serve_and_drain(self):
        tool = MAIN + "\n@app.tool\ndef add(a: int, b: int) -> int:\n    return a + b\n"
        with self.fork(files={"main.py": tool}) as host:
            host.ready()

            async def use(session):
                return (await session.call_tool("add", {"a": 2, "b": 3})).content[0].text

            self.assertEqual(harness.call(host.url, use), "5")
            host.signal(signal.SIGTERM)
            self.assertEqual(host.exit(), 0)
            self.assertEqual(host.statuses[-1]["state"], "draining")

    def test_tools_are_those_of_a_start(self):
        files = {"main.py": MAIN + """
from mcp_agent.executor.workflow import Workflow, WorkflowResult

@app.tool
def add(a: int, b: int = 2) -> int:
    return a + b

@app.workflow
class Echo(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        return WorkflowResult(value=text)
"""}

        async def use(session):
            return sorted((t.model_dump() for t in (await session.list_tools()).tools), key=lambda t: t["name"])

        with self.fork(files=files) as fork, harness.Host("server", None, files=files) as start:
            found = []
            for host in (fork, start):
                host.ready()
                found.append(harness.call(host.url, use))
            self.assertIn("workflows-get_status", [t["name"] for t in found[0]])
            self.assertEqual(*found)

    def test_a_context_made_in_advance_goes_to_one_client(self):
        text = """
import httpx, ssl
from agentcloud_host import ready_made
def context(**options):
    return httpx.Client(**options)._transport._pool._ssl_context
print("spare", len(ready_made._contexts), flush=True)
own, bare = httpx.create_ssl_context(), context(verify=False)
assert context(verify=own) is own and bare.verify_mode == ssl.CERT_NONE and len(ready_made._contexts) == 1
first, second = context(), context()
print("contexts", first is not second, first.verify_mode == second.verify_mode == ssl.CERT_REQUIRED,
      len(first.get_ca_certs()) == len(second.get_ca_certs()) > 0, len(ready_made._contexts), flush=True)
"""
        with self.fork(files={"main.py": text + MAIN}) as host:
            host.ready()
            self.assertEqual(values(host, "spare"), ["1"])
            self.assertEqual(values(host, "contexts"), ["True", "True", "True", "0"])

    def test_an_app_decides_which_authorities_it_trusts(self):
        text = "import httpx\nfrom agentcloud_host import ready_made\nhttpx.Client()\nprint('spare', len(ready_made._contexts), flush=True)\n"
        import certifi

        with self.fork(files={"main.py": text + MAIN}, env={"SSL_CERT_FILE": certifi.where()}) as host:
            host.ready()
            self.assertEqual(values(host, "spare"), ["1"])

    def test_a_worker_that_is_not_needed(self):
        with self.fork("worker") as host:
            host.status("not-needed")
            self.assertEqual(host.exit(), 0)

    def test_a_signal_is_told(self):
        with self.fork() as host:
            host.ready()
            host.signal(signal.SIGKILL)
            self.assertEqual(host.exit(), -signal.SIGKILL)

    def test_orphans_end_with_their_agent(self):
        daemon = "import os, subprocess, time\nif os.fork() == 0:\n    os.setsid()\n    d = subprocess.Popen(['sleep', '600'])\n    print('daemon', d.pid, flush=True)\n    os._exit(0)\n"
        with self.fork(files={"main.py": daemon + MAIN}) as host:
            host.ready()
            pid = int(harness.wait_for("the daemon", lambda: host.said("daemon "))[0]["msg"].split()[1])
            os.kill(pid, 0)
            host.signal(signal.SIGTERM)
            host.exit()
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)

    def test_an_agent_ends_with_who_asked_for_it(self):
        with self.fork() as host:
            host.ready()
            host._order.close()
            harness.wait_for("its end", lambda: not os.path.exists(f"/proc/{host.pid}"))
            host.code = -signal.SIGKILL

    def test_failures_are_told_as_those_of_a_start(self):
        with self.fork(files={"main.py": "import numpie\n"}) as host:
            status = host.status("failed")
            self.assertIn("needs the module 'numpie'", status["reason"])
            self.assertNotIn("agentcloud_host", status["detail"])

    def test_an_own_module_is_found_before_one_that_only_the_zygote_knows(self):
        with self.fork(files={"main.py": MAIN, "openai.py": ""}) as host:
            host.ready()
            self.assertEqual(values(host, "openai"), [os.path.join(host.app_dir, "openai.py")])

    def test_nothing_remembers_the_zygotes_home(self):
        text = """
import pathlib, sys
home = %r
found = []
for name, module in list(sys.modules.items()):
    if name in ("site", __name__):  # it looked for packages there before anything else was
        continue
    for key, value in list(getattr(module, "__dict__", {}).items()):
        if isinstance(value, str) and home in value or isinstance(value, (list, tuple)) and any(isinstance(v, str) and home in v for v in value):
            found.append(f"{name}.{key}={value}")
        elif isinstance(value, pathlib.PurePath) and home in str(value):
            found.append(f"{name}.{key}={value}")
print("remembered", *found, flush=True)
""" % self.zygote.home
        with self.fork(files={"main.py": text + MAIN}) as host:
            host.ready()
            self.assertEqual(host.said("remembered")[0]["msg"].split()[1:], [])

    def test_who_gives_up_leaves_nobody(self):
        order = self.zygote.order()
        order.close()  # before it is told
        order = self.zygote.order()
        null = os.open(os.devnull, os.O_RDWR)
        socket.send_fds(order, [json.dumps({"args": ["x", "server"], "env": [], "dir": "/", "groups": []}).encode()], [null] * 6)
        os.close(null)
        pid = int(order.recv(32))
        order.close()  # before it lets it live
        harness.wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}") or "Z" in pathlib.Path(f"/proc/{pid}/stat").read_text().split())
        children = f"/proc/{self.zygote.pid}/task/{self.zygote.pid}/children"
        harness.wait_for("the zygote's children to be reaped", lambda: not pathlib.Path(children).read_text())


class Spoilt(unittest.TestCase):
    def test_an_import_that_starts_a_thread(self):
        code = "import sys; sys.path.insert(0, %r)\nimport threading, time\nfrom agentcloud_host import zygote\n" % harness.HOST
        code += "zygote.main(lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(), None)\n"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        moved = "import os, sys; os.dup2(int(sys.argv[1]), 3) if sys.argv[1] != '3' else None\n"
        done = subprocess.run([sys.executable, "-c", moved + code, str(theirs.fileno())], pass_fds=[theirs.fileno()], capture_output=True, text=True)
        theirs.close()
        self.assertIn("an import has started 1 threads", done.stderr)
        self.assertEqual(ours.recv(100), b"")
        ours.close()


if __name__ == "__main__":
    unittest.main()
