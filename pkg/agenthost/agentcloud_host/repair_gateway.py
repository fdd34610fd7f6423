"""One gateway address and token for the whole process.

The SDK keeps a run's address and token on the context that all runs share, so
runs would use each other's. What a run's memo says is ignored here.
"""


def install() -> None:
    from mcp_agent.core.context import Context

    stock = Context.__setattr__

    def __setattr__(self, name, value):
        if name not in ("gateway_url", "gateway_token"):
            stock(self, name, value)

    Context.__setattr__ = __setattr__
