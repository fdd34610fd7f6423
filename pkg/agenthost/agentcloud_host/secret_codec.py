"""Keeps secret values out of workflow histories: in each payload that leaves this
process a value is written as the handle it came from, and read back on the way in.

The framework puts whole settings into the arguments of a step, keys of models
included. A value that was rotated since is read back as the new one. Payloads that
are not JSON pass as they are.
"""

import dataclasses
import json

from agentcloud_host import redact

_MARK = "agentcloud-secret:"
_SHORTEST = 6  # a shorter value is found in too many places that are not it


def fit(converter, secrets: dict):
    """The same data converter with our codec; errors lose what they quote."""
    hidden = {value: handle for handle, value in secrets.items() if len(value) >= _SHORTEST}
    converter = dataclasses.replace(converter, failure_converter_class=_failures())
    return dataclasses.replace(converter, payload_codec=_codec(hidden)) if hidden else converter


def _failures():
    """Errors like to quote the key that was refused."""
    from temporalio.converter import DefaultFailureConverter

    class Failures(DefaultFailureConverter):
        def to_failure(self, exception, payload_converter, failure):
            super().to_failure(exception, payload_converter, failure)
            failure.message = redact.text(failure.message)
            failure.stack_trace = redact.text(failure.stack_trace)

    return Failures


def _codec(hidden: dict):
    from temporalio.converter import PayloadCodec

    # The longest first: one value may be a part of another.
    values = sorted(hidden, key=len, reverse=True)
    out = [(form, (_MARK + hidden[v]).encode()) for v in values for form in _forms(v)]
    back = [((_MARK + handle).encode(), json.dumps(v)[1:-1].encode()) for v, handle in hidden.items()]

    class Codec(PayloadCodec):
        async def encode(self, payloads):
            return [_replace(p, out) for p in payloads]

        async def decode(self, payloads):
            return [_replace(p, back) for p in payloads]

    return Codec()


def _forms(value: str) -> list:
    """How a text may be written inside JSON."""
    return list({json.dumps(value, ensure_ascii=ascii)[1:-1].encode() for ascii in (True, False)})


def _replace(payload, pairs):
    if not payload.metadata.get("encoding", b"").startswith(b"json/"):
        return payload
    data = payload.data
    for old, new in pairs:
        data = data.replace(old, new)
    if data == payload.data:
        return payload
    return type(payload)(metadata=payload.metadata, data=data)
