"""One web application: streamable HTTP, SSE and our health page."""

from agentcloud_host import contract


class Application:
    def __init__(self, mcp):
        from mcp.server.transport_security import TransportSecuritySettings

        # The gateway stands before us and has its own names for us.
        mcp.settings.transport_security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        mcp.settings.streamable_http_path, mcp.settings.sse_path = "/mcp", "/sse"
        mcp.settings.message_path, mcp.settings.mount_path = "/messages/", "/"
        self.mcp = mcp
        self.ready = False
        self.calls = 0  # requests being answered, streams that only listen not counted
        self._app = self._compose()

    def _compose(self):
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        app = self.mcp.streamable_http_app()
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
        manager = self.mcp._session_manager
        for transport in list(getattr(manager, "_server_instances", {}).values()):
            try:
                await transport.terminate()
            except Exception:
                pass
