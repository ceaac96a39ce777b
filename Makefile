# SPDX-License-Identifier: Apache-2.0
# `make` or `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
VENVS := clients keystone tempest oslo oslo17 peers zaqar
SEED ?= 1
# Most tests wait more than they compute. A file's tests stay together: they share what they start.
SIDE_BY_SIDE := $(BIN)/pytest -q -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help up install clients others test coverage check proof bench docs clean lock format
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install ## install, start everything on this machine, print how to use it (Ctrl-C stops it)
	@$(BIN)/transom up $(ARGS)

install: .venv/run.stamp ## install into .venv, by hashed requirements

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Transom needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "This Python has no venv. On Debian: apt-get install python3-venv"; rm -rf .venv; exit 1; }

.venv/run.stamp: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "installing into .venv (half a minute) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/run.stamp
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Other systems' programs for the tests, each set in an environment of its own.
.cache/%/stamp: requirements/%.txt
	@mkdir -p .cache/$* && $(PYTHON) -m venv .cache/$*
	@.cache/$*/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Transom beside oslo.messaging, which finds our driver by its entry point.
.cache/oslo/stamp: requirements/oslo.txt pyproject.toml .venv/run.stamp
	@mkdir -p .cache/oslo && $(PYTHON) -m venv .cache/oslo
	@.cache/oslo/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@rm -rf .cache/oslo/editable && mkdir .cache/oslo/editable
	@$(BIN)/python -c 'import sys; from hatchling.build import build_editable as build; build(sys.argv[1])' \
	  .cache/oslo/editable
	@.cache/oslo/bin/python -m pip install -qq --disable-pip-version-check --no-index --no-deps \
	  --force-reinstall .cache/oslo/editable/*.whl
	@touch $@

clients: .cache/clients/stamp ## install the real clients (openstack, SDKs) into .cache/clients

others: $(VENVS:%=.cache/%/stamp) ## install clients, Keystone, Zaqar and tempest for the tests into .cache

check: .venv/dev.stamp ## format, lint, types, structure rules, unit tests: two minutes
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(SIDE_BY_SIDE) tests/tidy tests/unit

test: .venv/dev.stamp others ## install and run every test, with the real clients
	@$(SIDE_BY_SIDE) -m "not alone" tests $(ARGS); others=$$?; \
	  $(BIN)/pytest -q -p no:cacheprovider -m alone tests && exit $$others

coverage: export COVERAGE_FILE := $(CURDIR)/.cache/coverage/data
coverage: .venv/dev.stamp others ## every test under a tracer, all processes: 90 % of branches or it fails
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	-@$(BIN)/coverage run -m pytest -q -p no:cacheprovider tests
	@echo "Tests of speed may fail above: the tracer is slow, and make test decides."
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=90

proof: .venv/dev.stamp ## long campaigns, by seed (SEED=n), with a table of results
	@PYTHONPATH=tests $(BIN)/python -m proof --seed $(SEED)

bench: .venv/dev.stamp others .cache/datalog/stamp ## every claim measured again, peers beside it
	@$(BIN)/python -m bench

docs: .venv/run.stamp ## write the reference pages that follow from the code
	@$(BIN)/python docs/generate.py

format: .venv/dev.stamp ## lay out and lint what can be mended without thought
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lock: ## make the hashed requirement files anew (needs uv)
	@for set in $(patsubst requirements/%.in,%,$(wildcard requirements/*.in)); do uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header requirements/$$set.in -o requirements/$$set.txt; done

clean: ## remove what was installed (no data folder is touched)
	@rm -rf .venv .cache build dist
