"""A workflow of the cloud's own, in every worker: it waits for a signal and answers with
what that carried, so that a worker is seen to work before anybody depends on it."""

from temporalio import workflow

# The cloud starts no other name that begins so, and lets no agent do it.
NAME, SIGNAL = "agentcloud.round-trip", "say"


@workflow.defn(name=NAME, sandboxed=False)
class RoundTrip:
    def __init__(self):
        self._said: "list[str]" = []

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self._said))
        return self._said[0]

    @workflow.signal(name=SIGNAL)
    def say(self, text: str) -> None:
        self._said.append(text)
