#!/bin/sh
# Builds every program of the workspace into .bin.
. "$(dirname "$0")/lib.sh"

cd "$root"
vcs=auto
git rev-parse HEAD >/dev/null 2>&1 || vcs=false # no checkout, or somebody else's
began=$(date +%s)
printf '  %-12s the cloud and its rooms, about 2 min the first time … ' programs
mkdir -p "$cache/log"
go build -buildvcs=$vcs -o "$bin/" ./services/*/cmd/* 2>"$cache/log/programs" || {
	printf 'failed\n\n'
	grep -v '^go: downloading' "$cache/log/programs" >&2
	exit 1
}
printf '%s s\n' "$(($(date +%s) - began))"
