"""The standard library's logging and warnings, as lines of the log pipe."""

import logging
import traceback
import warnings

from agentcloud_host import logs

# Said on every start by the SDKs about themselves; no user can act on them.
_NOISE = (
    "has a first parameter named self",
    "get_current_context() created a global Context",
    "Workflow task module import skipped",
    "missing the httpx_client_factory",
    'Field name "',
    "Error in standalone SSE writer",  # a client went away
)
# These tell of every request, ours among them.
_QUIET = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access", "mcp.server", "asyncio")


class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            msg = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                msg += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if is_noise(msg):
                return
            logs.write(_level(record.levelno), record.name, msg, ts=record.created)
        except Exception:
            self.handleError(record)


def is_noise(text: str) -> bool:
    return any(n in text for n in _NOISE)


def install() -> None:
    root = logging.getLogger()
    root.handlers[:] = [Handler()]
    root.setLevel(logs.minimum)
    logging.raiseExceptions = False
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=ResourceWarning)


def _level(n: int) -> str:
    return "CRITICAL" if n >= 50 else "ERROR" if n >= 40 else "WARNING" if n >= 30 else "INFO" if n >= 20 else "DEBUG"
