"""How often steps and bodies of tools are tried, and what they inherit of their run."""

import json
import tempfile
import unittest

import gateway
import harness
import temporal
import test_worker
from agentcloud_host import contract, interceptors, retries
from temporalio.client import WorkflowFailureError
from temporalio.common import Priority, RetryPolicy

TABLE = temporal.ROOT / "pkg" / "agentenv" / "testdata" / "retries.json"


class Rules(unittest.TestCase):
    """The same table as in Go (services/scheduler/internal/retries) and for Node (pkg/agenthost/node_tests)."""

    def test_the_best_rule_is_found(self):
        table = json.loads(TABLE.read_text())
        for name, want in table["steps"].items():
            self.assertEqual(retries.of_step(table["rules"], name)["max_attempts"], want, name)
        for tool, want in table["tools"].items():
            self.assertEqual(retries.of_tool(table["rules"], tool), want, tool)

    def test_a_rule_becomes_the_same_policy_as_for_node(self):
        outbound = interceptors._WorkflowOutbound(None, interceptors.Policy(contract.Launch(), None))
        for name, case in json.loads(TABLE.read_text())["policies"].items():
            policy = outbound._with_room(retries.apply(case["rule"], RetryPolicy()))
            got = {"attempts": policy.maximum_attempts, "initial": policy.initial_interval.total_seconds(), "backoff": policy.backoff_coefficient,
                   "max": policy.maximum_interval and policy.maximum_interval.total_seconds(), "non_retryable": policy.non_retryable_error_types}
            self.assertEqual({field: got[field] for field in case["want"]}, case["want"], name)


class Steps(test_worker.Shared):
    launch = {
        "settings": {"workflow_task_retry_policies": {"failing_step": {"maximum_attempts": 2, "initial_interval": 0.01}, "odd_step": {"maximum_attempts": 9}}},
        "retries": [
            {"pattern": "failing_step", "from_settings": True, "max_attempts": 2, "initial_interval_seconds": 0.01},
            {"pattern": "odd_step", "max_attempts": 4, "initial_interval_seconds": 0.01, "max_interval_seconds": 0.02, "non_retryable": ["KeyError"]},
            {"pattern": "telling*", "start_to_close_seconds": 33, "schedule_to_close_seconds": 44, "heartbeat_seconds": 7},
        ],
        "slots": {"workflows": 3, "steps": 2},
    }

    def failing(self, kind, *args):
        before = self.noted().count("failing\n")
        err = test_worker.failure(self, self.start(kind, *args))
        return err.type, self.noted().count("failing\n") - before

    def test_a_step_is_tried_as_the_settings_say(self):
        self.assertEqual(self.failing("FailingStep"), ("KeyError", 2))

    def test_the_project_file_wins(self):
        self.assertEqual(self.failing("OddStep", "ValueError"), ("ValueError", 4))

    def test_some_errors_are_final(self):
        self.assertEqual(self.failing("OddStep", "KeyError"), ("KeyError", 1))

    def test_a_step_inherits_priority_and_has_its_own_times(self):
        run = self.start("Tells", priority=Priority(priority_key=2, fairness_key="u_1", fairness_weight=2.5))
        self.assertEqual(test_worker.value(run), {"priority": 2, "share": "u_1", "weight": 2.5, "start_to_close": 33, "schedule_to_close": 44, "heartbeat": 7})


class Bodies(unittest.TestCase):
    def test_a_body_is_tried_again_only_when_its_project_says_so(self):
        gw = gateway.Gateway()
        self.addCleanup(gw.close)
        seen = self.enterContext(tempfile.NamedTemporaryFile("r", suffix=".seen"))
        runs = temporal.ToolRuns()
        self.addCleanup(runs.stop)
        t = temporal.where()
        options = {"temporal": t, "gateway": gw.launch, "env": {"SEEN": seen.name}, "retries": [{"pattern": "tool:raising_tool", "max_attempts": 2}]}
        with harness.Host("server", "durable", **options) as host:
            host.ready()
            with self.assertRaises(WorkflowFailureError) as caught:
                temporal.result(runs.start(t["tools_queue"], "raising_tool", {"text": "boo"}))
            self.assertEqual(caught.exception.cause.cause.type, "ValueError")
            self.assertEqual(seen.read().count("raising"), 2)


if __name__ == "__main__":
    unittest.main()
