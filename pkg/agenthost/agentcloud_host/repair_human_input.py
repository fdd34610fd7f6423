"""Questions to a human go to the MCP client by elicitation, never to stdin."""


def install() -> None:
    """Before the user's code, which may import the console's callback by name."""
    from mcp_agent.human_input import console_handler, elicitation_handler

    console_handler.console_input_callback = elicitation_handler.elicitation_input_callback


def attach(app) -> None:
    from mcp_agent.human_input import elicitation_handler

    if app._human_input_callback is None:
        app._human_input_callback = elicitation_handler.elicitation_input_callback
