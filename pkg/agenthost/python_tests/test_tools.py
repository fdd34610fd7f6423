"""Tool bodies as durable activities of the server process."""

import pathlib
import signal
import tempfile
import time
import unittest

import gateway
import harness
import temporal
from temporalio.client import WorkflowFailureError


class Tools(unittest.TestCase):
    def setUp(self):
        self.gw = gateway.Gateway()
        self.addCleanup(self.gw.close)
        self.t = temporal.where()
        self.seen = tempfile.NamedTemporaryFile("r", suffix=".seen")
        self.addCleanup(self.seen.close)
        self.runs = temporal.ToolRuns()
        self.addCleanup(self.runs.stop)
        self.options = {"temporal": self.t, "gateway": self.gw.launch, "env": {"SEEN": self.seen.name}}
        self.host = self.enterContext(harness.Host("server", "durable", **self.options))
        self.host.ready()

    def noted(self, text):
        return pathlib.Path(self.seen.name).read_text().count(text)

    def start(self, tool, arguments, **memo):
        return self.runs.start(self.t["tools_queue"], tool, arguments, **memo)

    def failure(self, handle):
        with self.assertRaises(WorkflowFailureError) as caught:
            temporal.result(handle)
        return caught.exception.cause.cause  # workflow → activity → the body's own

    def test_arguments_are_checked_and_typed(self):
        run = self.start("typed", {"opt": {"n": 1}, "when": "PT2S"})
        self.assertEqual(temporal.result(run), {"opt": {"n": 4}, "when": 2.0, "kind": "Opt"})
        self.assertTrue(self.host.said("typed 3", run_id=run.result_run_id, activity="tool:typed"))
        for name, arguments, text in [
            ("wrong type", {"opt": {"n": "x"}, "when": 1}, "opt.n"),
            ("missing", {"when": 1}, "opt"),
            ("no object", [1], "one JSON object"),
        ]:
            with self.subTest(name):
                err = self.failure(self.start("typed", arguments))
                self.assertEqual(err.type, "InvalidArguments")
                self.assertIn(text, err.message)

    def test_an_exception_ends_the_run_at_once(self):
        err = self.failure(self.start("raising_tool", {"text": "boo"}))
        self.assertEqual((err.type, err.message), ("ValueError", "boo"))
        self.assertIn("raise ValueError(text)", err.failure.stack_trace)
        self.assertEqual(self.noted("raising"), 1, "the body ran again")

    def test_a_tool_asks_and_reports_to_its_run(self):
        runs = [self.start("asking_tool", {"question": f"q{i}"}) for i in range(3)]
        self.assertEqual([temporal.result(r) for r in runs], ["accept bob"] * 3)
        for r in runs:
            asked = [b for p, b, _ in self.gw.calls if p.endswith(f"/by-run/{r.result_run_id}/request")]
            self.assertEqual([b["method"] for b in asked], ["elicitation/create"])
            self.assertEqual([p["progressToken"] for p in self.gw.told(r.result_run_id, "notifications/progress")], [r.result_run_id])

    def test_blocking_bodies_stop_nobody(self):
        began = time.monotonic()
        blocked = [self.start("blocking_tool", {"seconds": 6}), self.start("blocking_async_tool", {"seconds": 12}, heartbeat=4)]
        harness.wait_for("both bodies", lambda: self.noted("blocking ") == 2)
        self.assertEqual(temporal.result(self.start("async_tool", {"seconds": 0})), "slept 0.0")
        self.assertEqual(temporal.result(self.start("blocking_tool", {"seconds": 0})), "slept 0.0")
        self.assertLess(time.monotonic() - began, 6, "a neighbour waited")
        self.assertEqual([temporal.result(r) for r in blocked], ["slept 6.0", "slept 12.0"])
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual(self.noted("blocking async"), 1, "the step was tried again")
        self.assertTrue(self.host.said("blocks the event loop (main.py, line"))

    def test_cancelling_the_run_cancels_the_body(self):
        run = self.start("async_tool", {"seconds": 60}, heartbeat=2)
        harness.wait_for("the body", lambda: self.is_running(run))
        temporal.server().do(run.cancel())
        with self.assertRaises(WorkflowFailureError):
            temporal.result(run)
        harness.wait_for("the body's end", lambda: self.noted("cancelled"))

    def is_running(self, run):
        pending = temporal.server().do(run.describe()).raw_description.pending_activities
        return bool(pending) and pending[0].HasField("last_started_time")

    def test_a_killed_server_does_not_fail_the_run(self):
        run = self.start("async_tool", {"seconds": 5}, heartbeat=4)
        harness.wait_for("the body", lambda: self.is_running(run))
        self.host.signal(signal.SIGKILL)
        self.host.exit()
        with harness.Host("server", "durable", **self.options) as again:
            again.ready()
            self.assertEqual(temporal.result(run), "slept 5.0")

    def test_a_drain_lets_bodies_end(self):
        run = self.start("async_tool", {"seconds": 3})
        harness.wait_for("the body", lambda: self.is_running(run))
        began = time.monotonic()
        self.host.signal(signal.SIGTERM)
        self.assertEqual(self.host.exit(), 0)
        self.assertLess(time.monotonic() - began, 7)
        self.assertEqual(temporal.result(run, 5), "slept 3.0")


class Woken(unittest.TestCase):
    """A server that somebody waits for answers before it polls."""

    def setUp(self):
        self.gw = gateway.Gateway()
        self.addCleanup(self.gw.close)
        self.options = {"temporal": temporal.where(), "gateway": self.gw.launch, "woken": True}

    def test_it_polls_a_moment_later(self):
        runs = temporal.ToolRuns()
        self.addCleanup(runs.stop)
        with harness.Host("server", "durable", **self.options) as host:
            host.ready()
            run = runs.start(self.options["temporal"]["tools_queue"], "typed", {"opt": {"n": 1}, "when": "PT2S"})
            self.assertEqual(temporal.result(run)["kind"], "Opt")

    def test_it_drains_before_it_polls(self):
        away = {**self.options["temporal"], "address": "127.0.0.1:1"}
        with harness.Host("server", "durable", **{**self.options, "temporal": away}) as host:
            host.ready()
            host.signal(signal.SIGTERM)
            self.assertEqual(host.exit(), 0)


if __name__ == "__main__":
    unittest.main()
