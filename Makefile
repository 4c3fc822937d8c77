# Everything a contributor runs. `make help` lists it.
FITS      := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
NEEDS     := Sluice needs Python 3.11, 3.12 or 3.13 with its venv module
NEWEST    := for python in python3.13 python3.12 python3.11 python3; do $$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done
PYTHON    ?= $(or $(shell $(NEWEST)),none)
VENV      := .venv
BIN       := $(VENV)/bin
PIP       := $(BIN)/python -m pip --disable-pip-version-check
# Without its resolver, which takes an extra of a pinned package for another, unpinned requirement.
PINNED    := $(PIP) install -qq --no-deps --require-hashes
COMPILE   := uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q

.DEFAULT_GOAL := help
.PHONY: help python install demo test test-real fuzz simulate coverage lint format screenshots bench bench-gates pins clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.txt requirements-build.txt pyproject.toml | python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PINNED) -r requirements.txt -r requirements-build.txt
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PINNED) -r requirements-dev.txt
	@$(PIP) check -q
	@touch $@

python:
ifneq ($(origin PYTHON),file)
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "$(NEEDS), which $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@test ! -x $(BIN)/python || test "`$(BIN)/python -V`" = "`$(PYTHON) -V`" || { echo "$(VENV) has `$(BIN)/python -V`, and $(PYTHON) is another: make clean $(MAKECMDGOALS) PYTHON=$(PYTHON)" >&2; exit 1; }
endif
	@test -x $(BIN)/python || test $(PYTHON) != none || { echo "$(NEEDS), and found none: install it (apt install python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; }
	@test ! -x $(BIN)/python || $(BIN)/python -c '$(FITS)' 2>/dev/null || { echo "$(NEEDS), and $(VENV) was made by another: make clean $(MAKECMDGOALS)" >&2; exit 1; }

install: $(VENV)/.installed  ## make .venv with the pinned dependencies

demo: install  ## a whole rollout on this machine; HEADLESS=1 plays the operator too
	@$(BIN)/sluice demo $(if $(filter 1,$(HEADLESS)),--headless)

# Where servers are demanded, test-real runs what talks to real ones: one after another, for they share them.
test: $(VENV)/.installed-dev  ## the whole suite
	@$(BIN)/python -m pytest -m alone $(ARGS)
	@$(BIN)/python -m pytest -m "not alone$(if $(SLUICE_TEST_NEEDS_SERVERS), and not real)" -n auto --dist worksteal $(ARGS)

test-real: $(VENV)/.installed-dev  ## the tests against real servers, which it starts and stops (needs PostgreSQL, Prometheus, InfluxDB and npm)
	@dir=`mktemp -d` && trap '.ci/servers stop "$$dir" || true; rm -rf "$$dir"' EXIT && trap 'exit 1' INT TERM && \
	.ci/servers start "$$dir" >"$$dir/names" && \
	env `cat "$$dir/names"` SLUICE_TEST_NEEDS_SERVERS=1 $(BIN)/python -m pytest -m real -n 2 --dist loadgroup $(ARGS)

fuzz: $(VENV)/.installed-dev  ## a million arbitrary model outputs (STEPS=…)
	@SLUICE_TEST_FUZZ_STEPS=$(or $(STEPS),1000000) $(BIN)/python -m pytest tests/unit/agent/test_arbitrary_outputs.py -n auto --timeout 7200 $(ARGS)

simulate: $(VENV)/.installed-dev  ## 10,000 schedules of crashes, outages and races (SCHEDULES=…); `make test` has the first of them
	@SLUICE_TEST_SCHEDULES=$(or $(SCHEDULES),10000) $(BIN)/python -m pytest tests/unit/rollouts/test_simulation.py -n auto --timeout 7200 $(ARGS)

coverage: $(VENV)/.installed-dev  ## branches that no test takes, tools/ first
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.installed-dev  ## format and style, types, import directions
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev  ## put the code in shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

screenshots: $(VENV)/.installed-dev  ## the pictures of the README, from a rollout of the demo (needs Chromium)
	@$(BIN)/python -m tests.acceptance.page.screenshots

bench: $(VENV)/.installed-dev  ## the benchmarks (figures in the README)
	@$(BIN)/python -m pytest tests/benchmarks -o 'python_files=*.py' -p no:cacheprovider -s -n 0 -m benchmark $(ARGS)

bench-gates: $(VENV)/.installed-dev  ## the gates beside other tools' rules (ARGS="--help" lists the options)
	@$(BIN)/python -m tests.benchmarks.gate_table $(ARGS)

pins:  ## pin the newest dependencies again, each with its hashes (needs uv)
	@$(COMPILE) pyproject.toml -o requirements.txt
	@$(COMPILE) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	@$(COMPILE) --group build -c requirements-dev.txt -o requirements-build.txt

clean:  ## remove what the other targets made
	@rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist
