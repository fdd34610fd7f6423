"""The launch document and the inherited file descriptors (Go: pkg/agentenv)."""

import json
import os
from dataclasses import dataclass, field

FD_LAUNCH, FD_LISTENER, FD_LOG, FD_STATUS = 3, 4, 5, 6
MAX_LINE = 64 << 10
MAX_LAUNCH = 64 << 20
HEALTH_PATH = "/__agentcloud/health"
SERVER, WORKER, REPLAY = "server", "worker", "replay"
ZYGOTE = "zygote"  # not a role: what has none yet


@dataclass
class Temporal:
    address: str = ""
    namespace: str = "default"
    task_queue: str = ""
    tools_queue: str = ""
    api_key: str = ""
    deployment_name: str = ""
    build_id: str = ""
    identity: str = ""


@dataclass
class Gateway:
    url: str = ""
    token: str = ""


@dataclass
class Activity:
    start_to_close_seconds: float = 600
    heartbeat_seconds: float = 30
    max_error_attempts: int = 3


@dataclass
class History:
    """A run of the past, to be replayed."""

    workflow_id: str = ""
    run_id: str = ""
    type: str = ""
    events: str = ""  # base64 of temporal.api.history.v1.History


@dataclass
class Sidecars:
    """The way to the stdio servers of the settings."""

    socket: str = ""
    token: str = ""
    servers: dict = field(default_factory=dict)  # as the project's own settings have them


@dataclass
class Slots:
    """How much is worked on at once; the same numbers without a bound of the cloud's."""

    workflows: int = 0  # few: moves.py
    steps: int = 0  # as temporal.max_concurrent_activities says, else 100
    tools: int = 100


@dataclass
class Launch:
    role: str = SERVER
    app_dir: str = ""
    entry: str = "main.py"
    target_id: str = ""
    app_id: str = ""
    org_id: str = ""
    version_id: str = ""
    instance_id: str = ""
    app_name: str = ""
    settings: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    secrets: dict = field(default_factory=dict)  # handle to value
    temporal: "Temporal | None" = None
    gateway: Gateway = field(default_factory=Gateway)
    activity: Activity = field(default_factory=Activity)
    slots: Slots = field(default_factory=Slots)
    retries: list = field(default_factory=list)
    stdio_commands: dict = field(default_factory=dict)
    sidecars: "Sidecars | None" = None
    drain_seconds: float = 20
    import_timeout_seconds: float = 120
    log_level: str = "info"
    woken: bool = False  # it has served before, and somebody waits for an answer
    histories: "list[History]" = field(default_factory=list)

    @property
    def durable(self) -> bool:
        """Whether the user's code is loaded for workflow classes."""
        return self.role in (WORKER, REPLAY)

    @property
    def entry_path(self) -> str:
        return os.path.normpath(os.path.join(self.app_dir, self.entry))


def adopt(role: str) -> None:
    """Keeps our descriptors from the children a user's code starts: one that
    held the status pipe would hide this process's end from the runtime."""
    for fd in (FD_LAUNCH, FD_LISTENER, FD_LOG, FD_STATUS):
        try:
            os.set_inheritable(fd, False)
        except OSError:
            if fd == FD_LISTENER and role != SERVER:
                continue
            if fd != FD_LISTENER:
                raise


def read_launch(role: str, fd: int = FD_LAUNCH) -> Launch:
    chunks, size = [], 0
    while chunk := os.read(fd, 1 << 20):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_LAUNCH:
            raise ValueError(f"the launch document is larger than {MAX_LAUNCH} bytes")
    os.close(fd)
    launch = decode(json.loads(b"".join(chunks)))
    launch.role = role
    return launch


def decode(doc: dict) -> Launch:
    nested = {"temporal": Temporal, "gateway": Gateway, "activity": Activity, "slots": Slots, "sidecars": Sidecars}
    values = {}
    for name, value in doc.items():
        # Absent, null and zero all mean the default; unknown names are a newer runtime's.
        if value in (None, "", 0) or name not in Launch.__dataclass_fields__:
            continue
        if name == "histories":
            values[name] = [_fill(History, h) for h in value]
        else:
            values[name] = _fill(nested[name], value) if name in nested else value
    return Launch(**values)


def _fill(cls, value: dict):
    known = {k: v for k, v in value.items() if k in cls.__dataclass_fields__ and v not in (None, "", 0)}
    return cls(**known)
