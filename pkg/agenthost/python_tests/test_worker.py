"""Workflow classes on Temporal: what the host repairs."""

import pathlib
import signal
import sys
import tempfile
import time
import unittest

import gateway
import harness
import temporal
from agentcloud_host import moves, round_trip
from temporalio.client import WorkflowFailureError


def value(handle, patience=harness.PATIENCE):
    return temporal.result(handle, patience)["value"]


def failure(case, handle, patience=harness.PATIENCE):
    with case.assertRaises(WorkflowFailureError) as caught:
        temporal.result(handle, patience)
    return caught.exception.cause


class Shared(unittest.TestCase):
    """One worker for all tests of a class."""

    launch: dict = {}

    @classmethod
    def setUpClass(cls):
        cls.gw = gateway.Gateway()
        cls.t = temporal.where()
        cls.seen = tempfile.NamedTemporaryFile("r", suffix=".seen")
        servers = {"echo": {"command": sys.executable, "args": [str(harness.HERE / "apps/durable/echo_server.py")]}}
        cls.options = {"temporal": cls.t, "gateway": cls.gw.launch, "settings": {"mcp": {"servers": servers}}, "env": {"SEEN": cls.seen.name},
                       "activity": {"start_to_close_seconds": 600, "heartbeat_seconds": 4, "max_error_attempts": 3}, **cls.launch}
        cls.host = harness.Host("worker", "durable", **cls.options).__enter__()
        cls.addClassCleanup(cls.host.__exit__, None, None, None)
        cls.addClassCleanup(cls.gw.close)
        cls.ready = cls.host.ready()

    def noted(self):
        return pathlib.Path(self.seen.name).read_text()

    def start(self, kind, *args, **options):
        return temporal.start(self.t["task_queue"], kind, *args, **options)


