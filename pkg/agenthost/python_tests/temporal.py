"""A Temporal server of our own, and clients of it."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Sequence
from datetime import timedelta

import harness
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

ROOT = pathlib.Path(os.environ.get("AGENTCLOUD_ROOT") or harness.HERE.parents[2])
BINARY = os.environ.get("AGENTCLOUD_TEMPORALD") or str(ROOT / ".bin" / "temporald")
NAMESPACE = "org-t"
TRIES = 3  # a port that is free when it is chosen may be taken when it is used
_server = None


class Server:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="temporald-")
        ready = os.path.join(self.dir, "ready")
        self.log = open(os.path.join(self.dir, "log"), "wb")
        for _ in range(TRIES):
            self._start(ready)
            harness.wait_for("temporald", lambda: self.process.poll() is not None or os.path.exists(ready) and pathlib.Path(ready).read_text().strip())
            if self.process.poll() is None:
                break
        else:
            raise AssertionError(pathlib.Path(self.log.name).read_text())
        self.address = address_in(pathlib.Path(ready).read_text())
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        from temporalio.contrib.pydantic import pydantic_data_converter

        self.client = self.do(Client.connect(self.address, namespace=NAMESPACE, data_converter=pydantic_data_converter))

    def _start(self, ready):
        self.process = subprocess.Popen([BINARY, "--db", os.path.join(self.dir, "t.db"), "--grpc", "127.0.0.1:0", "--ready-file", ready,
                                         "--namespace", NAMESPACE], stdout=self.log, stderr=subprocess.STDOUT)

    def do(self, coro, patience=harness.PATIENCE * 4):
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(patience)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def address_in(text: str) -> str:
    import json
    import re

    try:
        doc = json.loads(text)
        text = str(doc.get("grpc") or doc.get("address") or doc) if isinstance(doc, dict) else str(doc)
    except ValueError:
        pass
    return re.search(r"127\.0\.0\.1:\d+", text).group(0)


def server() -> Server:
    global _server
    if _server is None:
        import atexit

        _server = Server()
        atexit.register(_server.stop)
    return _server


def where(**more) -> dict:
    """The `temporal` part of a launch document, with queues of its own."""
    name = "app_" + uuid.uuid4().hex[:8]
    return {"address": server().address, "namespace": NAMESPACE, "task_queue": name, "tools_queue": name + "/ver_1/tools",
            "identity": "ins_" + uuid.uuid4().hex[:8], **more}


def start(queue, kind, *args, id=None, **options):
    s = server()
    return s.do(s.client.start_workflow(kind, args=list(args), id=id or kind + "-" + uuid.uuid4().hex, task_queue=queue,
                                        task_timeout=timedelta(seconds=110), **options))


def result(handle, patience=harness.PATIENCE):
    return server().do(asyncio.wait_for(handle.result(), patience))


@workflow.defn(dynamic=True, sandboxed=False)
class ToolRun:
    """What the scheduler's generic workflow does: one activity for the body."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]):
        memo = workflow.memo()
        arguments = workflow.payload_converter().from_payload(args[0].payload) if args else {}
        return await workflow.execute_activity(
            "tool:" + workflow.info().workflow_type.removeprefix("AutoWorkflow_"), arguments, task_queue=memo["tools_queue"],
            start_to_close_timeout=timedelta(seconds=600), heartbeat_timeout=timedelta(seconds=memo.get("heartbeat", 10)),
            retry_policy=RetryPolicy(maximum_attempts=20))


class ToolRuns:
    """The scheduler's worker, in small."""

    QUEUE = "agentcloud-tools"

    def __init__(self):
        s = server()

        async def begin():
            self.worker = Worker(s.client, task_queue=self.QUEUE, workflows=[ToolRun], workflow_runner=UnsandboxedWorkflowRunner(), build_id="t")
            return asyncio.create_task(self.worker.run())

        self.task = s.do(begin())

    def start(self, tools_queue, tool, arguments, **memo):
        return start(self.QUEUE, "AutoWorkflow_" + tool, arguments, memo={"tools_queue": tools_queue, **memo})

    def stop(self):
        server().do(self.worker.shutdown())


__all__ = ["Server", "ToolRuns", "activity", "server", "start", "result", "where"]
