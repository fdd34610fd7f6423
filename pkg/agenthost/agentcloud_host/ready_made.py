"""What a zygote makes in advance since each of its forks would make the same, and what
gives it to them: the first HTTP client's certificate authorities, and the models of the
arguments of the framework's own tools."""

import logging
import os
import ssl

_CHOICES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")  # an app's own, which decide about its clients
_contexts: "list[ssl.SSLContext]" = []


def certificates() -> None:
    """One TLS context as httpx makes it: reading the authorities takes longer than
    anything else in a start, and the framework has a client from its first moment on.
    It goes to one client alone, and to none when the app has changed what makes them."""
    from httpx._transports import default

    make, how = default.create_ssl_context, (ssl.SSLContext, ssl.create_default_context)
    _contexts.append(make())

    def create_ssl_context(verify=True, cert=None, trust_env=True):
        plain = verify is True and cert is None and how == (ssl.SSLContext, ssl.create_default_context)
        if plain and _contexts and not any(os.environ.get(name) for name in _CHOICES):
            return _contexts.pop()
        return make(verify=verify, cert=cert, trust_env=trust_env)

    default.create_ssl_context = create_ssl_context


def tools() -> None:
    """The framework makes its own tools for each app out of the same code: what they
    take is the same every time."""
    from mcp.server.fastmcp.tools import base
    from mcp_agent.app import MCPApp
    from mcp_agent.config import Settings
    from mcp_agent.server.app_server import create_mcp_server_for_app

    make, known = base.func_metadata, {}

    def learn(func, skip_names=(), structured_output=None):
        found = make(func, skip_names=skip_names, structured_output=structured_output)
        if key := _key(func, skip_names, structured_output):
            known[key] = _values(func), found
        return found

    def func_metadata(func, skip_names=(), structured_output=None):
        values, found = known.get(_key(func, skip_names, structured_output), (None, None))
        if found is not None and values == _values(func):
            return found
        return make(func, skip_names=skip_names, structured_output=structured_output)

    base.func_metadata, handlers, level = learn, logging.root.handlers[:], logging.root.level
    try:
        create_mcp_server_for_app(MCPApp(name="nobody", settings=Settings()))
    finally:
        base.func_metadata, logging.root.handlers[:] = func_metadata, handlers  # a server brings a handler along
        logging.root.setLevel(level)


def _key(func, skip_names, structured_output) -> "tuple | None":
    """None when a function's own code does not say all about it."""
    if not hasattr(func, "__code__") or hasattr(func, "__wrapped__") or hasattr(func, "__signature__"):
        return None
    return func.__code__, func.__name__, tuple(skip_names), structured_output


def _values(func) -> tuple:
    """What one function of a code may have different from another."""
    return func.__annotations__, func.__defaults__, func.__kwdefaults__
