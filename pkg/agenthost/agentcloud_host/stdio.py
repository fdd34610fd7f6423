"""MCP servers started by `uvx` or `npx` start from what the build installed,
so that a start needs no network and leaves no wrapper process behind."""

import os

_VALUED = {
    "uvx": {"--with", "--with-editable", "--with-requirements", "--python", "-p", "--index", "--index-url", "-i", "--extra-index-url",
            "--constraints", "-c", "--from", "--refresh-package", "--upgrade-package", "-P"},
    "npx": {"-p", "--package", "--cache", "--registry", "--prefix", "-w", "--workspace"},
}
_NAMING = {"--from", "-p", "--package"}  # the package is here, and the command comes after


def rewrite(servers: dict, table: dict) -> "list[str]":
    """Changes servers in place, says whose command it changed."""
    changed = []
    for name, server in servers.items():
        if not isinstance(server, dict):
            continue
        found = lookup(name, server.get("command") or "", list(server.get("args") or []), table)
        if found is None:
            continue
        resolved, rest = found
        server["command"] = resolved["command"]
        server["args"] = list(resolved.get("args") or []) + rest
        env = {**(resolved.get("env") or {}), **(server.get("env") or {})}
        if env:
            server["env"] = env
        changed.append(name)
    return changed


def lookup(name: str, command: str, args: "list[str]", table: dict) -> "tuple[dict, list[str]] | None":
    package, rest = parse(command, args)
    if package is None:
        return None
    for key in (name, package, package.split("==")[0], _unversioned(package)):
        if key in table:
            return table[key], rest
    return None


def parse(command: str, args: "list[str]") -> "tuple[str | None, list[str]]":
    """The package a launcher would run, and the arguments meant for it."""
    tool = os.path.basename(command)
    if tool == "uv" and args[:2] == ["tool", "run"]:
        tool, args = "uvx", args[2:]
    if tool not in _VALUED:
        return None, []
    package, i = None, 0
    while i < len(args) and args[i].startswith("-"):
        flag, eq, value = args[i].partition("=")
        if flag == "--":
            i += 1
            break
        if flag in _VALUED[tool] and not eq:
            i += 1
            value = args[i] if i < len(args) else ""
        if flag in _NAMING and not (tool == "uvx" and flag == "-p"):
            package = value
        i += 1
    if i >= len(args):
        return package, []
    return package or args[i], args[i + 1:]


def _unversioned(package: str) -> str:
    at = package.rfind("@")
    return package[:at] if at > 0 else package
