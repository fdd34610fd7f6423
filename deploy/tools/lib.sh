# What the scripts of this folder share. To be sourced, from anywhere in the tree.

set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
tools=$root/deploy/tools
bin=$root/.bin
cache=${XDG_CACHE_HOME:-$HOME/.cache}/agentcloud
mkdir -p "$bin" "$cache"
. "$tools/versions"

# Without a C compiler, and so that all parts share one build cache.
export CGO_ENABLED=0

# The tools' own modules are outside the workspace.
go_alone() { GOWORK=off go "$@"; }

# die says in one sentence what a person can do.
die() {
	printf '%s\n' "$*" >&2
	exit 1
}

# need PROGRAM PACKAGE: a program of the machine itself.
need() {
	command -v "$1" >/dev/null 2>&1 || die "$1 is not installed. On Debian or Ubuntu: apt-get install $2"
}

# digest FILE... names content; folders are not followed.
digest() { cat "$@" | sha256sum | cut -c1-16; }

# go_digest names a Go module of the tree: its sources, its locks and the compiler.
go_digest() {
	(
		go env GOVERSION GOOS GOARCH
		find "$1" -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum | LC_ALL=C sort | xargs cat
	) | sha256sum | cut -c1-16
}

# cached NAME KEY NOTE COMMAND: sets $place to a folder of the user's cache that COMMAND
# has filled for KEY, now or another time. COMMAND is a function, reads $place and must
# chain its steps: a shell ignores set -e in it.
cached() {
	name=$1 key=$2 note=$3 make=$4
	place=$cache/$name/$key
	if [ -e "$place/.done" ]; then
		[ -n "${QUIET:-}" ] || printf '  %-12s ready\n' "$name"
		return
	fi
	printf '  %-12s %s … ' "$name" "$note"
	began=$(date +%s)
	mkdir -p "$cache/$name" "$cache/log"
	exec 9>"$cache/$name/lock"
	flock 9 2>/dev/null || true # without flock two setups at once are the caller's risk
	if [ ! -e "$place/.done" ]; then
		rm -rf "$place"
		mkdir -p "$place"
		if ! ("$make") >"$cache/log/$name" 2>&1 9>&-; then
			printf 'failed after %s s\n\n' "$(($(date +%s) - began))"
			tail -n 25 "$cache/log/$name" >&2
			die "$name could not be made; the whole output is in $cache/log/$name"
		fi
		touch "$place/.done"
	fi
	exec 9>&-
	printf '%s s\n' "$(($(date +%s) - began))"
}

# link FILE NAME puts a program of the cache into .bin.
link() { [ "$1" -ef "$bin/$2" ] || ln -sfn "$1" "$bin/$2"; }

# timed NOTE COMMAND...: runs a step whose output people want to see, in a subshell.
timed() {
	note=$1
	shift
	began=$(date +%s)
	printf '\n== %s\n' "$note"
	status=0
	("$@") || status=$?
	printf '== %s: %s after %s s\n' "$note" "$([ $status = 0 ] && echo done || echo FAILED)" "$(($(date +%s) - began))"
	return $status
}
