# `make` alone lists what there is. Set-up is done once and again when a requirements file changes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAGE ?= dev
NODE_MODULES := local/couchdb/node_modules
# TypeScript, for `make types` and the git hooks only.
TYPESCRIPT := tests/javascript/node_modules
# Bytecode is kept, also where the environment says otherwise: else each of the many processes of a
# test run compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Where a CouchDB is given, the embedded one (and Node.js with it) is not needed.
EMBEDDED := $(if $(COUCHDB_URL),,$(NODE_MODULES)/.done)

# What runs at somebody's, or with somebody's credentials.
AUDITED := app.py chalicelib syncpoint_device local ops poller

# Just what the lock file names, each by its hash: pip chooses nothing itself.
INSTALL := pip install -qq --disable-pip-version-check --require-hashes --no-deps
# What selects tests are their markers: tests/README.md. ARGS="--last-failed" is handed on.
PYTEST = $(BIN)/python -m pytest -n auto $(ARGS)
# What the pages look like does not depend on the CouchDB behind them.
SPEAKS_TO_COUCHDB := "couchdb and not browser"

# In this order: a later one is held to what the earlier ones have.
LOCKED := requirements requirements-poller requirements-device requirements-local \
  requirements-dev requirements-node requirements-lock

.PHONY: help demo run unit test slow check static couchdb couchdb-url couchdb3 format lint layers types template audit docs setup hooks lock clean
.PHONY: faults mutants bench estimate load cold-start wheel package doctor deploy upgrade front redrive reread destroy

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.local $(EMBEDDED) ## the main job, start to end: two devices, a channel, a guest
	@$(BIN)/python -m local.demo

run: $(VENV)/.local $(EMBEDDED) ## keep the local system up and say where; Ctrl-C ends it
	@exec $(BIN)/python -m local

unit: $(VENV)/.dev ## the tests without I/O, under a minute
	@$(PYTEST) -m "not io and not slow"

test: setup ## the tests to run after a change, about seven minutes
	@$(PYTEST) -m "not slow"

slow: setup $(TYPESCRIPT)/.done ## the tests that `make test` leaves out
	@$(PYTEST) -m slow

check: test static slow ## the gate: all tests, all static checks

static: setup ## all static checks, two at a time
	@$(MAKE) --no-print-directory --jobs=2 --output-sync format lint layers types template audit

couchdb: couchdb-url setup ## the tests that speak to CouchDB, on a real one: COUCHDB_URL=http://…
	@$(PYTEST) -m $(SPEAKS_TO_COUCHDB)

couchdb-url:
	@test -n "$(COUCHDB_URL)" || { echo "error: COUCHDB_URL is not set; say which CouchDB:" \
	  "make couchdb COUCHDB_URL=http://admin:password@127.0.0.1:5984" >&2; exit 1; }

couchdb3: setup ## those that are not slow, on a stand-in that answers like version 3
	@$(BIN)/python -m tests.couchdb3 $(PYTEST) -m $(SPEAKS_TO_COUCHDB)" and not slow"

format: $(VENV)/.dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	@$(BIN)/ruff check .

layers: $(VENV)/.dev
	@$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev $(TYPESCRIPT)/.done
	@$(BIN)/mypy .
	@$(BIN)/python -m tests.javascript

template: $(VENV)/.dev
	@$(BIN)/cfn-lint template.yaml && echo "template.yaml: no findings"
	@$(BIN)/sam validate --lint --template template.yaml

audit: $(VENV)/.dev ## what is known against the packages that are pinned, and what Bandit finds here
	@$(BIN)/python -m ops.audit
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(AUDITED)

setup: $(VENV)/.dev $(EMBEDDED) ## install what all of these need

hooks: $(VENV)/.dev $(TYPESCRIPT)/.done ## run format, lint and types before each git commit
	@$(BIN)/pre-commit install

faults: setup ## every crash and fault, and the claim's state space
	@$(BIN)/python -m tests.world
	@$(BIN)/python -m tests.model

mutants: setup ## the tests against small changes of the core, some twenty minutes
	@$(BIN)/python -m mutmut run --max-children 2
	@$(BIN)/python -m mutmut results

docs: $(VENV)/.dev ## write the tables and diagrams of docs/ from the code
	@$(BIN)/python -m docs.generate

bench: setup ## measured against the floor under it, in some minutes: [QUICK=1] (docs/performance.md)
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

estimate: setup ## US dollars and limits, computed from the counted requests (docs/scale.md)
	@$(BIN)/python -m bench.estimate

load: setup ## 10,000 registrations in memory, and 500 at once on the local system
	@$(BIN)/python -m bench.load

