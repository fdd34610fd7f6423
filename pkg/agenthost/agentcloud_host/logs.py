"""The log pipe: every line one JSON object, whoever speaks.

Lines carry the ids of the run that speaks. They are written at once, so that
a kill loses none; a reader that stops reading loses lines, never the agent.
"""

import datetime
import json
import os
import select
import sys
import threading
import time

from agentcloud_host import contract, redact

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_PATIENCE = 2.0  # seconds a full pipe may hold up the one who speaks
_lock = threading.RLock()
_lost = 0
_stuck = False
minimum = 20


def start(level: str) -> None:
    global minimum
    minimum = LEVELS.get(str(level).upper(), 20)
    os.set_blocking(contract.FD_LOG, False)


def write(level: str, logger: str, msg: str, fields: "dict | None" = None, ts: "float | None" = None, ids: "dict | None" = None) -> None:
    if LEVELS.get(level, 20) < minimum:
        return
    ids = speaker() if ids is None else ids
    if ids.get("replaying"):
        return  # said already, by the process that first ran this code
    line = {"ts": _stamp(ts), "level": level, "logger": logger, "msg": msg}
    line.update({k: v for k, v in ids.items() if v and k != "replaying"})
    if fields:
        line["fields"] = fields
    _send(_encode(line))


def info(msg: str, **fields) -> None:
    write("INFO", "agentcloud.host", msg, fields)


def warning(msg: str, **fields) -> None:
    write("WARNING", "agentcloud.host", msg, fields)


def speaker() -> dict:
    """Whose line this is: the workflow run or activity that this thread or task is in."""
    workflow, activity = sys.modules.get("temporalio.workflow"), sys.modules.get("temporalio.activity")
    if workflow is not None and workflow.in_workflow():
        i = workflow.info()
        return {"run_id": i.run_id, "workflow_id": i.workflow_id, "attempt": i.attempt, "replaying": workflow.unsafe.is_replaying()}
    if activity is not None and activity.in_activity():
        i = activity.info()
        return {"run_id": i.workflow_run_id, "workflow_id": i.workflow_id, "activity": i.activity_type, "attempt": i.attempt}
    return {}


def _stamp(ts: "float | None") -> str:
    at = datetime.datetime.fromtimestamp(time.time() if ts is None else ts, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _encode(line: dict) -> bytes:
    text = _json(line)
    if len(text) > contract.MAX_LINE:
        line.pop("fields", None)
        room = contract.MAX_LINE - 1024
        line["msg"] = line["msg"].encode(errors="replace")[:room // 2].decode(errors="ignore") + " [cut]"
        text = _json(line)
        if len(text) > contract.MAX_LINE:  # every character escaped to six
            line["msg"] = line["msg"][: room // 8] + " [cut]"
            text = _json(line)
    return text


def _json(line: dict) -> bytes:
    try:
        text = json.dumps(line, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        line["fields"] = {"unprintable": True}
        text = json.dumps(line, default=str, ensure_ascii=False)
    return redact.text(text).encode(errors="replace") + b"\n"


def _plain(value):
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        try:
            return dump(mode="json")
        except Exception:
            pass
    return str(value)


def _send(data: bytes) -> None:
    global _lost, _stuck
    with _lock:
        if _lost and not _stuck:
            note = {"ts": _stamp(None), "level": "WARNING", "logger": "agentcloud.host", "msg": f"{_lost} log lines were lost: nobody read them"}
            _lost = 0
            _push(json.dumps(note).encode() + b"\n")
        if not _push(data):
            _lost += 1


def _push(data: bytes) -> bool:
    """Writes a whole line or none of it, within a bound."""
    global _stuck
    deadline = time.monotonic() + (0 if _stuck else _PATIENCE)
    rest = data
    while rest:
        try:
            rest = rest[os.write(contract.FD_LOG, rest):]
        except BlockingIOError:
            left = deadline - time.monotonic()
            # Once begun, a line is finished: half of one would garble the next.
            if left <= 0 and rest is data:
                _stuck = True
                return False
            select.select([], [contract.FD_LOG], [], max(left, 0.05))
        except OSError:
            return False  # the runtime is gone
    _stuck = False
    return True
