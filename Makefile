# `make demo` and `make test` do everything on a machine with Python 3.11 or newer.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(p))))
BIN := $(VENV)/bin

DEMO := estimate llama-3.1-70b --on h100-sxm --devices 8 --plan.tp 8 --batch 32 --isl 4096 --osl 512

.PHONY: demo test lint format typecheck pytest clean help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.gambrel-installed  ## install into .venv and estimate a shipped model
	$(BIN)/gambrel $(DEMO)

test: lint typecheck pytest  ## install the extras and run the whole suite

lint: $(VENV)/.gambrel-test-installed  ## formatting, lint rules, import layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-cache

typecheck: $(VENV)/.gambrel-test-installed
	$(BIN)/pyright --pythonpath $(BIN)/python

pytest: $(VENV)/.gambrel-test-installed
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

format: $(VENV)/.gambrel-test-installed  ## rewrite the sources as `make lint` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist

# A stamp for each kind of install, so that a second `make` starts at once; --editable keeps it true to the sources.
$(VENV)/.gambrel-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.gambrel-test-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.gambrel-installed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: Gambrel needs Python 3.11 or newer, and none was found." \
		"Install it, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: '$(PYTHON) -m venv $(VENV)' failed." \
		"On Debian and Ubuntu install the package python3-venv (or python3.11-venv) and run make again." >&2; exit 1; }
