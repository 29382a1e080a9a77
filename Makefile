# The two commands of the README, the checks, and the documentation. Everything runs in .venv, which the first call creates.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# processes that run tests, one a core
WORKERS ?= 2
READY  := $(VENV)/.ready
# TypeScript's compiler, which checks the script of the explorer page
TSC    := $(VENV)/node_modules/.bin/tsc

.PHONY: quickstart test check bench experiments docs notebooks clean

quickstart: $(READY)
	$(BIN)/pt-cascade quickstart

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(READY) $(TSC)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -rs tests/test_import.py tests/reporting/explorer/test_types.py

bench: $(READY)
	$(BIN)/python experiments/benchmarks/all.py

# those that take minutes and need no hub; they look for collections in $PT_CASCADE_DATA
experiments: $(READY)
	$(BIN)/pt-cascade experiment verify $$(grep -L "^needs:" experiments/*.yaml)
	$(BIN)/pt-cascade experiment list experiments --out experiments/README.md
	$(BIN)/pt-cascade experiment list experiments --out experiments/matrix.html

# the first page is docs/_build/html/docs/index.html
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -b html . docs/_build/html

notebooks: $(READY)
	$(BIN)/python notebooks/execute.py notebooks/*.ipynb

# One environment for all targets; updated when one of these files changes.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pt_cascade needs Python 3.11 or later: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[quickstart,dev,docs]'
	touch $(READY)

$(TSC): | $(READY)
	-command -v npm >/dev/null && npm install --silent --no-save --prefix $(VENV) typescript@5.9.3

# what numba has compiled: after editing a kernel
clean:
	find pt_cascade -name "*.nb[ci]" -delete
