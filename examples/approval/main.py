"""Two ways to wait for a person, both for as long as it takes.

Publish asks whoever called it, by elicitation. Refund stops until somebody resumes
it: `mcp-agent cloud workflows resume <server> <run id> --payload '{"approved": true}'`.
"""

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="approval", description="Does nothing that a person has not approved.")

DECISION = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Publish it?"},
        "comment": {"type": "string", "title": "Comment", "default": ""},
    },
    "required": ["approved"],
}


@app.workflow
class Publish(Workflow[str]):
    """Publish an article once the caller has approved it."""

    @app.workflow_run
    async def run(self, title: str) -> WorkflowResult[str]:
        answer = await self.context.upstream_session.elicit(
            message=f"May “{title}” be published?", requestedSchema=DECISION
        )
        if answer.action != "accept" or not answer.content["approved"]:
            return WorkflowResult(value=f"“{title}” stays a draft")
        app.logger.info(f"publishing {title}")
        comment = answer.content.get("comment")
        return WorkflowResult(value=f"“{title}” is published" + (f": {comment}" if comment else ""))


@app.workflow
class Refund(Workflow[str]):
    """Refund an order once somebody has resumed the run."""

    @app.workflow_run
    async def run(self, order: str, amount: float) -> WorkflowResult[str]:
        app.logger.info(f"the refund of order {order} waits for approval")
        decision = await self.context.executor.wait_for_signal(
            "resume", workflow_id=self.id, run_id=self.run_id, signal_type=dict
        )
        if not (decision or {}).get("approved", True):
            return WorkflowResult(value=f"order {order} is not refunded")
        return WorkflowResult(value=f"order {order} is refunded: {amount:.2f}")