class Runs(Shared):
    def test_ready_says_what_there_is(self):
        self.assertIn("Steps", self.ready["workflows"])
        self.assertNotIn("blocking_tool", self.ready["workflows"])
        self.assertEqual(self.ready["tools"], ["blocking_tool", "patient_tool", "protocol_tool", "raising_tool"])

    def test_a_run_of_the_cloud_answers_with_what_a_signal_brought(self):
        self.assertTrue(self.ready["round_trip"])
        self.assertNotIn(round_trip.NAME, self.ready["workflows"])
        handle = self.start(round_trip.NAME)
        temporal.server().do(handle.signal(round_trip.SIGNAL, "hello"))
        self.assertEqual(temporal.result(handle), "hello")

    def test_a_plain_exception_ends_the_run(self):
        began = time.monotonic()
        err = failure(self, self.start("Raises", "boo"))
        self.assertEqual((err.type, err.message), ("ValueError", "boo"))
        self.assertIn("raise ValueError(text)", err.failure.stack_trace)
        self.assertLess(time.monotonic() - began, 5)

    def test_exit_ends_the_run_and_not_the_worker(self):
        self.assertIn("exit(3)", failure(self, self.start("Raises", "exit")).message)
        self.assertEqual(value(self.start("Steps", 0.0)), "slept 0.0")

    def test_a_failing_step_is_tried_three_times(self):
        before = self.noted().count("failing\n")
        err = failure(self, self.start("FailingStep"))
        self.assertEqual((err.type, err.message), ("KeyError", "'no such thing'"))
        self.assertIn("in failing_step", err.failure.stack_trace)
        self.assertEqual(self.noted().count("failing\n") - before, 3)

    def test_several_parameters_keep_their_types(self):
        opt, out = {"n": 1}, {"inner": {"s": "x"}}
        for name, args, want in [
            ("all given", ["hi", opt, out, 5, "why"], "hi Opt(1) Inner(x) 5 'why'"),
            ("defaults left out", ["hi", opt, out], "hi Opt(1) Inner(x) 2 None"),
            ("numbers as text", ["hi", opt, out, "5"], "hi Opt(1) Inner(x) 5 None"),
            ("packed as the SDK packs them", [["hi", opt, out, 4]], "hi Opt(1) Inner(x) 4 None"),
        ]:
            with self.subTest(name):
                self.assertEqual(value(self.start("Several", *args)), want)

    def test_wrong_parameters_end_the_run(self):
        opt, out = {"n": 1}, {"inner": {"s": "x"}}
        for name, args, kind, text in [
            ("wrong content", ["hi", {"n": "five"}, out, 1, None], "ValueError", "opt.n"),
            ("missing", ["hi"], "TypeError", "needs 'opt', 'out'"),
            ("too many", ["hi", opt, out, 1, "x", "y"], "TypeError", "takes 5 parameters"),
        ]:
            with self.subTest(name):
                err = failure(self, self.start("Several", *args))
                self.assertEqual(err.type, kind)
                self.assertIn(text, err.message)

    def test_a_blocking_body_hangs_nobody(self):
        began = time.monotonic()
        runs = [*(self.start("Blocks", 5.0) for _ in range(moves.GO_ON)), self.start("Blocks", 12.0)]
        quick = self.start("Steps", 0.0)
        value(quick)
        self.assertLess(time.monotonic() - began, 4, "a neighbour waited")
        for run in runs:
            value(run)
        self.assertLess(time.monotonic() - began, 16)

    def test_a_blocking_step_keeps_its_heartbeat_and_its_neighbours(self):
        began = time.monotonic()
        blocked = self.start("Steps", 12.0, True)
        harness.wait_for("the step", lambda: self.noted().count("slow "))
        time.sleep(0.2)
        self.assertEqual(value(self.start("Steps", 0.0)), "slept 0.0")
        self.assertLess(time.monotonic() - began, 6, "a neighbour waited")
        self.assertEqual(value(blocked), "slept 12.0")
        self.assertLess(time.monotonic() - began, 14, "the step was tried again")
        self.assertTrue(self.host.said("blocks the event loop (main.py, line"))

    def test_early_resumes_wait_and_arrive_decoded(self):
        run = self.start("Waits", 4, 0.3)
        for payload in [{"a": 1}, "text", 7]:
            temporal.server().do(run.signal("resume", payload))
        temporal.server().do(run.signal("resume"))
        self.assertEqual(value(run), ["dict:{'a': 1}", "str:text", "int:7", "NoneType:None"])

    def test_resume_with_the_start(self):
        run = self.start("Waits", 1, 0.0, start_signal="resume", start_signal_args=["now"])
        self.assertEqual(value(run), ["str:now"])

    def test_answers_at_once_are_not_lost(self):
        began = time.monotonic()
        runs = [self.start("Asks", f"q{i}") for i in range(4)]
        self.assertEqual([value(r) for r in runs], ["accept bob"] * 4)
        self.assertLess(time.monotonic() - began, 10)
        asked = [(p, tok) for p, b, tok in self.gw.calls if b.get("method") == "elicitation/create" and b["params"]["message"].startswith("q")]
        self.assertEqual({tok for _, tok in asked}, {"gateway-token-1"})
        self.assertEqual({p.split("/")[-2] for p, _ in asked}, {r.result_run_id for r in runs})

    def test_a_human_is_asked_by_elicitation(self):
        self.assertEqual(value(self.start("AsksHuman")), "bob")

    def test_the_memo_does_not_redirect_callbacks(self):
        run = self.start("Asks", "memo", memo={"gateway_url": "http://127.0.0.1:9/elsewhere", "gateway_token": "other"})
        self.assertEqual(value(run), "accept bob")

    def test_logs_carry_the_run_and_reach_its_client(self):
        words = [f"word{i}" for i in range(6)]
        runs = [self.start("Logs", w) for w in words]
        for w, run in zip(words, runs):
            value(run)
            mine = {"run_id": run.result_run_id, "workflow_id": run.id}
            harness.wait_for("its lines", lambda: len(self.host.said(w + " ", **mine)) == 6)
            self.assertEqual(len(self.host.said(w + " ")), 6, "a line was said twice, or as another run")
            harness.wait_for("its client's lines", lambda: len([p for p in self.gw.told(run.result_run_id) if w in p["data"]["message"]]) == 3)
            told = [p["data"]["message"] for p in self.gw.told(run.result_run_id)]
            self.assertFalse([m for m in told if m.startswith("word") and not m.startswith(w)], "another run's words")


