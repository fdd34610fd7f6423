"""An agent with a model and a tool of another MCP server.

The model is any that speaks the OpenAI dialect: `openai.base_url` in
mcp_agent.config.yaml says where it is, `openai.api_key` in mcp_agent.secrets.yaml
is its key. The tool tells the time; uvx starts its server.
"""

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="research", description="Answers questions with a model and a clock.")


@app.workflow
class Research(Workflow[str]):
    """Answer a question."""

    @app.workflow_run
    async def run(self, question: str) -> WorkflowResult[str]:
        agent = Agent(
            name="researcher",
            instruction="Answer in one sentence. Ask the clock when a question is about time.",
            server_names=["time"],
            context=self.context,
        )
        async with agent:
            model = await agent.attach_llm(OpenAIAugmentedLLM)
            answer = await model.generate_str(question)
        app.logger.info("answered")
        return WorkflowResult(value=answer)
