"""Histories of past runs against this and another version of the code."""

import base64
import time
import unittest

import gateway
import harness
import temporal

TWO_STEPS = '''
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="two")

@app.workflow_task(name="fetch")
async def fetch(url: str) -> str:
    return "page of " + url

@app.workflow_task(name="count")
async def count(text: str) -> int:
    return len(text)

@app.workflow
class Two(Workflow[str]):
    @app.workflow_run
    async def run(self, url: str, key: str = "", times: int = 1) -> WorkflowResult[str]:
        assert isinstance(times, int) and not key.startswith("agentcloud-secret:")
        first = await self.context.executor.execute(fetch, url + key)
        second = await self.context.executor.execute(count, first)
        return WorkflowResult(value=f"{second}")
'''
SWAPPED = TWO_STEPS.replace("execute(fetch, url + key)", "execute(count, url)").replace("execute(count, first)", "execute(fetch, str(first))")
SHORTER = TWO_STEPS.replace("        second = await self.context.executor.execute(count, first)\n", "        second = len(first)\n")
RAISING = TWO_STEPS.replace('        return WorkflowResult(value=f"{second}")', '        raise ValueError("not any more")')
ENDLESS = TWO_STEPS.replace("        second =", "        while True: pass\n        second =")
RENAMED = TWO_STEPS.replace("class Two", "class Three")
SECRET = {"mcpac_sc_1": "key-c4n4ry"}


def history(handle) -> dict:
    from temporalio.api.history.v1 import History

    fetched = temporal.server().do(handle.fetch_history())
    raw = History(events=fetched.events).SerializeToString()
    kind = fetched.events[0].workflow_execution_started_event_attributes.workflow_type.name
    return {"workflow_id": handle.id, "run_id": handle.result_run_id, "type": kind, "events": base64.b64encode(raw).decode()}


def replays(host, n) -> list:
    """The reports of a host, when all are there."""
    def found():
        all = [s["replay"] for s in host.statuses if s["state"] == "replayed"]
        bad = [s for s in host.statuses if s["state"] == "failed"]
        assert not bad, bad
        return all if len(all) == n else None
    return harness.wait_for("reports", found)


class Replay(unittest.TestCase):
    """One run by a worker, and what becomes of its history."""

    @classmethod
    def setUpClass(cls):
        cls.t = temporal.where()
        # Its worker knows the secret by its handle, so no value is in the history.
        with harness.Host("worker", None, files={"main.py": TWO_STEPS}, temporal=cls.t, secrets=SECRET) as host:
            host.ready()
            run = temporal.start(cls.t["task_queue"], "Two", "a", "agentcloud-secret:mcpac_sc_1")
            assert temporal.result(run)["value"] == str(len("page of a" + SECRET["mcpac_sc_1"]))
            cls.history = history(run)
        assert SECRET["mcpac_sc_1"].encode() not in base64.b64decode(cls.history["events"])

    def replay(self, code, **launch):
        # Nobody listens at this address: a replay needs no Temporal.
        t = {**self.t, "address": "127.0.0.1:9", "api_key": ""}
        options = {"temporal": t, "secrets": SECRET, "histories": [self.history], **launch}
        with harness.Host("replay", None, files={"main.py": code}, **options) as host:
            self.assertEqual(host.exit(), 0, host.statuses)
            return replays(host, len(options["histories"])), host

    def test_the_same_code_is_deterministic(self):
        began = time.monotonic()
        [report], host = self.replay(TWO_STEPS)
        self.assertEqual((report["verdict"], report["run_id"]), ("ok", self.history["run_id"]), report)
        print(f"\nreplay of one history: {time.monotonic() - began:.1f} s, of which {report['ms']} ms the replay")

    def test_what_changed_is_named(self):
        for name, code, want in [
            ("swapped", SWAPPED, (5, "activity fetch", "activity count")),
            ("a step less", SHORTER, (11, "activity count", "end of the run: completed")),
            ("another end", RAISING, (17, "end of the run: completed", "end of the run: failed")),
        ]:
            with self.subTest(name):
                [report], _ = self.replay(code)
                self.assertEqual(report["verdict"], "non-deterministic", report)
                self.assertEqual((report["event_id"], report["expected"], report["got"]), want, report)
                self.assertNotIn("Failure {", report["message"])

    def test_the_beginning_of_a_history(self):
        from temporalio.api.history.v1 import History

        whole = History.FromString(base64.b64decode(self.history["events"]))
        part = History(events=whole.events[:9])  # to the start of the second step of the code
        cut = {**self.history, "events": base64.b64encode(part.SerializeToString()).decode()}
        for code, want in [(TWO_STEPS, "ok"), (SHORTER, "ok"), (SWAPPED, "non-deterministic")]:
            [report], _ = self.replay(code, histories=[cut])
            self.assertEqual(report["verdict"], want, report)

    def test_a_workflow_that_is_not_there_any_more(self):
        [report], _ = self.replay(RENAMED)
        self.assertEqual((report["verdict"], report["message"]), ("missing", "this version has no workflow Two"))

    def test_code_that_never_ends_is_given_up(self):
        reports, _ = self.replay(ENDLESS, histories=[self.history, {**self.history, "type": "Gone"}])
        self.assertEqual([r["verdict"] for r in reports], ["failed", "missing"], reports)
        self.assertIn("eadlock", reports[0]["message"])

    def test_no_secret_leaves_by_a_report(self):
        told = 'raise ValueError("the key is " + key)'
        [report], host = self.replay(TWO_STEPS.replace("        first =", f"        {told}\n        first ="))
        self.assertEqual((report["verdict"], report["got"]), ("non-deterministic", "end of the run: failed"))
        self.assertNotIn(SECRET["mcpac_sc_1"], str(host.statuses) + str(host.logs))


class BesidePolling(unittest.TestCase):
    """A worker replays what its launch document brings, and serves all the while."""

    def test_a_worker_replays_and_runs(self):
        t = temporal.where()
        gw = gateway.Gateway()
        self.addCleanup(gw.close)
        more = {"temporal": t, "gateway": gw.launch}
        with harness.Host("worker", "durable", **more) as host:
            host.ready()
            waits = temporal.start(t["task_queue"], "Waits", 1, 0.0)
            temporal.server().do(waits.signal("resume", "x"))
            several = temporal.start(t["task_queue"], "Several", "hi", {"n": 1}, {"inner": {"s": "x"}})
            asks = temporal.start(t["task_queue"], "Asks", "q")
            fails = temporal.start(t["task_queue"], "FailingStep")
            for run in (waits, several, asks):
                temporal.result(run)
            with self.assertRaises(Exception):
                temporal.result(fails)
            histories = [history(run) for run in (waits, several, asks, fails)]
        with harness.Host("worker", "durable", **more, histories=histories) as host:
            host.ready()
            run = temporal.start(t["task_queue"], "Steps", 0.1)
            self.assertEqual([r["verdict"] for r in replays(host, 4)], ["ok"] * 4, host.statuses)
            self.assertEqual(temporal.result(run)["value"], "slept 0.1")
            self.assertEqual(host.statuses[-1]["state"], "replayed")


if __name__ == "__main__":
    unittest.main()