cold-start: setup ## what each function imports when it starts cold, by cost
	@$(BIN)/python -m bench.cold_start $(FUNCTION)

wheel: $(VENV)/.dev ## build the agent's wheel into dist/, to install it from there (docs/deploy.md)
	@cd syncpoint_device && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist

package: $(VENV)/.dev ## build both artifacts and print their sizes: STAGE=dev
	@$(BIN)/python -m ops.package $(STAGE)

doctor: $(VENV)/.dev ## what is missing or wrong, before a deployment and after: STAGE=dev
	@$(BIN)/python -m ops.doctor $(STAGE)

deploy: $(VENV)/.dev ## to AWS: STAGE=dev [ALARM_ADDRESS=you@example.com] [POLL_WINDOW=0] [POLLER_CONCURRENCY=2] (docs/deploy.md)
	@$(BIN)/python -m ops.deploy $(STAGE) $(if $(SECRET_ARN),--secret-arn "$(SECRET_ARN)") \
	  $(if $(filter-out undefined,$(origin ALARM_ADDRESS)),--alarm-address "$(ALARM_ADDRESS)") \
	  $(if $(POLL_WINDOW),--poll-window "$(POLL_WINDOW)") \
	  $(if $(filter-out undefined,$(origin POLLER_CONCURRENCY)),--poller-concurrency "$(POLLER_CONCURRENCY)")

upgrade: $(VENV)/.dev ## design documents of existing databases, to what STAGE=dev has deployed
	@$(BIN)/python -m ops.upgrade $(STAGE)

front: $(VENV)/.dev ## nginx's configuration for the machine before CouchDB, into dist/: STAGE=dev
	@$(BIN)/python -m ops.front $(STAGE)

redrive: $(VENV)/.dev ## bring dead letters back to their queues: STAGE=dev [DRY_RUN=1]
	@$(BIN)/python -m ops.redrive $(STAGE) $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

reread: $(VENV)/.dev ## let the poller read all again, after CouchDB was restored from a backup: STAGE=dev
	@$(BIN)/python -m ops.reread $(STAGE)

destroy: $(VENV)/.dev ## take a deployment down: STAGE=dev [TABLE=delete]
	@$(BIN)/python -m ops.destroy $(STAGE) $(if $(TABLE),--table "$(TABLE)")

lock: $(VENV)/.lock ## pin the packages that requirements*.in name, each by its hash: [UPGRADE=package]
	@for name in $(LOCKED); do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --custom-compile-command "make lock" \
	  $(if $(UPGRADE),--upgrade-package "$(UPGRADE)") "$$name.in" --output-file "$$name.txt"; done

clean: ## remove all that was installed or made here
	rm -rf $(VENV) $(NODE_MODULES) $(TYPESCRIPT) .local .aws-sam .chalice/deployments .*_cache .hypothesis mutants dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or later is needed; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "set-up: virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.local: requirements-local.txt | $(VENV)/bin/python
	@echo "set-up: Python packages of the local system (about a minute, once)" >&2
	@$(BIN)/$(INSTALL) -r $<
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.local
	@echo "set-up: Python packages of the tests (about a minute, once)" >&2
	@$(BIN)/$(INSTALL) -r $<
	@touch $@

$(VENV)/.lock: requirements-lock.txt | $(VENV)/bin/python
	@$(BIN)/$(INSTALL) -r $<
	@touch $@

$(NODE_MODULES)/.done: local/couchdb/package-lock.json | $(VENV)/.local
	@$(BIN)/python -m local.install_node
	@echo "set-up: npm packages of the embedded CouchDB (some seconds, once)" >&2
	@cd local/couchdb && npm ci --silent --no-progress
	@touch $@

$(TYPESCRIPT)/.done: tests/javascript/package-lock.json | $(VENV)/.local
	@$(BIN)/python -m local.install_node
	@echo "set-up: TypeScript from npm (some seconds, once)" >&2
	@cd tests/javascript && npm ci --silent --no-progress
	@touch $@

# `sam build` calls this for the poller: its own folder, the library, and the packages it needs.
build-PollerFunction:
	@cp -r poller chalicelib "$(ARTIFACTS_DIR)/"
	@find "$(ARTIFACTS_DIR)" -name __pycache__ -prune -exec rm -r {} +
	@$(PYTHON) -m $(INSTALL) --no-compile --target "$(ARTIFACTS_DIR)" -r requirements-poller.txt
	@$(PYTHON) -m compileall -q --invalidation-mode checked-hash -s "$(ARTIFACTS_DIR)" "$(ARTIFACTS_DIR)"
