# The only door for developers: `make` lists what there is. Every target works in a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tests start hundreds of processes: each would compile the hub anew where images turn the cache off.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
PYTEST_ARGS ?=
# Tests wait for disks, sockets and processes more than they compute. A file stays with one worker;
# in their order the slow files, of whole hubs, come first.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
# A stamp per content of the requirements and place of the clone: scripts in .venv name their path.
HASH := $(shell { cat requirements.txt requirements-dev.txt requirements-data.txt setup/python.sh; pwd; } | cksum | cut -d' ' -f1)
STAMP := .venv/.requirements-$(HASH)
CENSUS_HASH := $(shell { cat requirements-census.txt setup/census.sh; pwd; } | cksum | cut -d' ' -f1)
CENSUS_STAMP := .venv-census/.requirements-$(CENSUS_HASH)
TRAINING_HASH := $(shell { cat requirements-train.txt setup/training.sh; pwd; } | cksum | cut -d' ' -f1)
TRAINING_STAMP := .venv/.training-$(TRAINING_HASH)
NODE_HASH := $(shell { cat setup/node/package.json setup/node.sh; pwd; } | cksum | cut -d' ' -f1)
NODE_STAMP := .venv/.node-$(NODE_HASH)

.PHONY: help setup node census training run test test-long check conformance format bench docs coverage postgresql clean

help:  ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: .venv/.hie  ## create .venv and install what the hub and its tests need

$(STAMP):
	@bash setup/python.sh
	@rm -f .venv/.requirements-* && touch $@

.venv/.hie: $(STAMP) pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@bash setup/pango.sh
	@touch $@

node: $(NODE_STAMP)  ## install the official examples and other people's clients and judges

$(NODE_STAMP): | .venv/.hie
	@bash setup/node.sh
	@rm -f .venv/.node-* && touch $@

census: $(CENSUS_STAMP)  ## create .venv-census, the simulator of a census that test-long links

$(CENSUS_STAMP): | .venv/.hie
	@bash setup/census.sh
	@touch $@

training: $(TRAINING_STAMP)  ## install Splink, DuckDB and Spark for `hie mpi train`

$(TRAINING_STAMP): | .venv/.hie
	@bash setup/training.sh
	@rm -f .venv/.training-* && touch $@

run: setup  ## the demo hub with five feeds; ONCE=1 checks its own expectations and exits
	@exec $(BIN)/hie demo $(if $(ONCE),--once)

postgresql:  ## install PostgreSQL's server programs where they are absent
	@bash setup/postgresql.sh

test: setup postgresql node  ## all tests, long properties in short form (PYTEST_ARGS="-k mpi")
	@$(BIN)/python -m pytest $(SPREAD) $(PYTEST_ARGS)

test-long: setup postgresql node census training  ## the tests with full counts and fresh random seeds
	@HIE_TEST_LONG=1 $(BIN)/python -m pytest $(SPREAD) --durations=15 $(PYTEST_ARGS)

coverage: setup postgresql node  ## the tests with branch coverage
	@$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

check: setup  ## format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

conformance: setup node  ## judge what the hub makes and serves by other people's validators (JAR=path of HL7's)
	@$(BIN)/python -m tests.conformance.run $(if $(JAR),--jar $(JAR))

format: setup  ## let ruff put the format and the imports right
	@$(BIN)/ruff check --select I --fix .
	@$(BIN)/ruff format .

bench: setup  ## print the measured numbers beside their floors (BENCH_ARGS="receive")
	@$(BIN)/python -m bench.run $(BENCH_ARGS)

docs: setup  ## write docs/reference from the code and the tables in config/
	@$(BIN)/python docs/elements.py
	@$(BIN)/python docs/subsets.py
	@$(BIN)/python -m docs.generate

clean:  ## remove .venv, caches and the data folder ./var
	@rm -rf .venv .venv-census var build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
