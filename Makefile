# Everything from nothing: these targets need Python >= 3.11 with venv, pip and make, no more.
#   make test         environment, install, lint, types, tests          make test-peers   tests against torch, ONNX Runtime, ...
#   make bench        environment, install, the quick benchmark         make readme RESULTS=results/<run>
#   make bench-compare BASE=<commit> HEAD=<commit>   asv on two commits, side by side

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The newest supported interpreter; `make PYTHON=/path/to/python test` overrides it.
PYTHON ?= $(or $(firstword $(foreach v,3.13 3.12 3.11,$(shell command -v python$(v)))),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Mirrors drop connections; pip's own retries do not cover a failing index page.
INSTALL = for try in 1 2 3; do $(PIP) install --retries 5 $(1) && break; \
	if [ $$try = 3 ]; then exit 1; fi; echo "pip failed, trying again" >&2; sleep 5; done

.PHONY: help test test-peers check format bench bench-compare readme clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "fastcore needs Python >= 3.11, got %d.%d; run make PYTHON=/path/to/python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)

# One stamp a set of extras: nothing is installed again until pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(call INSTALL,-e '.[$*]')
	@touch $@

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: check
	$(BIN)/python -m pytest

test-peers: $(VENV)/.installed-test $(VENV)/.installed-peers
	$(BIN)/python -m pytest -m peer

# Peers are what the table compares with; without them the comparison with NumPy is still worth having.
bench: $(VENV)/.installed-bench
	@$(MAKE) --no-print-directory $(VENV)/.installed-peers || \
		echo "Some peers could not be installed: the benchmark goes on with NumPy and the peers that are there." >&2
	$(BIN)/python -m fastcore bench --quick

bench-compare: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.asv_compare $(BASE) $(HEAD)

readme: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.readme $(RESULTS)

clean:
	rm -rf $(VENV) .cache .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
