"""Imports the user's entry as a module, so that what stands under
`if __name__ == "__main__"` does not run. Bounded in time."""

import importlib.util
import os
import sys
import threading

from agentcloud_host import contract, failure, logs, status, streams


def entry(launch: contract.Launch):
    path = launch.entry_path
    if not os.path.isfile(path):
        there = ", ".join(sorted(n for n in os.listdir(launch.app_dir) if n.endswith(".py"))[:8]) if os.path.isdir(launch.app_dir) else ""
        raise failure.StartError(f"there is no {launch.entry} in the bundle" + (f"; there is {there}" if there else ""))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise failure.StartError(f"{launch.entry} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Temporal and pickle look classes up by module name
    with _Watch(launch):
        spec.loader.exec_module(module)
    return module


class _Watch:
    """Ends the process if the import does not: nothing can interrupt a thread
    that hangs in a call, and half an import is of no use."""

    def __init__(self, launch: contract.Launch):
        self._launch = launch
        self._importer = threading.get_ident()
        self._timer = threading.Timer(launch.import_timeout_seconds, self._over)
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()

    def __exit__(self, *exc):
        self._timer.cancel()

    def _over(self) -> None:
        at, stack = failure.stack_of(self._importer, self._launch.app_dir)
        seconds = self._launch.import_timeout_seconds
        reason = f"importing {self._launch.entry} took longer than {seconds:g} s; it was at {at}"
        logs.write("ERROR", "agentcloud.host", reason, ids={})
        status.failed(reason, stack)
        streams.finish()
        os._exit(1)
