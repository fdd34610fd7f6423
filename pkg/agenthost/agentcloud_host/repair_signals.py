"""Signals are kept until they are waited for, in order, and arrive decoded.

The SDK's waiter sees only signals that come after it began to wait: an answer
or a resume that was faster is lost, and the run hangs.
"""

import asyncio
from datetime import timedelta

_RELAY = "mcp_rpc_"  # answers to questions; the SDK decodes these itself


def install() -> None:
    from mcp_agent.executor.temporal.workflow_signal import TemporalSignalHandler
    from mcp_agent.executor.workflow_signal import SignalMailbox

    stock_push = SignalMailbox.push

    def push(self, name, value):
        _kept(self).setdefault(name, []).append(value)
        stock_push(self, name, value)

    SignalMailbox.push = push
    TemporalSignalHandler.wait_for_signal = _wait_for_signal


def _kept(mailbox) -> dict:
    return mailbox.__dict__.setdefault("_agentcloud_kept", {})


async def _wait_for_signal(self, signal, timeout_seconds=None, min_version=None):
    from temporalio import workflow

    if not workflow.in_workflow():
        raise RuntimeError("wait_for_signal must be called from within a workflow")
    mailbox = self._mailbox_ref.get()
    if mailbox is None:
        raise RuntimeError("Signal mailbox not initialized for this workflow. Please call attach_to_workflow first.")
    name = signal.name
    taken = mailbox.__dict__.setdefault("_agentcloud_taken", {})
    # Who waits at the same time gets the same signal; who waits later, the next.
    at = taken.get(name, 0) if min_version is None else min_version
    try:
        await workflow.wait_condition(
            lambda: len(_kept(mailbox).get(name, ())) > at,
            timeout=timedelta(seconds=timeout_seconds) if timeout_seconds else None,
        )
    except asyncio.TimeoutError as err:
        raise TimeoutError(f"Timeout waiting for signal {name}") from err
    taken[name] = max(taken.get(name, 0), at + 1)
    value = _kept(mailbox)[name][at]
    return value if name.startswith(_RELAY) else _decoded(value, _wanted(signal))


def _wanted(signal):
    args = getattr(type(signal), "__pydantic_generic_metadata__", {}).get("args") or ()
    return args[0] if args else None


def _decoded(value, wanted):
    from temporalio import workflow
    from temporalio.common import RawValue

    if not isinstance(value, RawValue):
        return value
    plain = workflow.payload_converter().from_payload(value.payload)
    validate = getattr(wanted, "model_validate", None)
    if validate is not None and isinstance(plain, dict):
        try:
            return validate(plain)
        except ValueError:
            pass
    for base, cls in _WITH_PAYLOAD:
        if type(plain) is base:
            plain = cls(plain)
            plain.payload = value.payload
    return plain


class _Dict(dict):
    """A value that also has `.payload`, for code that decodes it itself."""


class _List(list):
    """As _Dict."""


class _Str(str):
    """As _Dict."""


_WITH_PAYLOAD = ((dict, _Dict), (list, _List), (str, _Str))
