#!/bin/sh
# Installs pinned tools into .bin: setup.sh run|gen|lint|vault ...
#
# What is built or downloaded is kept in the user's cache, by version, so that a second
# run and a second clone find it there. Registries are those that go, npm and pip are
# configured with.
. "$(dirname "$0")/lib.sh"
. "$tools/steps.sh"

for group in "$@"; do
	case $group in
	run) have_uv && have_cli && have_wrangler && have_temporald ;;
	gen) have_gotools && have_buf ;;
	lint) have_lint ;;
	vault) have_vaultd ;;
	*) die "setup.sh knows run, gen, lint and vault, not $group" ;;
	esac
done
