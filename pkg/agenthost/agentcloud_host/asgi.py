"""One web application: streamable HTTP, SSE and our health page."""

from agentcloud_host import contract, events


# Above what the gateway lets through (gateway.edge.max_body, 20 MiB): its refusal names the limit.
MAX_MESSAGE = 64 << 20


class Application:
    def __init__(self, mcp):
        from mcp.server.transport_security import TransportSecuritySettings

        # The gateway stands before us and has its own names for us.
        mcp.settings.transport_security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        mcp.settings.streamable_http_path, mcp.settings.sse_path = "/mcp", "/sse"
        mcp.settings.message_path, mcp.settings.mount_path = "/messages/", "/"
        _take_large_messages(mcp.settings)
        self.mcp = mcp
        self.ready = False
        self.calls = 0  # requests being answered, streams that only listen not counted
        self._app = self._compose()

    def _compose(self):
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        app = self.mcp.streamable_http_app()
        self._shelf = events.attach(self.mcp._session_manager)
        known = {getattr(r, "path", None) for r in app.routes}
        app.router.routes.extend(r for r in self.mcp.sse_app().routes if getattr(r, "path", None) not in known)

        async def health(request):
            return JSONResponse({"ready": self.ready}, status_code=200 if self.ready else 503)

        app.router.routes.append(Route(contract.HEALTH_PATH, health, methods=["GET"]))
        return app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] == "GET":
            return await self._app(scope, receive, send)
        self.calls += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.calls -= 1

    async def end_sessions(self) -> None:
        """Ends every open stream cleanly, so that clients see an end and not a cut."""
        self._shelf.close()
        manager = self.mcp._session_manager
        for transport in list(getattr(manager, "_server_instances", {}).values()):
            try:
                await transport.terminate()
            except Exception:
                pass


def _take_large_messages(settings) -> None:
    """Lets arguments of 16 MiB in; newer SDKs take 4 MiB unless the app says otherwise."""
    from mcp.server import transport_security

    unsaid = getattr(transport_security, "DEFAULT_MAX_REQUEST_BODY_SIZE", None)
    if unsaid is not None and getattr(settings, "max_request_body_size", None) == unsaid:
        settings.max_request_body_size = MAX_MESSAGE