class Versioned(Shared):
    launch: dict = {}

    @classmethod
    def setUpClass(cls):
        stock = temporal.where

        def versioned():
            t = stock()
            return {**t, "deployment_name": t["task_queue"], "build_id": "ver_1"}

        temporal.where = versioned
        try:
            super().setUpClass()
        finally:
            temporal.where = stock

    def test_a_pinned_version_runs_once_it_is_current(self):
        from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest

        run = self.start("Several", "hi", {"n": 1}, {"inner": {"s": "x"}})
        s = temporal.server()
        request = SetWorkerDeploymentCurrentVersionRequest(namespace=temporal.NAMESPACE, deployment_name=self.t["task_queue"], build_id="ver_1", identity="t")
        s.do(s.client.workflow_service.set_worker_deployment_current_version(request))
        self.assertEqual(value(run), "hi Opt(1) Inner(x) 2 None")
        info = s.do(run.describe()).raw_description.workflow_execution_info.versioning_info
        self.assertEqual(info.deployment_version.build_id, "ver_1")


class Killed(Shared):
    def test_a_worker_killed_within_a_step_does_not_fail_the_run(self):
        run = self.start("Steps", 6.0)
        harness.wait_for("the step", lambda: "slow " in self.noted())
        self.host.signal(signal.SIGKILL)
        self.host.exit()
        began = time.monotonic()
        with harness.Host("worker", "durable", **self.options) as again:
            again.ready()
            self.assertEqual(value(run), "slept 6.0")
            self.assertLess(time.monotonic() - began, 20)
            pids = [ln.split()[1] for ln in self.noted().splitlines() if ln.startswith("slow")]
            self.assertEqual(pids, [str(self.host.pid), str(again.pid)])
            self._servers_survive(again)

    def _servers_survive(self, host):
        """Killed between two calls of one agent's server."""
        run = self.start("UsesServer", 6.0)
        harness.wait_for("the first call", lambda: self._steps_done(run) >= 2)
        host.signal(signal.SIGKILL)
        host.exit()
        with harness.Host("worker", "durable", **self.options) as third:
            third.ready()
            one, two = value(run, 3 * harness.PATIENCE).split()  # timeouts of the killed add up
            self.assertEqual(one, f"one@{host.pid}")
            self.assertEqual(two, f"two@{third.pid}")

    def _steps_done(self, run):
        async def count():
            return len([e async for e in run.fetch_history_events() if e.HasField("activity_task_completed_event_attributes")])
        return temporal.server().do(count())


class Drained(Shared):
    def test_a_drain_lets_steps_end_and_leaves(self):
        run = self.start("Steps", 3.0)
        harness.wait_for("the step", lambda: "slow " in self.noted())
        began = time.monotonic()
        self.host.signal(signal.SIGTERM)
        self.host.status("draining")
        self.assertEqual(self.host.exit(), 0)
        self.assertLess(time.monotonic() - began, 6)
        with harness.Host("worker", "durable", **self.options) as again:
            again.ready()
            self.assertEqual(value(run), "slept 3.0")
            self.assertEqual(self.noted().count("slow "), 1, "the step was done twice")
            self._a_stuck_step_does_not_hold_the_drain(again)

    def _a_stuck_step_does_not_hold_the_drain(self, host):
        run = self.start("Steps", 60.0, True)
        harness.wait_for("the step", lambda: self.noted().count("slow ") == 2)
        began = time.monotonic()
        host.signal(signal.SIGTERM)
        self.assertEqual(host.exit(), 0)
        self.assertLess(time.monotonic() - began, self.options.get("drain_seconds", 5) + 7)
        temporal.server().do(run.terminate())


if __name__ == "__main__":
    unittest.main()
