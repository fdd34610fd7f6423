"""The status pipe: one JSON object a line, the last one counts."""

import json
import os
import threading

from agentcloud_host import contract, redact

_lock = threading.Lock()
_ended = False
_LONGEST = {"message": 1500, "detail": 6000}  # characters of a replay's texts, each up to six bytes in JSON


def starting() -> None:
    _write({"state": "starting"})


def ready(**facts) -> None:
    _write({"state": "ready", **facts})


def not_needed() -> None:
    _write({"state": "not-needed"}, last=True)


def draining() -> None:
    _write({"state": "draining"})


def replayed(report: dict) -> None:
    """One line of a replay; it does not change how far the process has come."""
    hidden = {k: redact.text(v)[-_LONGEST.get(k, 600):] if isinstance(v, str) else v for k, v in report.items()}
    _write({"state": "replayed", "replay": hidden})


def failed(reason: str, detail: str = "") -> None:
    _write({"state": "failed", "reason": redact.text(reason), "detail": redact.text(detail)[-8000:]}, last=True)


def _write(doc: dict, last: bool = False) -> None:
    global _ended
    line = json.dumps(doc, default=str).encode() + b"\n"
    with _lock:
        if _ended:
            return
        _ended = last
        try:
            while line:
                line = line[os.write(contract.FD_STATUS, line):]
        except OSError:
            pass  # nobody listens any more: the runtime is gone, and its end will be ours
