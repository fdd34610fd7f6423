"""Why an agent could not start: a sentence a person can act on, and the
traceback's last lines with paths as the person knows them."""

import os
import sys
import traceback

from agentcloud_host import logs, status, streams

_LINES = 40
IMPORTING, STARTING = "while it was imported", "while it was started"


class StartError(Exception):
    """A reason of our own; `detail` is shown below it."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.detail = detail


def give_up(err: BaseException, app_dir: str, entry: str, phase: str) -> None:
    """Reports err as the end of this start and ends the process."""
    reason, detail = explain(err, app_dir, entry, phase)
    logs.write("ERROR", "agentcloud.host", reason + ("\n" + detail if detail else ""))
    status.failed(reason, detail)
    streams.finish()
    os._exit(1)


def explain(err: BaseException, app_dir: str, entry: str, phase: str = IMPORTING) -> "tuple[str, str]":
    if isinstance(err, StartError):
        return str(err), err.detail
    detail = shorten(err, app_dir)
    name, where = relative(entry, app_dir), _where(err, app_dir)
    if isinstance(err, SyntaxError):
        return f"{relative(err.filename or entry, app_dir)} has a syntax error in line {err.lineno}: {err.msg}", detail
    if isinstance(err, ModuleNotFoundError):
        return _missing(err, name), detail
    if isinstance(err, ImportError):
        return f"{name} could not import something it needs{where}: {err}", detail
    if isinstance(err, SystemExit):
        return f"{name} ended the process {phase} (exit code {err.code}){where}; put what runs the agent under `if __name__ == \"__main__\":`", detail
    if isinstance(err, EOFError) and "keyboard" in str(err):
        return f"{name} asked for keyboard input {phase}{where}; a deployed agent has no keyboard", detail
    return f"{name} raised {type(err).__name__} {phase}{where}: {_first(str(err))}", detail


def _missing(err: ModuleNotFoundError, name: str) -> str:
    module = err.name or "?"
    if module.startswith("mcp.server.fastmcp"):
        return "the installed mcp package has no FastMCP (it is version 2 or newer): require mcp<2"
    return f"{name} needs the module {module!r}, which is not there: add its package to requirements.txt, or its file to the bundle"


def _where(err: BaseException, app_dir: str) -> str:
    frames = [f for f in traceback.extract_tb(err.__traceback__) if f.filename.startswith(app_dir + os.sep)]
    return f" ({relative(frames[-1].filename, app_dir)}, line {frames[-1].lineno})" if frames else ""


def shorten(err: BaseException, app_dir: str) -> str:
    """The traceback without our frames and the import machinery's."""
    lines: "list[str]" = []
    seen: "set[int]" = set()
    chain: "list[BaseException]" = []
    e: "BaseException | None" = err
    while e is not None and id(e) not in seen and len(chain) < 5:
        seen.add(id(e))
        chain.insert(0, e)
        e = e.__cause__ or (None if e.__suppress_context__ else e.__context__)
    for e in chain:
        frames = [f for f in traceback.extract_tb(e.__traceback__) if not _ours(f.filename)]
        lines += [ln for block in traceback.format_list(frames) for ln in block.rstrip("\n").split("\n")]
        lines += [ln for block in traceback.format_exception_only(type(e), e) for ln in block.rstrip("\n").split("\n")]
    return relative_text("\n".join(lines[-_LINES:]), app_dir)


def stack_of(thread_id: int, app_dir: str) -> "tuple[str, str]":
    """Where a thread is now: the user's innermost line, and the last frames."""
    frame = sys._current_frames().get(thread_id)
    frames = [f for f in traceback.extract_stack(frame) if not _ours(f.filename)] if frame else []
    mine = [f for f in frames if f.filename.startswith(app_dir + os.sep)]
    at = f"{relative(mine[-1].filename, app_dir)}, line {mine[-1].lineno}: {mine[-1].line}" if mine else "unknown"
    return at, relative_text("".join(traceback.format_list(frames[-12:])).rstrip(), app_dir)


def _ours(filename: str) -> bool:
    return filename.startswith(os.path.dirname(__file__) + os.sep) or "importlib" in filename


def relative(path: str, app_dir: str) -> str:
    return os.path.relpath(path, app_dir) if app_dir and os.path.abspath(path).startswith(app_dir + os.sep) else path


def relative_text(text: str, app_dir: str) -> str:
    return text.replace(app_dir + os.sep, "") if app_dir else text


def _first(text: str, limit: int = 500) -> str:
    text = text.strip() or "no message"
    return text if len(text) <= limit else text[:limit] + " …"
