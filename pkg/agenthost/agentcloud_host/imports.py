"""Fast imports: no garbage collection meanwhile, and without scikit-learn.

mcp-agent imports scikit-learn (with SciPy, two thirds of its start) for one
cosine. The one module that does it sees stubs; once it is imported the stubs
are gone, so a user's own `import sklearn` gets the real thing.
"""

import gc
import importlib.machinery
import importlib.util
import os
import sys
import types

_GREEDY = "mcp_agent.workflows.embedding.embedding_base"
_STUBBED = ("sklearn", "sklearn.metrics", "sklearn.metrics.pairwise")


def quicken() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # or numpy starts threads, which no fork survives
    gc.disable()
    sys.meta_path.insert(0, _StubFinder())


def settle() -> None:
    """What was imported stays; looking through it again and again is waste."""
    gc.collect()
    gc.freeze()
    gc.enable()


def has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def heavy(role: str) -> None:
    """Everything big a role needs, with no thread, loop or client started: a
    process may fork after this. Only what the app's environment has."""
    if not has("mcp_agent"):
        import mcp.server.fastmcp  # noqa: F401
    else:
        import mcp_agent.app  # noqa: F401
        import mcp_agent.executor.temporal.session_proxy  # noqa: F401
    if role == "server":
        import uvicorn  # noqa: F401

        if has("mcp_agent"):
            import mcp_agent.server.app_server  # noqa: F401


class _StubFinder:
    """Finds one module as anybody would, but has it executed among stubs."""

    def find_spec(self, name, path=None, target=None):
        if name != _GREEDY:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _StubLoader(spec.loader)
        return spec


class _StubLoader:
    def __init__(self, real):
        self._real = real

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        if "sklearn" in sys.modules:
            return self._real.exec_module(module)
        stubs = {name: types.ModuleType(name) for name in _STUBBED}
        stubs["sklearn.metrics.pairwise"].cosine_similarity = _cosine_similarity
        sys.modules.update(stubs)
        try:
            self._real.exec_module(module)
        finally:
            for name in _STUBBED:
                sys.modules.pop(name, None)


def _cosine_similarity(*args, **kwargs):
    from sklearn.metrics.pairwise import cosine_similarity

    return cosine_similarity(*args, **kwargs)
