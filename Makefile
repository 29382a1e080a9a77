# The two commands of the README, and the gates. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# processes that run tests, one core each
WORKERS ?= 2
READY  := $(VENV)/.ready

.PHONY: quickstart test check bench notebooks clean

quickstart: $(READY)
	$(BIN)/pt-cascade quickstart

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_import.py

bench: $(READY)
	$(BIN)/python experiments/benchmarks/all.py

notebooks: $(READY)
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

# One environment for all of it; made again when what it depends on changes.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pt_cascade needs Python 3.11 or later: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[quickstart,dev]'
	touch $(READY)

# what numba has compiled: after editing a kernel
clean:
	find pt_cascade -name "*.nb[ci]" -delete
