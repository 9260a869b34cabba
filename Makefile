# `make` alone lists the targets. Everything below works on a fresh Debian 12 with root or sudo.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
# Many short processes are started below; each would compile our modules anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

PYTHON_BIN := .venv/bin
CDC := $(PYTHON_BIN)/cdc

.PHONY: help setup browser demo demo-down test test-all chaos properties mutants bench check up down lock docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install everything that is missing: OS packages, the locked Python environment
	@scripts/install_os_packages.sh
	@scripts/python_env.sh

browser:
	@scripts/install_os_packages.sh --tests

demo: setup up ## see it work: a shop database replicated, written to, verified; all left running
	@$(PYTHON_BIN)/python -m cdc_pipelines.demo up

demo-down: ## end what `make demo` left running, and the stack
	@if [ -x $(CDC) ]; then $(PYTHON_BIN)/python -m cdc_pipelines.demo down && $(CDC) stack down; fi

# Four workers keep two cores busy: each waits for servers half of the time. How tests are dealt: tests/dealing.py.
SIDE_BY_SIDE := -n 4 --no-loadscope-reorder

test test-all: export CDC_STACK_FOR_TESTS := 1
test: setup browser check up ## everything that CI checks: static checks, then the tests on real servers
	@$(PYTHON_BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" $(PYTEST_ARGS)

test-all: setup browser check up ## the same, and some tests once more on another kind of server
	@$(PYTHON_BIN)/python -m pytest $(SIDE_BY_SIDE) $(PYTEST_ARGS)

chaos: setup ## replication under faults, on stacks of its own, 85 minutes; CHAOS_ARGS="--seed N --source … --minutes N --only …"
	@$(PYTHON_BIN)/python -m tests.chaos.campaign $(CHAOS_ARGS)

properties: setup up ## random tables of random values through a pipeline, thousands; PROPERTIES="SEED …", an hour each
	@for seed in $(or $(PROPERTIES),1 2 3); do CDC_PROPERTY_SEED=$$seed CDC_PROPERTY_TABLES=1000 \
		$(PYTHON_BIN)/python -m pytest -q --timeout 3600 tests/e2e/test_any_values.py; done

mutants: setup up ## break the package in one place at a time and see a test fail; MUTANTS_ARGS="--fast | --only NAME …"
	@$(PYTHON_BIN)/python -m tests.mutants --check-unbroken $(MUTANTS_ARGS)
	@$(PYTHON_BIN)/python -m tests.mutants $(MUTANTS_ARGS)

bench: setup ## measure: copy, verify, apply (against Debezium's JDBC sink), latency; 20 minutes on a quiet machine
	@$(CDC) stack down --only connect,kafka
	@$(CDC) stack up --with-jdbc-sink
	@for what in copy verify apply latency; do $(PYTHON_BIN)/python -m benchmarks.$$what; done

check: setup ## static checks: lint, types, import rules, generated docs, what must not be committed
	@$(PYTHON_BIN)/ruff check .
	@$(PYTHON_BIN)/mypy
	@$(PYTHON_BIN)/lint-imports
	@$(PYTHON_BIN)/python scripts/generate_docs.py --check
	@$(PYTHON_BIN)/python scripts/check_tree.py

up: setup ## start the local stack: MySQL, MariaDB, PostgreSQL, Kafka, Kafka Connect
	@$(CDC) stack up

down: ## stop the local stack; its data stays
	@if [ -x $(CDC) ]; then $(CDC) stack down; fi

lock: ## resolve requirements.lock anew from pyproject.toml
	@uv=$$(command -v uv || echo .tools/bin/uv); $$uv pip compile pyproject.toml --quiet --group dev --universal \
		--generate-hashes --no-emit-index-url --no-annotate --upgrade -o requirements.lock

docs: setup ## write the generated parts of docs/ anew (settings reference, JSON schema)
	@$(PYTHON_BIN)/python scripts/generate_docs.py

clean: demo-down ## delete the stack's data, the control store, the environment and caches; downloads stay
	@if [ -x $(CDC) ]; then $(CDC) stack down --wipe; fi
	@rm -rf .cdc .dagster .venv .tools dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.stack/*' -prune -exec rm -rf {} +
