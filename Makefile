# Everything happens in .venv, which the first target makes; the stamp makes a second run instant.
# PYTHON: any Python from 3.11 on.   SERVE: more flags for `svcdns serve`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SERVE  ?=

.PHONY: run test soak coverage lint types format clean

run: $(VENV)/.run
	$(BIN)/svcdns serve --manifests examples --data svcdns-data $(SERVE)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not soak" $(PYTEST)

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not soak" --cov=svcdns --cov-report=term-missing:skip-covered $(PYTEST)

soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff check svcdns tests bench tools
	$(BIN)/ruff format --check svcdns tests bench tools
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy svcdns

format: $(VENV)/.dev
	$(BIN)/ruff format svcdns tests bench tools

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "svcdns needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run
