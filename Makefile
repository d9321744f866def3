# Everything a developer does. `make` prints this list.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench generate cluster-up cluster-down

help: ## Prints this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Shows what the project does on a real API server; KEEP=1 leaves it running, KUBECONFIG plays on your cluster
	@scripts/demo

# Most tests wait for a control plane: more of them at once than there are cores.
test: ## Runs every test, the ones against a real control plane too (first run on a machine: about 21 minutes, later 14)
	@tests/cluster/build >/dev/null
	@tests/tools/install >/dev/null
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --workspace --no-fail-fast

lint: ## Checks formatting, lints, purity of the core, generated files, promises and scripts
	@scripts/lint

bench: ## Measures what docs/performance.md promises and prints a table (about 18 minutes)
	@scripts/bench

generate: ## Writes what is generated: crds/, docs/rules/
	@scripts/generate

cluster-up: ## Starts a control plane in the background and prints the path of its kubeconfig
	@tests/cluster/up

cluster-down: ## Ends the control plane that cluster-up started
	@tests/cluster/down
