# lastwriter: `make quickstart` runs a drill, `make test` runs the tests; everything goes into .venv.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# Drills wait more than they compute: three at once keep two cores busy.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal

.PHONY: help quickstart install test test-long explore browser lint types format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/.installed  ## install, then run profiles/quickstart.yaml (about a minute)
	$(BIN)/lastwriter run quickstart

install: $(VENV)/.installed-dev  ## everything a developer needs

test: $(VENV)/.installed-dev browser  ## all tests but the long ones, in under ten minutes
	$(PYTEST) -m "not long"

test-long: $(VENV)/.installed-dev browser  ## what takes longer: thousands of schedules, large histories, clusters
	$(PYTEST) -m long

explore: $(VENV)/.installed-dev  ## property tests on new random examples, for long
	HYPOTHESIS_PROFILE=explore $(PYTEST) -m "not e2e and not wheel and not long"

# The report's tests open it in a real browser. Debian's and Ubuntu's chromium is installed where that is allowed; elsewhere
# the tests say what they left out (and fail in CI, where nothing may be left out).
browser:
	@if which chromium chromium-browser google-chrome 2>/dev/null | grep -q .; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium for the browser tests"; apt-get -qq update && apt-get -qq install -y chromium >/dev/null; \
	else echo "no chromium found: the browser tests of the report will be LEFT OUT" >&2; fi

lint: $(VENV)/.installed-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## rewrite the code as ruff formats it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and every cache
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "lastwriter needs Python 3.11 or newer: $(PYTHON) not found; try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (about a minute, once)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --group test --group lint --group build
	touch $@
