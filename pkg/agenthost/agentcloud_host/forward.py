"""What a run logs goes to the run's client, by way of the gateway.

From a thread, so that a slow gateway slows no run; in order; bounded: what
does not fit is dropped here, the log pipe has it anyway.
"""

import queue
import threading

from agentcloud_host import contract, logs

_ROOM = 1000
_TIMEOUT = 5.0
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "progress": "info"}


class Forwarder:
    def __init__(self, gateway: contract.Gateway):
        self._gateway = gateway
        self._queue: "queue.Queue" = queue.Queue(_ROOM)
        self._dropped = 0
        self._thread: "threading.Thread | None" = None

    def send(self, run_id: str, event) -> None:
        if not self._gateway.url:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((run_id, _message(event)))
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        import httpx
        from urllib.parse import quote

        token = self._gateway.token
        headers = {"X-MCP-Gateway-Token": token, "Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(timeout=_TIMEOUT, headers=headers, trust_env=False) as client:
            while True:
                run_id, params = self._queue.get()
                url = f"{self._gateway.url.rstrip('/')}/internal/session/by-run/{quote(run_id, safe='')}/notify"
                try:
                    client.post(url, json={"method": "notifications/message", "params": params})
                except Exception:
                    pass  # nobody listens, or it cannot be sent: the line is in the log
                if self._dropped and self._queue.empty():
                    lost, self._dropped = self._dropped, 0
                    logs.write("WARNING", "agentcloud.host", f"{lost} log messages were not sent to clients: the gateway was too slow", ids={})


def _message(event) -> dict:
    """The notification the SDK itself would send."""
    data = {"message": event.message, "namespace": event.namespace, "name": event.name, "timestamp": event.timestamp.isoformat()}
    if event.data:
        data["data"] = event.model_dump(mode="json", include={"data"}, fallback=str)["data"]
    if event.trace_id or event.span_id:
        data["trace"] = {"trace_id": event.trace_id, "span_id": event.span_id}
    if event.context is not None:
        data["context"] = event.context.model_dump(mode="json", fallback=str)
    return {"level": _LEVELS.get(event.type, "info"), "data": data, "logger": event.namespace if not event.name else f"{event.namespace}.{event.name}"}
