# Two commands: `make demo` runs the main job on a phantom, `make test` runs every check and test.
# `make test-all` runs the tests of minutes as well (killed federations, long attacks).
# `make fuzz` reads mutated DICOM files for an hour (FUZZ_SECONDS) and keeps what fails in fuzz-found/.
# Each makes .venv with pip alone, from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
FUZZ_SECONDS ?= 3600
FUZZ_SEED ?= 0
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check fuzz bench clean
.DELETE_ON_ERROR:

demo: .venv/.ready
	rm -rf demo-run
	$(BIN)/hu demo mammography --out demo-run

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

check: .venv/.ready-dev
	$(BIN)/ruff check src tests benchmarks recipes
	$(BIN)/ruff format --check src tests benchmarks recipes
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: .venv/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz_dicom.py --seconds $(FUZZ_SECONDS) \
		--seed $(FUZZ_SEED) --out fuzz-found

# Ours beside its peers, which have an environment of their own, into docs/benchmarks.md; ROWS=a,b for some rows.
# The peers of the DICOM benchmarks, which are run by hand, go into .venv.
ROWS ?= a,b,c,d,e,f,g
bench: .venv/.ready-bench .venv-peers/.ready
	$(BIN)/python benchmarks/against_peers --rows $(ROWS)

.venv/.ready-bench: .venv/.ready-dev
	$(PIP) -e ".[timm,dev,bench]"
	touch $@

.venv-peers/.ready: benchmarks/peers.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c $< torch
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.ready: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e .
	touch $@

.venv/.ready-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e ".[timm,dev]"
	touch .venv/.ready $@

clean:
	rm -rf .venv demo-run fuzz-found
