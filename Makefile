# Targets run in the activated conda environment if there is one (never base), otherwise in .venv,
# which they make themselves with nothing but Python 3.11 and pip.

.DEFAULT_GOAL := help
SHELL := /bin/bash
OUT ?= reports/value_of_instock
ARGS ?=

ifneq ($(CONDA_PREFIX),)
ifneq ($(CONDA_DEFAULT_ENV),base)
ifeq ($(wildcard $(CONDA_PREFIX)/condabin),)
CONDA := $(CONDA_PREFIX)
endif
endif
endif

ifdef CONDA
BIN := $(CONDA)/bin
STAMP := $(CONDA)/.civstats-installed
else
BIN := .venv/bin
STAMP := .venv/.civstats-installed
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
endif

.PHONY: help install test test-slow lint format report notebook clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

install: $(STAMP)  ## set up the environment

ifdef CONDA
# The environment's packages come from environment.yml; only civstats itself is added.
$(STAMP): pyproject.toml environment.yml
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
else
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "civstats needs Python 3.11; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bayes,deep]'
	@touch $@
endif

report: $(STAMP)  ## the main job on the embedded synthetic panel; report in $(OUT)
	$(BIN)/python analyses/value_of_instock.py --data synthetic --out $(OUT) $(ARGS)

NOTEBOOK := analyses/value_of_instock
notebook: $(STAMP)  ## write and run the notebook from its script
	$(BIN)/jupytext --quiet --to ipynb --output $(NOTEBOOK).ipynb $(NOTEBOOK)_notebook.py
	$(BIN)/jupyter execute --inplace --NotebookClient.record_timing=False $(NOTEBOOK).ipynb

test: $(STAMP)  ## the quick tests
	$(BIN)/python -m pytest -m "not slow" -n 2 $(ARGS)

test-slow: $(STAMP)  ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(STAMP)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## rewrite in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
