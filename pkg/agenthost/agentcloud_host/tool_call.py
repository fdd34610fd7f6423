"""One run of a tool's body as one activity: the arguments checked as MCP
would, a context of its own, and the run's client behind it."""

import asyncio
import inspect

from agentcloud_host import interceptors, retries


class Tool:
    """A declared tool, made ready to be called many times."""

    def __init__(self, app, declared: dict, launch):
        self.name = declared["name"]
        self._app, self._cls, self._app_dir = app, declared["workflow_cls"], launch.app_dir
        self._errors = retries.of_tool(launch.retries, self.name).get("max_attempts", 1)
        fn = declared["source_fn"]
        self.blocking = not inspect.iscoroutinefunction(fn)
        self._arguments = _metadata(fn)

    async def call(self, arguments) -> object:
        from mcp_agent.core.request_context import reset_current_request_context, set_current_request_context

        checked = self._checked(arguments)
        context = _context(self._app)
        token = set_current_request_context(context)
        try:
            body = self._cls(context=context)
            body._mcp_request_context = context
            result = await body.run(checked)
            return _plain(getattr(result, "value", result))
        except asyncio.CancelledError:
            raise
        except Exception as err:
            # Never again, unless its author says so: what one call did may cost.
            if self._is_last():
                raise interceptors.as_failure(err, err, self._app_dir) from err
            raise
        finally:
            reset_current_request_context(token)

    def _is_last(self) -> bool:
        from temporalio import activity

        return activity.info().attempt >= self._errors

    def _checked(self, arguments) -> dict:
        from temporalio.exceptions import ApplicationError

        if not isinstance(arguments or {}, dict):
            raise ApplicationError(f"the arguments of {self.name} must be one JSON object", type="InvalidArguments", non_retryable=True)
        try:
            model = self._arguments.arg_model.model_validate(self._arguments.pre_parse_json(arguments or {}))
        except ValueError as err:
            raise ApplicationError(f"Error executing tool {self.name}: {err}", type="InvalidArguments", non_retryable=True) from None
        return model.model_dump_one_level()


def _metadata(fn):
    from mcp.server.fastmcp.utilities.func_metadata import func_metadata
    from mcp_agent.server.tool_adapter import create_tool_adapter_signature

    shown = create_tool_adapter_signature(fn, fn.__name__)
    shown.__wrapped__ = fn  # annotations given as strings are looked up where they were written
    signature = shown.__signature__
    try:
        signature = inspect.signature(fn, eval_str=True)
    except Exception:
        pass
    kept = {p.name for p in shown.__signature__.parameters.values()}
    injected = [n for n, p in signature.parameters.items() if n not in kept or _is_context(p)]
    return func_metadata(fn, skip_names=[*injected, "app_ctx"], structured_output=False)


def _is_context(param) -> bool:
    hint = param.annotation
    if hint is inspect.Parameter.empty:
        return param.name in ("ctx", "context")
    return "fastmcp" in str(hint) or "mcp_agent.core.context" in str(hint)


def _context(app):
    """The app's context bound to this run: what a body logs, asks or reports
    goes to the client of the run, by way of the gateway."""
    from mcp.shared.context import RequestContext
    from mcp.types import RequestParams
    from mcp_agent.executor.temporal.session_proxy import SessionProxy
    from temporalio import activity

    run_id = activity.info().workflow_run_id
    meta = RequestParams.Meta(progressToken=run_id)
    bound = app.context.bind_request(None, app.mcp)
    session = SessionProxy(executor=app.context.executor, context=bound)
    bound.upstream_session = session
    bound._request_context = RequestContext(request_id=run_id, meta=meta, session=session, lifespan_context=None)
    return bound


def _plain(value):
    import pydantic_core

    return pydantic_core.to_jsonable_python(value, fallback=str)
