"""How long a tool may take, and what it asks meanwhile."""

import pathlib
import signal
import tempfile
import threading
import unittest

import gateway
import harness
import temporal
from temporalio.client import WorkflowFailureError

LIMIT = 2.0  # seconds of one try


class Patience(unittest.TestCase):
    def setUp(self):
        self.free = threading.Event()  # whether people answer
        self.addCleanup(self.free.set)
        self.gw = gateway.Gateway(self.answer)
        self.addCleanup(self.gw.close)
        self.t = temporal.where()
        self.seen = tempfile.NamedTemporaryFile("r", suffix=".seen")
        self.addCleanup(self.seen.close)
        self.runs = temporal.ToolRuns()
        self.addCleanup(self.runs.stop)
        self.options = {"temporal": self.t, "gateway": self.gw.launch, "env": {"SEEN": self.seen.name},
                        "activity": {"start_to_close_seconds": LIMIT, "heartbeat_seconds": 4, "max_error_attempts": 2}}
        self.host = self.enterContext(harness.Host("server", "durable", **self.options))
        self.host.ready()

    def answer(self, method, params):
        self.free.wait(60)
        return {"action": "accept", "content": {}}

    def start(self, tool, arguments):
        return self.runs.start(self.t["tools_queue"], tool, arguments, heartbeat=4)

    def noted(self, text):
        return pathlib.Path(self.seen.name).read_text().count(text)

    def failure(self, handle):
        with self.assertRaises(WorkflowFailureError) as caught:
            temporal.result(handle)
        return caught.exception.cause.cause

    def asked(self, count):
        return harness.wait_for("the questions", lambda: len(self.gw.asks) >= count)

    def test_a_person_has_all_the_time(self):
        run = self.start("patient_tool", {"question": "sure?"})
        self.asked(1)
        threading.Timer(2.5 * LIMIT, self.free.set).start()
        self.assertEqual(temporal.result(run), "accept after all")
        self.assertEqual(self.noted("patient"), 1, "the body ran again")
        sent = next(b["params"] for p, b, _ in self.gw.calls if p.endswith("/request"))
        self.assertEqual(sent["_meta"], {"io.agentcloud/deadlineSeconds": 60}, "the framework does not let it through")

    def test_what_it_does_itself_is_limited(self):
        self.free.set()
        slow = self.start("patient_tool", {"question": "sure?", "seconds": 60})
        quick = self.start("async_tool", {"seconds": 0})
        self.assertEqual(temporal.result(quick), "slept 0.0")
        err = self.failure(slow)
        self.assertEqual(err.type, "TimeoutError")
        self.assertIn("longer than 2 s", err.message)

    def test_a_question_is_asked_once(self):
        """Also when the gateway was away, and when the server was killed."""
        self.gw.away = 2
        run = self.start("patient_tool", {"question": "sure?"})
        self.asked(3)
        self.host.signal(signal.SIGKILL)
        self.host.exit()
        with harness.Host("server", "durable", **self.options) as again:
            again.ready()
            self.asked(4)
            self.free.set()
            self.assertEqual(temporal.result(run), "accept after all")
        self.assertEqual(len(set(self.gw.asks)), 1, self.gw.asks)
        self.assertEqual(self.noted("patient"), 2)

    def test_the_same_question_twice_is_two(self):
        self.free.set()
        for _ in range(2):
            self.assertEqual(temporal.result(self.start("patient_tool", {"question": "sure?"})), "accept after all")
        self.assertEqual(len(set(self.gw.asks)), 2, "two runs share a question")

    def test_an_error_for_the_protocol_keeps_its_code(self):
        err = self.failure(self.start("protocol_tool", {"code": -32050}))
        self.assertEqual((err.type, err.message, list(err.details)), ("McpError", "no credit", [{"code": -32050, "data": {"left": 0}}]))


class StepsOfWorkflows(unittest.TestCase):
    def test_a_step_is_limited(self):
        with gateway.Gateway() as gw:
            t = temporal.where()
            activity = {"start_to_close_seconds": LIMIT, "heartbeat_seconds": 4, "max_error_attempts": 2}
            settings = {"temporal": {"timeout_seconds": 1}}  # what the framework itself gives a step
            with harness.Host("worker", "durable", temporal=t, gateway=gw.launch, settings=settings, activity=activity) as host:
                host.ready()
                self.assertEqual(temporal.result(temporal.start(t["task_queue"], "Steps", 0.1, True))["value"], "slept 0.1")
                with self.assertRaises(WorkflowFailureError) as caught:
                    temporal.result(temporal.start(t["task_queue"], "Steps", 60.0))
                err = caught.exception.cause.cause
                self.assertEqual(err.type, "TimeoutError")
                self.assertIn("longer than 2 s", err.message)


if __name__ == "__main__":
    unittest.main()
