# Everything happens in .venv, which the first target makes; the stamp makes a second run instant.
# What is installed there stands in requirements/, versions and hashes; `make lock` writes those files anew,
# and `make test-newest` runs the suite on the newest versions that pyproject.toml allows, in a venv of its own.
# Where a C compiler and Python's headers are, the path of plain questions is compiled on the way, into svcdns/dns;
# where they are not, the same is done in Python (`svcdns version` says which).
# PYTHON: any Python from 3.11 on.   SERVE: more flags for `svcdns serve`.   PYTEST: more flags for pytest.
# JOBS: processes of pytest, one more than cores as many tests wait; 0: one that also shows what `-s` prints.
# LOCK: `make lock LOCK=` keeps the versions that still fit, for a dependency more or less.

# So that the many servers that tests start read their code compiled, on any machine.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SERVE  ?=
JOBS   ?= 3
LOCK   ?= --upgrade
NEWEST := .venv-newest/bin/python
TOOL   := .venv-lock/bin

PIP      := -m pip --disable-pip-version-check install --quiet
COMPILE   = $(TOOL)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command "make lock" $(LOCK) pyproject.toml requirements/build.in

# What pip compiles; a change has it done again.
COMPILED := $(wildcard svcdns/dns/compiled_*.[ch])

# A file's tests stay in one process; those marked `alone` wait until the others do nothing.
SUITE     = -m pytest -m "not soak" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST)

.PHONY: run demo test test-newest soak fuzz bench coverage lint types format lock clean

run: $(VENV)/.run
	@echo "serving what is registered in svcdns-data (nothing at first); Ctrl-C ends it"
	$(BIN)/svcdns serve --data svcdns-data $(SERVE)

demo: $(VENV)/.run
	@echo "serving what stands in examples/, in a data folder of its own (svcdns-demo); Ctrl-C ends it"
	$(BIN)/svcdns serve --manifests examples --data svcdns-demo $(SERVE)

test: $(VENV)/.dev
	$(BIN)/python $(SUITE)

test-newest: .venv-newest
	$(NEWEST) $(PIP) --upgrade --upgrade-strategy eager -e '.[dev]'
	$(NEWEST) $(SUITE)

coverage: $(VENV)/.dev
	$(BIN)/python $(SUITE) --cov=svcdns --cov-report=term-missing:skip-covered

fuzz: $(VENV)/.dev
	$(BIN)/python tests/dns/fuzz_compiled_path.py

bench: $(VENV)/.dev
	$(BIN)/python bench/peers.py

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

lock: .venv-lock
	$(TOOL)/python $(PIP) --upgrade uv
	$(COMPILE) --extra dev -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt -o requirements/run.txt
	$(COMPILE) -c requirements/dev.txt --extra fast --extra grpc --extra tls -o requirements/image.txt

clean:
	@echo "taking away what make has made; your data stay where they are: svcdns-data, svcdns-demo"
	rm -f svcdns/dns/compiled_path.*.so
	rm -rf $(VENV) .venv-newest .venv-lock build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "svcdns needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml requirements/run.txt $(COMPILED)
	$(BIN)/python $(PIP) --require-hashes -r requirements/run.txt
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml requirements/dev.txt $(COMPILED)
	$(BIN)/python $(PIP) --require-hashes -r requirements/dev.txt
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

.venv-newest .venv-lock:
	$(PYTHON) -m venv $@
