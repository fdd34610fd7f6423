#!/bin/sh
# Brings the cloud up, deploys an example with the public command line, calls it, and
# stays until Ctrl-C. ONCE=1 ends after the result. DATA and HTTP say where it lives.
. "$(dirname "$0")/lib.sh"

cd "$root"
data=${DATA:-.data} http=${HTTP:-127.0.0.1:8080}
mark=$(mktemp)

"$bin/agentcloud" up --data "$data" --http "$http" &
cloud=$!
# Ctrl-C reaches the cloud only through us: a shell's background child ignores it.
finish() {
	status=$?
	trap - INT TERM EXIT
	rm -f "$mark"
	kill -TERM "$cloud" 2>/dev/null || true
	wait "$cloud" || status=$?
	exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM

until [ "$data/cloud.json" -nt "$mark" ]; do
	kill -0 "$cloud" 2>/dev/null || die 'the cloud did not come up'
	sleep 0.1
done

eval "$("$bin/agentcloud" env --data "$data")"
export MCP_DEPLOYMENT_CACHE_DIR="$cache/wrangler" MCP_AGENT_DISABLE_VERSION_CHECK=1 PATH="$bin:$PATH"
timed 'mcp-agent deploy hello --working-dir examples/hello' \
	mcp-agent deploy hello --working-dir examples/hello --non-interactive
timed "agentcloud call hello add '{\"a\": 2, \"b\": 3}'" \
	agentcloud call hello add '{"a": 2, "b": 3}'
timed "agentcloud run hello Greet '{\"name\": \"World\"}'" \
	agentcloud run hello Greet '{"name": "World"}'

[ -z "${ONCE:-}" ] || exit 0
printf '\nThe cloud stays up. Ctrl-C stops it; what it keeps is in %s.\n' "$data"
wait "$cloud"
