"""Which rule of the project says how a step or a tool's body is tried.

Rules come in the launch document: those of agentcloud.yaml, and those of the settings,
which the SDK itself applies to steps. (Go: services/scheduler/internal/retries)"""

from dataclasses import replace
from datetime import timedelta

_FIELDS = ("start_to_close_seconds", "schedule_to_close_seconds", "heartbeat_seconds", "max_attempts", "initial_interval_seconds",
           "max_interval_seconds", "backoff", "non_retryable")
_TOOL = "tool:"


def of_step(rules: "list[dict]", name: str) -> dict:
    return _best([r for r in rules if not r.get("from_settings")], [name])


def of_tool(rules: "list[dict]", tool: str) -> dict:
    names = [tool, _TOOL + tool]
    ours = _best([r for r in rules if not r.get("from_settings")], names)
    # "*" was written for steps: by itself the SDK never runs a tool's body twice.
    theirs = _best([r for r in rules if r.get("from_settings") and r["pattern"] != "*"], names)
    return {**theirs, **ours}


def rank(pattern: str, name: str) -> "tuple[int, int] | None":
    """How well a pattern fits, as the SDK ranks them; None when it does not."""
    if pattern == name:
        return (3, len(pattern))
    if pattern == "*":
        return (0, 0)
    if pattern.endswith("*"):
        return (1, len(pattern) - 1) if name.startswith(pattern[:-1]) else None
    return (2, len(pattern)) if name.endswith("." + pattern) else None


def _best(rules, names) -> dict:
    ranked = [(at, rule) for rule in rules for name in names if (at := rank(rule["pattern"], name)) is not None]
    if not ranked:
        return {}
    rule = max(ranked, key=lambda one: one[0])[1]
    return {k: rule[k] for k in _FIELDS if rule.get(k)}


def apply(rule: dict, policy):
    """The policy with what the rule says of it."""
    changes = {}
    if rule.get("initial_interval_seconds"):
        changes["initial_interval"] = timedelta(seconds=rule["initial_interval_seconds"])
    if rule.get("max_interval_seconds"):
        changes["maximum_interval"] = timedelta(seconds=rule["max_interval_seconds"])
    if rule.get("backoff"):
        changes["backoff_coefficient"] = rule["backoff"]
    if rule.get("max_attempts"):
        changes["maximum_attempts"] = rule["max_attempts"]
    if rule.get("non_retryable"):
        changes["non_retryable_error_types"] = list(rule["non_retryable"])
    policy = replace(policy, **changes)
    if policy.maximum_interval is not None and policy.maximum_interval < policy.initial_interval:
        policy = replace(policy, initial_interval=policy.maximum_interval)
    return policy


def seconds(rule: dict, field: str) -> "timedelta | None":
    value = rule.get(field)
    return timedelta(seconds=value) if value else None
