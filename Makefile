# Everything runs in .venv, which the first target that needs it makes. Nothing asks a question.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet
VENV := $(BIN)/python -m uv venv --quiet --clear --seed --system-certs --no-python-downloads --python
UV := $(BIN)/python -m uv pip install --quiet --system-certs --python
# a file is one worker's, and tests/conftest.py tells which come first
SHARED := --dist loadfile --no-loadscope-reorder
UNIT := --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )) $(SHARED) --hypothesis-profile quick \
  -m "not live and not slow" --ignore-glob "*faults*" tests featkit

export PIP_USER := 0
# Without bytecode, which images of containers often forbid, each start of the tests compiles them
# all, and each process that they start compiles featkit.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test unit lowest another docs programs torture lint types format bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: .venv/.installed ## make .venv with everything in it

# installs what featkit itself needs, unless more is there already
demo: $(or $(wildcard .venv/.installed),.venv/.light) ## see featkit at work on the flights of 2013
	@$(BIN)/featkit demo

test: .venv/.installed programs ## run the tests on all cores; ARGS="-k name" narrows them down
	@$(BIN)/python -m pytest --numprocesses auto $(SHARED) $(ARGS)

# one case in ten of those that hypothesis makes up; `make test` tries them all. A worker has one
# core, on which the threads of polars would only wait for each other; while it waits itself, for a
# server or a clock, one of the workers beyond the cores goes on.
unit lowest another: export POLARS_MAX_THREADS := 1
unit: .venv/.installed ## run the tests that need no other program and no broken network
	@$(BIN)/python -m pytest $(UNIT) $(ARGS)

# of what featkit itself needs; what only tests need is as new as usual
lowest: .venv/.installed ## run the same on the oldest versions that pyproject.toml allows
	@$(VENV) $(BIN)/python build/lowest
	@$(UV) build/lowest --resolution lowest-direct --editable ".[audit,aws,demo,duckdb,gcp,grpc,iceberg,postgres,redis]"
	@$(UV) build/lowest --editable ".[test]"
	@build/lowest/bin/python -m pytest $(UNIT) $(ARGS)

# with the versions of requirements.lock; `make unit` itself stays on the Python of .venv
another: .venv/.installed ## run the same on another Python: make another PYTHON=python3.13
	@$(VENV) "$(PYTHON)" build/another
	@$(UV) build/another --require-hashes -r requirements.lock
	@$(UV) build/another --no-deps --no-build-isolation --editable .
	@build/another/bin/python -m pytest $(UNIT) $(ARGS)

docs: .venv/.installed ## build the site of the documentation in build/docs
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# tests/programs/packages.txt lists them; where there is no root, this only says what is missing
programs:
	@tests/programs/install.sh

torture: .venv/.installed ## kill the cache 1,000 times, and have 8 processes share it; an hour
	@$(BIN)/python -m tests.torture.cache

lint: .venv/.installed ## check style and format, change nothing
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check

types: .venv/.installed ## check the types
	@$(BIN)/python -m mypy

format: .venv/.installed ## fix style and format
	@$(BIN)/python -m ruff check --fix-only
	@$(BIN)/python -m ruff format

bench: .venv/.installed ## run the benchmarks; ARGS are handed on
	@$(BIN)/python -m benchmarks $(ARGS)

# requirements-demo.lock is the part of requirements.lock that `make demo` installs.
# uv keeps the versions that are in the lock unless told to raise them; a mirror's certificate is
# one that the system knows, not uv.
lock: .venv/.installed ## write requirements.lock from pyproject.toml; UPGRADE=1 takes newer versions
	@$(BIN)/python -m uv pip compile pyproject.toml --quiet --system-certs --output-file requirements.lock \
	  --all-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
	@echo hatchling | $(BIN)/python -m uv pip compile pyproject.toml - --quiet --system-certs \
	  --output-file requirements-demo.lock --constraints requirements.lock --extra demo \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links

clean: ## remove .venv and everything else that was made
	rm -rf .venv .cache .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml requirements.lock | .venv/.made
	@echo "Installing into .venv; the first time takes a minute or two." >&2
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.light: pyproject.toml requirements-demo.lock | .venv/.made
	@echo "Installing into .venv; the first time takes half a minute." >&2
	@$(PIP) install --require-hashes -r requirements-demo.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.made:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "featkit needs Python 3.11 or newer, and there is no '$(PYTHON)' here." \
	    "Name another one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "featkit needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." \
	    "Name another one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; \
	  elif command -v apt-get >/dev/null; then \
	    echo "'$(PYTHON)' lacks the venv module. Install it, then run make again:" \
	      "sudo apt-get install -y python3-venv" >&2; exit 1; \
	  else \
	    echo "'$(PYTHON)' lacks the modules venv and ensurepip; name another one:" \
	      "make PYTHON=python3.12 setup" >&2; exit 1; \
	  fi; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@touch $@
