# Everything a person needs: `make demo`, `make test`, `make check`. Needs Python 3.11 or later and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export LSMON_STRICT := 1

.PHONY: help demo test check format lint types contracts wheel ns bench detectors fuzz soak clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# torch first and alone: left to a resolver it becomes several gigabytes of CUDA packages on Linux.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/installed  ## train a small network that groks, and watch it
	@LSMON_STRICT=0 $(BIN)/lsmon demo grokking

# A file stays with one process, since what its tests share is dear to make.
JOBS ?= 2
test: $(VENV)/installed  ## all tests, in two processes at once
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: format lint types contracts test wheel  ## everything a change must pass

format: $(VENV)/installed
	$(BIN)/ruff format --check .

lint: $(VENV)/installed
	$(BIN)/ruff check .

# The type checkers cannot see an editable install's import hook, so they get a tree of links.
ns:
	@mkdir -p build/ns/lsmon && for room in protocol probe tui demo; do ln -sfn ../../../$$room build/ns/lsmon/$$room; done

types: $(VENV)/installed ns
	$(BIN)/mypy protocol probe tui demo tests
	$(BIN)/basedpyright --level error

contracts: $(VENV)/installed
	$(BIN)/lint-imports

wheel: $(VENV)/installed
	rm -rf build/lib dist && $(BIN)/python -m build --quiet --wheel --no-isolation
	$(BIN)/python tests/wheel_holds_the_tree.py

bench: $(VENV)/installed  ## what things cost, measured and printed, never asserted
	$(BIN)/python -m tests.bench

detectors: $(VENV)/installed  ## how good the alerts are, on labelled runs they were and were not tuned on
	$(BIN)/python -m tests.corpus

fuzz: $(VENV)/installed  ## ten thousand nearly right inputs of every format, each in a second and bounded memory
	$(BIN)/python -m tests.bench fuzz --inputs 10000

MINUTES ?= 30
soak: $(VENV)/installed  ## half an hour at 1000 steps a second with viewers that come and go
	$(BIN)/python -m tests.bench soak --minutes $(MINUTES)

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache *.egg-info
