"""Plain functions run in threads, so that one that blocks (a database, a
model, sleep) stops nobody else. Applies to MCP tools of either SDK."""

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import sqlite3
import sys

_pool: "concurrent.futures.ThreadPoolExecutor | None" = None
_THREADS = 64


def pool() -> concurrent.futures.ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")
    return _pool


def threaded(fn):
    """An async function that runs fn in a thread, with the caller's context
    variables; fn itself if it is async already."""
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):
        return fn

    @functools.wraps(fn)
    async def call(*args, **kwargs):
        context = contextvars.copy_context()
        work = functools.partial(context.run, fn, *args, **kwargs)
        result = await asyncio.get_running_loop().run_in_executor(pool(), work)
        return await result if asyncio.iscoroutine(result) else result

    return call


def install_fastmcp() -> None:
    from mcp.server.fastmcp.utilities.func_metadata import FuncMetadata

    stock = FuncMetadata.call_fn_with_arg_validation

    async def call_fn_with_arg_validation(self, fn, fn_is_async, *args, **kwargs):
        return await stock(self, fn if fn_is_async else threaded(fn), True, *args, **kwargs)

    FuncMetadata.call_fn_with_arg_validation = call_fn_with_arg_validation
    _share_sqlite()


def install_mcp_agent() -> None:
    from mcp_agent.app import MCPApp

    stock = MCPApp._create_workflow_from_function

    def _create_workflow_from_function(self, fn, **kwargs):
        cls = stock(self, threaded(fn), **kwargs)
        cls.__mcp_agent_param_source_fn__ = fn  # schemas come from what the user wrote
        return cls

    MCPApp._create_workflow_from_function = _create_workflow_from_function


def _share_sqlite() -> None:
    """A connection made at import is used by tools, which were on the same
    thread where their author ran them. SQLite itself serialises the calls."""
    if sys.version_info >= (3, 11) and sqlite3.threadsafety != 3:
        return
    stock = sqlite3.connect

    @functools.wraps(stock)
    def connect(*args, **kwargs):
        if len(args) < 5:
            kwargs.setdefault("check_same_thread", False)
        return stock(*args, **kwargs)

    sqlite3.connect = sqlite3.dbapi2.connect = connect
