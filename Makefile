# `make demo` completes the example cohort; `make test` runs the tests. Both set up what they need.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
REPORT := results/report.html

.PHONY: help setup demo test lint real-cohort clean

help:
	@echo "make demo         complete the example cohort and say where the report is"
	@echo "make test         run the tests"
	@echo "make real-cohort  withhold modalities of real cases, impute them, compare (needs ../shared/data)"
	@echo "make lint         ruff, mypy and the layers of the packages (import-linter)"
	@echo "make clean        remove results/ (never inputs or models)"

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mupd needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

setup: $(VENV)/.installed

demo: setup
	$(BIN)/snakemake --cores all
	@echo
	@echo "The completed example cohort:"
	@echo "  report    $(CURDIR)/$(REPORT)   (open it in a browser)"
	@echo "  manifest  $(CURDIR)/results/manifest.tsv"
	@echo "  artifacts $(CURDIR)/results/artifacts/"

# Two workers; tests of one file stay together, so that they share what they have set up. WORKERS=0 runs all in one process.
WORKERS ?= 2

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

real-cohort: setup
	$(BIN)/python -m benchmarks.real_cohort

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy mupd benchmarks

clean:
	rm -rf results
