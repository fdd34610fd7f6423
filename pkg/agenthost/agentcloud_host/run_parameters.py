"""A run's input becomes the arguments of run(): typed whatever their number,
and a wrong input ends the run instead of hanging it."""

import functools
import inspect
import json
from typing import Any


def take_over(definitions) -> None:
    """Has the SDK hand over plain JSON: its own decoding drops all types if
    a default was left out, and fails the task for ever if a value is wrong."""
    for defn in definitions:
        if defn.name and not hasattr(defn.cls.__init__, "__temporal_workflow_init"):
            if not any(_is_raw(t) for t in defn.arg_types or ()):
                object.__setattr__(defn, "arg_types", None)


def bind(cls, args: list) -> list:
    """The arguments for cls.run, or TypeError or ValueError in the words of a caller."""
    params, fixed = _parameters(cls)
    if not fixed:
        return args
    required = [p for p in params if p.default is inspect.Parameter.empty]
    if _is_packed(args, params, required):
        args = list(args[0])
    if len(args) > len(params):
        raise TypeError(f"{cls.__name__} takes {len(params)} parameters, but {len(args)} were given")
    missing = [p.name for p in required[len(args):]]
    if missing:
        raise TypeError(f"{cls.__name__} needs {', '.join(repr(m) for m in missing)}")
    return [_typed(p, value) for p, value in zip(params, args)]


@functools.lru_cache(maxsize=None)
def _parameters(cls) -> "tuple[list, bool]":
    fn = inspect.unwrap(cls.run)
    try:
        sig = inspect.signature(fn, eval_str=True)
    except Exception:
        sig = inspect.signature(fn)
    params = [p for p in sig.parameters.values() if p.name != "self"]
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    fixed = all(p.kind in plain or (p.kind is p.KEYWORD_ONLY and p.default is not p.empty) for p in params)
    return [p for p in params if p.kind in plain], fixed


def _is_packed(args: list, params: list, required: list) -> bool:
    """The SDK's own starter packs two or more parameters into one list."""
    if len(args) != 1 or len(params) < 2 or not isinstance(args[0], list):
        return False
    if not len(required) <= len(args[0]) <= len(params):
        return False
    return len(required) > 1 or params[0].annotation in (str, int, float, bool, dict)


def _typed(param, value):
    hint = param.annotation
    if hint is inspect.Parameter.empty or hint is Any or isinstance(hint, str):
        return value
    adapter = _adapter(hint)
    if adapter is None:
        return value
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return value
    try:
        return adapter.validate_json(text)
    except ValueError as err:
        problems = "; ".join(f"{'.'.join([param.name, *(str(p) for p in e['loc'])])}: {e['msg']}" for e in err.errors()[:5])
        raise ValueError(f"parameter {problems}") from None


def _adapter(hint):
    from pydantic import TypeAdapter

    try:
        return _cached_adapter(hint)
    except TypeError:  # a hint that cannot be hashed
        try:
            return TypeAdapter(hint)
        except Exception:
            return None


@functools.lru_cache(maxsize=512)
def _cached_adapter(hint):
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(hint)
    except Exception:
        return None  # a type of the user's own that pydantic does not know: as it came


def _is_raw(hint) -> bool:
    return getattr(hint, "__name__", "") == "RawValue"
