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

from agentcloud_host import contract

_GREEDY = "mcp_agent.workflows.embedding.embedding_base"
# What a server or worker imports on its way to readiness, and user's code most often.
_LATER = (
    "agentcloud_host.server", "agentcloud_host.worker", "agentcloud_host.replay",
    "uvicorn.loops.asyncio", "uvicorn.lifespan.on", "uvicorn.protocols.http.auto", "anyio._backends._asyncio", "httpcore", "rich.logging", "rich.panel",
    "temporalio.worker", "temporalio.contrib.pydantic",
    "mcp_agent.logging.rich_progress", "mcp_agent.human_input.console_handler", "mcp_agent.human_input.elicitation_handler",
    "mcp_agent.executor.temporal", "mcp_agent.agents.agent", "mcp_agent.workflows.llm.augmented_llm_openai",
    "mcp_agent.workflows.llm.augmented_llm_anthropic",
)
_courtesy: "set[str]" = set()  # packages that a zygote alone has imported
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
    if role == contract.SERVER:
        import uvicorn  # noqa: F401

        if has("mcp_agent"):
            import mcp_agent.server.app_server  # noqa: F401


def everything() -> None:
    """What an agent of any role would import once it runs, for a zygote."""
    for role in (contract.SERVER, contract.WORKER):
        heavy(role)
    needed = _tops()
    for name in _LATER:
        if has(name.partition(".")[0]):
            try:
                importlib.import_module(name)
            except Exception as err:  # a version without it, or an extra that is not installed
                print(f"without {name}: {err}", file=sys.stderr)
    _courtesy.update(_tops() - needed)
    for make in (_models, _settings, *_ready_made()):
        try:
            make()
        except Exception as err:
            print(f"without {make.__name__}: {err}", file=sys.stderr)


def _models() -> None:
    """A table of the framework's that each app reads, some megabytes of objects."""
    if has("mcp_agent"):
        from mcp_agent.workflows.llm.llm_selector import load_default_models

        load_default_models()


def _settings() -> None:
    """What the framework's settings are checked with is made when the first are; these
    are nobody's."""
    if has("mcp_agent"):
        from mcp_agent.config import Settings

        Settings()


def _ready_made() -> tuple:
    if not has("mcp_agent"):
        return ()
    from agentcloud_host import ready_made

    return ready_made.certificates, ready_made.tools


def give_way(*folders: str) -> None:
    """Lets a user's own module be found whose name is that of a package which only
    a zygote has imported."""
    for name in _courtesy:
        if any(os.path.isfile(os.path.join(f, name + ".py")) or os.path.isfile(os.path.join(f, name, "__init__.py")) for f in folders):
            for loaded in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[loaded]


def _tops() -> "set[str]":
    return {name.partition(".")[0] for name in sys.modules}


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
