# The commands of this house. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup
# Tests and benchmarks keep the starter model here, so that a second run fetches nothing.
export ECOTONE_TEST_STORE ?= $(CURDIR)/$(VENV)/.ecotone-test-store
HISTORIES ?= 20000
SEED ?= 0
ROUNDS ?= 200
CONVERSATIONS ?= 3000
MINUTES ?= 60
# The rooms that decide: every branch of theirs is tested.
CORE := */ecotone/values/*,*/ecotone/wire/*,*/ecotone/transfer/*,*/ecotone/trust/*,*/ecotone/fleet/*,*/ecotone/access/*,*/ecotone/policy/*,*/ecotone/privacy/*,*/ecotone/pseudonyms/*,*/ecotone/jobs/*,*/ecotone/estimate/*,*/ecotone/learning/*,*/ecotone/checking/*,*/ecotone/weighing/*,*/ecotone/placement/*,*/ecotone/flow/*

.DEFAULT_GOAL := help
.PHONY: help setup up test check sim faults test-egress bench-gateway bench-engine bench-privacy bench-overload bench-queue bench-routing bench-learning bench-transfer bench-hub bench-fleet outage soak docs format clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with all that running, testing and benchmarking need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Ecotone needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Mend: make setup PYTHON=python3.11" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "No venv module. Mend: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing what running, testing and benchmarking need (about a minute)"
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import xllamacpp' || { echo "The local engine cannot be loaded. Mend, on Debian or Ubuntu: apt-get install libgomp1 libstdc++6" >&2; exit 1; }
	@touch $@

$(VENV)/.bench: $(STAMP)
	@echo "installing the baselines of the routing benchmark"
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev,bench]'
	@touch $@

up: $(STAMP) ## set up, fetch the starter model, start a site on http://127.0.0.1:3266
	@$(BIN)/ecotone models pull smollm2-135m
	@exec $(BIN)/ecotone up $(ARGS)

test: check ## set up, check the house, run the tests with coverage (under 5 minutes)
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	@set -o pipefail; $(BIN)/python -m pytest -n 3 --dist worksteal --cov --cov-report= | tee $(VENV)/.test.log
	@$(BIN)/coverage report --include '$(CORE)' --fail-under=100 --skip-covered
	@$(BIN)/coverage report --fail-under=90 --format=total | sed 's/^/coverage of the whole, branches included, %: /'
	@tail -n 1 $(VENV)/.test.log

check: $(STAMP) ## format, lint, types, layers
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

sim: $(STAMP) ## simulated histories on virtual time (HISTORIES=20000 SEED=0)
	$(BIN)/python -m ecotone.sim --histories $(HISTORIES) --seed $(SEED)

faults: $(STAMP) ## kill, tear, fill and cut for longer than `make test` does, and 200 rounds of all of it (ROUNDS=200)
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	ECOTONE_FAULT_ROUNDS=50 $(BIN)/python -m pytest tests/faults tests/hub tests/e2e -p no:cacheprovider
	$(BIN)/python benchmarks/faults/run.py --rounds $(ROUNDS) $(ARGS)
	$(BIN)/python benchmarks/faults/switches.py --rounds $(ROUNDS)

test-egress: $(STAMP) ## what leaves a site, packet by packet: every path under random faults (CONVERSATIONS=3000)
	ECOTONE_EGRESS_SEED=$(SEED) ECOTONE_EGRESS_CONVERSATIONS=$(CONVERSATIONS) $(BIN)/python -m pytest tests/egress tests/yardsticks -p no:cacheprovider

bench-gateway: $(VENV)/.bench ## CPU, latency, streams and memory beside nginx and LiteLLM (about 18 minutes)
	$(BIN)/python benchmarks/corridor/run.py --learning
	$(BIN)/python benchmarks/gateway/run.py $(ARGS)

bench-engine: $(STAMP) ## the local model through Ecotone and bare, in one run
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	$(BIN)/python benchmarks/engine/run.py $(ARGS)

bench-privacy: $(STAMP) ## what the detectors find and miss, and what they cost, beside Presidio (ARGS=--quick)
	$(BIN)/python benchmarks/privacy/run.py $(ARGS)

bench-overload: $(STAMP) ## goodput at capacity and at three times it, through a site and without one (about 2 minutes)
	$(BIN)/python benchmarks/overload/run.py $(ARGS)

bench-routing: $(VENV)/.bench ## learned placement on labelled data beside its baselines (ARGS=--quick)
	$(BIN)/python benchmarks/routing/run.py $(ARGS)

bench-learning: $(STAMP) ## a site with real models finds out what its small one serves (about 10 minutes on idle cores)
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	$(BIN)/python benchmarks/learning/run.py $(ARGS)

bench-queue: $(STAMP) ## the durable queue: puts, leases, start-up with 100,000 jobs
	$(BIN)/python benchmarks/queue/run.py $(ARGS)

bench-transfer: $(STAMP) ## delivery of model versions: bytes and time beside other ways, with cuts and a kill (ARGS=--quick)
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	$(BIN)/python benchmarks/transfer/run.py $(ARGS)

bench-hub: $(STAMP) ## a hub under 200 sites, on PostgreSQL and SQLite, with one process killed (ARGS=--quick)
	$(BIN)/python benchmarks/hub/run.py $(ARGS)

bench-fleet: $(STAMP) ## 10,000 simulated sites: a good release, a bad one, a hub that is away (ARGS=--quick)
	$(BIN)/python benchmarks/fleet/run.py $(ARGS)

outage: $(STAMP) ## one trace through Ecotone and LiteLLM while the link goes through twelve troubles (root)
	$(BIN)/python benchmarks/outage/run.py $(ARGS)

soak: $(STAMP) ## moderate load for an hour: slopes of memory, files, threads, store (MINUTES=60)
	@$(BIN)/ecotone models pull smollm2-135m --store $(ECOTONE_TEST_STORE)
	$(BIN)/python benchmarks/soak/run.py --minutes $(MINUTES) $(ARGS)

docs: $(STAMP) ## write the generated pages of docs/reference
	$(BIN)/python -m ecotone.cli.reference

clean: ## remove what the build made (not the site's store)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/.work
