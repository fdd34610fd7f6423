"""A step without parameters can be run.

The SDK passes no arguments as None, which Temporal's does not take.
"""

import functools


def install() -> None:
    from temporalio import workflow

    stock = workflow.execute_activity

    @functools.wraps(stock)
    async def execute_activity(*args, **kwargs):
        if "args" in kwargs and kwargs["args"] is None:
            del kwargs["args"]
        return await stock(*args, **kwargs)

    workflow.execute_activity = execute_activity
