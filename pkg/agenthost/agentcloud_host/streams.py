"""print and sys.stderr become log lines; the keyboard is taken away.

Writes that go round Python (C code, children) reach descriptors 1 and 2,
which the runtime reads itself.
"""

import builtins
import io
import os
import sys
import threading

from agentcloud_host import logs

_MAX = 16 << 10  # a line without an end is cut here


class LineStream(io.TextIOBase):
    """Collects what each thread writes and speaks line by line."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, level: str, name: str, fd: int):
        self._level, self._name, self._fd = level, name, fd
        self._local = threading.local()

    def write(self, s) -> int:
        s = s if isinstance(s, str) else str(s)
        text = getattr(self._local, "text", "") + s
        *lines, rest = text.split("\n")
        if len(rest) > _MAX:
            lines, rest = lines + [rest], ""
        self._local.text = rest
        if getattr(self._local, "inside", False):
            return len(s)  # the log writer itself must not speak through us
        self._local.inside = True
        try:
            for line in lines:
                if line.strip():
                    logs.write(self._level, self._name, line.rstrip("\r"))
        finally:
            self._local.inside = False
        return len(s)

    def flush(self) -> None:
        rest = getattr(self._local, "text", "")
        if rest.strip() and rest.endswith("\r"):  # a progress bar redraws its line
            self._local.text = ""

    def finish(self) -> None:
        rest, self._local.text = getattr(self._local, "text", ""), ""
        if rest.strip():
            logs.write(self._level, self._name, rest)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    @property
    def buffer(self):
        return _Bytes(self)


class _Bytes(io.RawIOBase):
    def __init__(self, stream: LineStream):
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data) -> int:
        self._stream.write(bytes(data).decode(errors="replace"))
        return len(data)


def capture() -> None:
    sys.stdout = LineStream("INFO", "stdout", 1)
    sys.stderr = LineStream("ERROR", "stderr", 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    builtins.input = _no_keyboard


def finish() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LineStream):
            stream.finish()


def _no_keyboard(prompt: object = "", /):
    raise EOFError(f"input({prompt!r}): a deployed agent has no keyboard; ask with ctx.elicit() or agent.request_human_input()")
