# One command each: `make demo`, `make test`. With another Python or folder:
#   make test PYTHON=python3.12 VENV=.venv312
PYTHON ?= python3
VENV ?= .venv
LABEL_STUDIO ?= .venv-label-studio

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-label-studio lint reference docs clean

help:
	@echo 'make demo   install, then select from the handwritten digits and compare with random'
	@echo 'make test   install with the development extras, then run every test'
	@echo 'make test-label-studio  the same against a Label Studio server of its own'
	@echo 'make lint   style, types and layers'
	@echo 'make docs   build the documentation into site/'
	@echo 'make reference  write the generated pages of docs/reference/'
	@echo 'make clean  remove $(VENV) and everything that was built'

demo: $(VENV)/installed
	@$(BIN)/keepers demo

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The exchange with a real Label Studio server, from an environment of its own; minutes.
test-label-studio: $(VENV)/installed-dev $(LABEL_STUDIO)/installed
	KEEPERS_LABEL_STUDIO=$(abspath $(LABEL_STUDIO))/bin/label-studio OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest tests/label_studio

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

reference: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(LABEL_STUDIO) .ci-venv site build dist .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache

# torch first and by itself: it is by far the largest download, and shows its progress. The pip
# that Python 3.11 brings takes minutes more over a hundred packages than one of today; where no
# other is found, it does.
$(VENV)/torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"keepers needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	-$(INSTALL) --quiet 'pip>=26'
	$(INSTALL) torch
	@touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(INSTALL) --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/torch pyproject.toml
	$(INSTALL) --quiet --editable '.[dev]'
	@touch $(VENV)/installed $@

$(LABEL_STUDIO)/installed:
	$(PYTHON) -m venv $(LABEL_STUDIO)
	$(LABEL_STUDIO)/bin/python -m pip install --disable-pip-version-check --quiet \
		'label-studio==1.23.*'
	@touch $@
