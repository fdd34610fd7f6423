"""What a workflow's code asks Temporal for, and what its history says it asked
for then: one word each, so that both can be laid side by side."""

from dataclasses import dataclass


@dataclass
class Difference:
    event_id: int
    expected: str  # what the history says
    got: str  # what the code asks for now


NOTHING = "nothing more"

# A command that the code gives, by its field in Temporal's core.
_GIVEN = {
    "schedule_activity": lambda c: f"activity {c.activity_type}",
    "start_timer": lambda c: "timer",
    "cancel_timer": lambda c: "end of a timer",
    "request_cancel_activity": lambda c: "cancellation of an activity",
    "start_child_workflow_execution": lambda c: f"child {c.workflow_type}",
    "signal_external_workflow_execution": lambda c: f"signal {c.signal_name} to another run",
    "request_cancel_external_workflow_execution": lambda c: "cancellation of another run",
    "complete_workflow_execution": lambda c: "end of the run: completed",
    "fail_workflow_execution": lambda c: "end of the run: failed",
    "cancel_workflow_execution": lambda c: "end of the run: canceled",
    "continue_as_new_workflow_execution": lambda c: "end of the run: continued as new",
}

# An event that such a command leaves behind, by the field of its attributes.
_LEFT = {
    "activity_task_scheduled_event_attributes": lambda a: f"activity {a.activity_type.name}",
    "timer_started_event_attributes": lambda a: "timer",
    "timer_canceled_event_attributes": lambda a: "end of a timer",
    "activity_task_cancel_requested_event_attributes": lambda a: "cancellation of an activity",
    "start_child_workflow_execution_initiated_event_attributes": lambda a: f"child {a.workflow_type.name}",
    "signal_external_workflow_execution_initiated_event_attributes": lambda a: f"signal {a.signal_name} to another run",
    "request_cancel_external_workflow_execution_initiated_event_attributes": lambda a: "cancellation of another run",
    "workflow_execution_completed_event_attributes": lambda a: "end of the run: completed",
    "workflow_execution_failed_event_attributes": lambda a: "end of the run: failed",
    "workflow_execution_canceled_event_attributes": lambda a: "end of the run: canceled",
    "workflow_execution_continued_as_new_event_attributes": lambda a: "end of the run: continued as new",
}


def given(command) -> "str | None":
    name = command.WhichOneof("variant")
    return _GIVEN[name](getattr(command, name)) if name in _GIVEN else None


def left(event) -> "str | None":
    name = event.WhichOneof("attributes")
    return _LEFT[name](getattr(event, name)) if name in _LEFT else None


def first_difference(asked: "dict[int, list[str]]", events) -> "Difference | None":
    """Compares step by step: `asked` has, by the number of events that the code
    knew of, what it asked for then."""
    by_id = {e.event_id: e for e in events}
    for known in sorted(asked):
        done = by_id.get(known + 1)
        if done is None or done.WhichOneof("attributes") != "workflow_task_completed_event_attributes":
            continue  # the history ends here, or this step was tried again
        recorded = _after(by_id, known + 2)
        for i in range(max(len(recorded), len(asked[known]))):
            at, expected = recorded[i] if i < len(recorded) else (done.event_id, NOTHING)
            got = asked[known][i] if i < len(asked[known]) else NOTHING
            if got != expected:
                return Difference(at, expected, got)
    return None


def _after(by_id: dict, at: int) -> "list[tuple[int, str]]":
    """The events that commands of one step left, which follow it at once. Some
    leave an event that has no word here (markers, search attributes)."""
    found = []
    while at in by_id and by_id[at].WhichOneof("attributes") not in _OTHERS:
        word = left(by_id[at])
        if word is not None:
            found.append((at, word))
        at += 1
    return found


# Events that no command leaves: with one of them the next step begins.
_OTHERS = {
    "workflow_task_scheduled_event_attributes", "workflow_task_started_event_attributes", "workflow_task_completed_event_attributes",
    "workflow_task_timed_out_event_attributes", "workflow_task_failed_event_attributes",
    "activity_task_started_event_attributes", "activity_task_completed_event_attributes", "activity_task_failed_event_attributes",
    "activity_task_timed_out_event_attributes", "activity_task_canceled_event_attributes", "timer_fired_event_attributes",
    "workflow_execution_signaled_event_attributes", "workflow_execution_cancel_requested_event_attributes",
    "child_workflow_execution_started_event_attributes", "workflow_execution_terminated_event_attributes",
    "workflow_execution_timed_out_event_attributes", None,
}
