#!/bin/sh
# Runs golangci-lint on each module; it knows one module at a time.
. "$(dirname "$0")/lib.sh"

cd "$root"
failed=
for module in proto pkg services services/allinone; do
	printf '  lint %s\n' "$module"
	(cd "$module" && "$bin/golangci-lint" run --allow-parallel-runners --config "$root/.golangci.yml" ./...) || failed=yes
done
[ -z "$failed" ]
