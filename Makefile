# One command each: `make demo`, `make test`. With another Python or folder:
#   make test PYTHON=python3.12 VENV=.venv312
PYTHON ?= python3
VENV ?= .venv

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint reference docs clean

help:
	@echo 'make demo   install, then select from the handwritten digits and compare with random'
	@echo 'make test   install with the development extras, then run every test'
	@echo 'make lint   style, types and layers'
	@echo 'make docs   build the documentation into site/'
	@echo 'make reference  write the generated pages of docs/reference/'
	@echo 'make clean  remove $(VENV) and everything that was built'

demo: $(VENV)/installed
	@$(BIN)/keepers demo

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

reference: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py

docs: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .ci-venv site build dist .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache

# torch first and by itself: it is by far the largest download, and shows its progress.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"keepers needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --quiet --editable '.[dev]'
	@touch $@
