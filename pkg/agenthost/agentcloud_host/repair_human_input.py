"""Questions to a human go to the MCP client by elicitation, never to stdin."""


def install() -> None:
    """Before the user's code, which may import the console's callback by name."""
    from mcp_agent.human_input import console_handler, elicitation_handler

    console_handler.console_input_callback = elicitation_handler.elicitation_input_callback


def attach(app) -> None:
    from mcp_agent.human_input import elicitation_handler

    if app._human_input_callback is None:
        app._human_input_callback = elicitation_handler.elicitation_input_callback


def install_on_temporal() -> None:
    """A question that does not say which run asks it is this run's: without,
    the answer has nowhere to go and the run waits for ever."""
    from mcp_agent.agents.agent import Agent
    from temporalio import workflow

    stock = Agent.request_human_input

    async def request_human_input(self, request):
        if workflow.in_workflow() and not request.workflow_id:
            info = workflow.info()
            request = request.model_copy(update={"workflow_id": info.workflow_id, "run_id": info.run_id})
        return await stock(self, request)

    Agent.request_human_input = request_human_input
