# `make help` lists the verbs. The work is done by the scripts in deploy/tools.

TOOLS := deploy/tools
MAKEFLAGS += --no-print-directory

.PHONY: help setup build run gen gen-check test lint test-vault chaos bench upgrade-cli clean

help: ## Say what the verbs do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install the pinned tools into .bin, from the user's cache where it has them
	@$(TOOLS)/setup.sh run gen

build: ## Build every program into .bin
	@$(TOOLS)/setup.sh run
	@$(TOOLS)/build.sh

run: build ## Bring the cloud up, deploy an agent with the public command line and call it (ONCE=1: then end)
	@$(TOOLS)/run.sh

gen: ## Generate Go, gateway and OpenAPI from the contracts
	@$(TOOLS)/setup.sh gen
	@$(TOOLS)/gen.sh

gen-check: ## Fail when the generated code is not what the contracts say
	@$(TOOLS)/setup.sh gen
	@$(TOOLS)/gen.sh --check

test: ## Run every test that needs no cluster (ONLY="go e2e" picks parts)
	@$(TOOLS)/test.sh $(ONLY)

lint: ## Run the linters on every module
	@$(TOOLS)/setup.sh lint
	@$(TOOLS)/lint.sh

test-vault: ## Run the secret store's suite against a real Vault server
	@$(TOOLS)/test.sh vault

chaos: ## Kill every process at many points of a deploy and of a run; all must come right
	@$(TOOLS)/test.sh chaos

bench: ## Measure, and print the figures of docs/numbers.md (PEERS=1: also beside another gateway)
	@PEERS=$(PEERS) $(TOOLS)/test.sh bench

upgrade-cli: ## Resolve the public command line's packages anew
	@$(TOOLS)/setup.sh run
	@cd $(TOOLS)/cli && ../../../.bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-header --no-annotate requirements.in -o requirements.txt

clean: ## Remove what was built here; the user's cache stays
	rm -rf .bin .data .tmp
