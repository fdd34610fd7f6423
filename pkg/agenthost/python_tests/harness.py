"""Starts the host as a runtime would: the launch document on descriptor 3, a
listening socket on 4, pipes on 5 and 6."""

import asyncio
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
HOST = os.environ.get("AGENTCLOUD_HOST_DIR") or str(HERE.parent)
PYTHON = sys.executable
PATIENCE = 60.0


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {patience:g} s in vain for {what}")


class Host:
    """One host process; use as a context manager."""

    def __init__(self, role, app, entry="main.py", files=None, **launch):
        self.scratch = tempfile.mkdtemp(prefix="host-")
        self.app_dir = str(HERE / "apps" / app) if app else os.path.join(self.scratch, "app")
        if files is not None:
            self.app_dir = os.path.join(self.scratch, "app")
            for name, text in files.items():
                path = pathlib.Path(self.app_dir, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.logs, self.statuses, self.output = [], [], []
        self._doc = {"role": role, "app_dir": self.app_dir, "entry": entry, "target_id": "app_t", "app_id": "app_t", "org_id": "org_t",
                     "version_id": "ver_t", "instance_id": "ins_t", "app_name": "t", "settings": {}, "env": {}, "temporal": None,
                     "gateway": {"url": "", "token": ""}, "drain_seconds": 5, "log_level": "info", **launch}
        self.listener = socket.create_server(("127.0.0.1", 0)) if role == "server" else None
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1] if self.listener else ""
        self._role = role
        self.code = None

    def __enter__(self):
        self.began = time.monotonic()
        launch_r, launch_w = os.pipe()
        pipes = {fd: os.pipe() for fd in (1, 2, 5, 6)}
        null = os.open(os.devnull, os.O_RDONLY)
        sources = {3: launch_r, 4: self.listener.fileno() if self.listener else null, **{fd: w for fd, (_, w) in pipes.items()}}
        path = os.pathsep.join([os.path.dirname(PYTHON), os.environ["PATH"]])
        self.pid = self.spawn(sources, {"PATH": path, "HOME": self.scratch, "TMPDIR": self.scratch, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"})
        for fd in [launch_r, null, *(w for _, w in pipes.values())]:
            os.close(fd)
        with os.fdopen(launch_w, "w") as f:
            f.write(json.dumps(self._doc))
        self._readers = [threading.Thread(target=self._read, args=(fd, r), daemon=True) for fd, (r, _) in pipes.items()]
        for reader in self._readers:
            reader.start()
        return self

    def spawn(self, sources, env):
        high = {fd: fcntl.fcntl(src, fcntl.F_DUPFD, 50) for fd, src in sources.items()}
        actions = [(os.POSIX_SPAWN_DUP2, src, fd) for fd, src in high.items()] + [(os.POSIX_SPAWN_CLOSE, src) for src in high.values()]
        argv = ["env", "-C", self.app_dir, PYTHON, "-X", "utf8", os.path.join(HOST, "agentcloud_host"), self._role]
        try:
            return os.posix_spawn("/usr/bin/env", argv, env, file_actions=actions)
        finally:
            for fd in high.values():
                os.close(fd)

    def _read(self, fd, r):
        with os.fdopen(r, errors="replace") as lines:
            for line in lines:
                if fd == 5:
                    self.logs.append(json.loads(line))
                elif fd == 6:
                    self.statuses.append(json.loads(line))
                else:
                    self.output.append(line.rstrip("\n"))

    def status(self, *states):
        """The first status of one of these states; an ended process is an error."""
        def find():
            for s in self.statuses:
                if s["state"] in states:
                    return s
            if self.ended():
                self._join()
                for s in self.statuses:
                    if s["state"] in states:
                        return s
                raise AssertionError(f"the host ended with {self.code} before {states}: {self.statuses[-1:]}\n" + "\n".join(self.output[-20:]))
        return wait_for(states, find)

    def ready(self):
        s = self.status("ready", "failed")
        assert s["state"] == "ready", s["reason"] + "\n" + s.get("detail", "")
        return s

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def exit(self, patience=PATIENCE):
        wait_for("the host's end", self.ended, patience)
        self._join()
        return self.code

    def signal(self, number):
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def _join(self):
        for reader in self._readers:
            reader.join(5)

    def said(self, text, **fields):
        return [ln for ln in self.logs if text in ln["msg"] and all(ln.get(k) == v for k, v in fields.items())]

    def rss(self):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(ln.split()[1]) for ln in f if ln.startswith("VmRSS")) // 1024

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *exc):
        self.signal(signal.SIGKILL)
        self.exit()
        if self.listener:
            self.listener.close()
        if exc[0] is not None:
            print("\n".join(f"{ln['level']} {ln['logger']} {ln['msg'][:400]}" for ln in self.logs[-40:]), "\n".join(self.output[-40:]), file=sys.stderr)
        shutil.rmtree(self.scratch, ignore_errors=True)


async def mcp_session(url, use, transport="http", **options):
    """Runs use(session) as an MCP client of url."""
    import anyio
    from mcp import ClientSession
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamablehttp_client

    # A client that says goodbye to a server which has just left would wait for the next one.
    opened = streamablehttp_client(url + "/mcp", terminate_on_close=False) if transport == "http" else sse_client(url + "/sse")
    answers = []
    try:
        async with opened as streams:
            async with ClientSession(streams[0], streams[1], **options) as session:
                session.initialized = await session.initialize()
                answers.append(await use(session))
    except* anyio.BrokenResourceError:
        # The SDK's reader of /sse: a log message that follows the answer met the end of the session.
        if not answers:
            raise
    return answers[0]


def call(url, use, transport="http", **options):
    return asyncio.run(mcp_session(url, use, transport, **options))
