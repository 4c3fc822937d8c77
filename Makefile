# Everything a contributor runs. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage lint format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sluice needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

install: $(VENV)/.installed  ## make .venv with the pinned dependencies

demo: install  ## a whole rollout on this machine; HEADLESS=1 plays the operator too
	@$(BIN)/sluice demo $(if $(filter 1,$(HEADLESS)),--headless)

test: $(VENV)/.installed-dev  ## the whole suite
	@$(BIN)/python -m pytest -m alone $(ARGS)
	@$(BIN)/python -m pytest -m "not alone" -n auto --dist worksteal $(ARGS)

coverage: $(VENV)/.installed-dev  ## branches that no test takes, tools/ first
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.installed-dev  ## format and style, types, import directions
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## put the code in shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev  ## the benchmarks (figures in the README)
	@$(BIN)/python -m pytest tests/benchmarks -o 'python_files=*.py' -p no:cacheprovider -s -n 0 -m benchmark $(ARGS)

clean:  ## remove what the other targets made
	@rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist
