#!/bin/sh
# Runs the tests: test.sh [PART...]. Without names, all that need no cluster. Each part
# says how long it took; one that fails does not stop the others.
. "$(dirname "$0")/lib.sh"
. "$tools/steps.sh"

cd "$root"
modules='proto pkg services services/allinone'
export AGENTCLOUD_NATS_SERVER="$bin/nats-server" AGENTCLOUD_TEMPORALD="$bin/temporald"
export AGENTCLOUD_REQUIRE_NATS=1 AGENTCLOUD_REQUIRE_TEMPORAL=1

# A part is a function test_NAME; the comment beside it is its title.

test_gen() { "$tools/gen.sh" --check; } # generated code

# The cache of tests does not see files of other modules change, so this is never cached.
test_law() { go test -count=1 ./services ./services/allinone/cmd/agentcloud; } # who may import whom, and what the docs say

test_vet() { # go vet
	for module in $modules; do go vet -C "$module" ./... || return 1; done
}

# Each module must build without the workspace, as those who import it do.
test_alone() { # modules alone
	for module in $modules; do go_alone build -C "$module" -o /dev/null ./... || return 1; done
}

test_go() { # go test
	have_postgres
	[ -z "$postgres" ] || export AGENTCLOUD_REQUIRE_POSTGRES=1
	for module in $modules; do
		packages=$(go list -C "$module" ./... | grep -v '/services/e2e') || return 1
		# shellcheck disable=SC2086 # a list
		go test -timeout 15m $packages || return 1
	done
}

# Temporal's module is slow to compile, so its good result is kept by its digest.
test_temporald() { cached temporald-checked "$(go_digest "$root/services/temporald")" 'go vet and go test' check_temporald; } # services/temporald
check_temporald() { go_alone vet -C services/temporald ./... && go_alone test -C services/temporald ./...; }

# Two modules at once, the longest first: they wait a lot. What one says comes at its end.
test_python() ( # the agent host and the examples, in Python
	have_cli
	export PYTHONPATH=pkg/agenthost:pkg/agenthost/python_tests PYTHON="$place/bin/python"
	# shellcheck disable=SC2016 # the inner shell expands it
	(cd pkg/agenthost/python_tests && wc -c test_*.py | sort -rn | sed -n 's/.* \(test_.*\)\.py/\1/p') |
		xargs -P 2 -I MODULE sh -c 'said=$(timeout 600 "$PYTHON" -m unittest MODULE 2>&1); ended=$?; printf "MODULE: %s\n" "$said"; exit $ended' &&
		timeout 300 "$PYTHON" -m unittest discover examples
)

test_vault() { # the secret store on a real Vault server
	have_vaultd
	AGENTCLOUD_VAULTD=$bin/vaultd AGENTCLOUD_REQUIRE_VAULT=1 go test -count=1 ./services/secretsbroker/internal/vault/... &&
		"$tools/build.sh" && AGENTCLOUD_E2E=1 go test -count=1 -run TestVault ./services/e2e
}

test_conformance() { # the official suite, directly and through the gateway
	have_conformance
	go build -C services -o "$bin/everything-server" github.com/modelcontextprotocol/go-sdk/conformance/everything-server &&
		AGENTCLOUD_CONFORMANCE=$bin/conformance AGENTCLOUD_REFERENCE_SERVER=$bin/everything-server \
			go test -count=1 ./services/gateway/internal/conformance
}

# Scripts wait a lot, so three go on at once on two processors.
test_e2e() { # end to end, with the public command line
	have_clients
	have_browser
	"$tools/build.sh" && AGENTCLOUD_E2E=1 go test -count=1 -parallel "$(($(nproc) + 1))" -timeout 45m ./services/e2e/...
}

test_lint() { # linters
	have_lint
	"$tools/lint.sh"
}

test_chaos() { "$tools/build.sh" && AGENTCLOUD_E2E=1 AGENTCLOUD_CHAOS=1 go test -count=1 -timeout 60m -run Chaos -v ./services/e2e/...; } # chaos
test_bench() { # numbers
	[ -z "${PEERS:-}" ] || have_toolhive
	[ -z "${PEERS:-}" ] || export AGENTCLOUD_PEERS=$place
	"$tools/build.sh" && AGENTCLOUD_E2E=1 AGENTCLOUD_BENCH=${AGENTCLOUD_BENCH:-1} go test -count=1 -timeout 60m -run Numbers -v ./services/e2e/...
}

[ $# -gt 0 ] || set -- gen law vet alone lint go temporald python conformance e2e vault
report=$(mktemp)
trap 'rm -f "$report"' EXIT
title() { sed -n "s/^test_$1() .*# //p" "$tools/test.sh"; }
for part in "$@"; do
	[ -n "$(title "$part")" ] || die "there is no part $part; parts are: $(sed -n 's/^test_\([a-z0-9]*\)() .*/\1/p' "$tools/test.sh" | tr '\n' ' ')"
done
timed tools "$tools/setup.sh" run gen
for part in "$@"; do
	title=$(title "$part") began=$(date +%s)
	result=ok
	timed "$title" "test_$part" || result=FAILED
	printf '  %-10s %-6s %5s s  %s\n' "$part" "$result" "$(($(date +%s) - began))" "$title" >>"$report"
done
printf '\n'
cat "$report"
! grep -q FAILED "$report"
