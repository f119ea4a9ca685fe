# Everything that is done with Lineal by hand. `make help` lists it. Needs Python 3.11 to 3.13 and make.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PACKAGES := lineal schema gateway resolvers auth serving storage graph
# Without Java the tests of Neo4j skip, and what they cover is not covered.
COVERED := $(shell command -v java >/dev/null && echo 90 || echo 75)
# Each has servers of its own, which want memory.
WORKERS := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 2 ? 2 : n > 4 ? 4 : n)))
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras \
	--custom-compile-command "make lock"

# Made once, and again when the pinned requirements change.
RUN_STAMP := $(VENV)/.run
DEV_STAMP := $(VENV)/.dev

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

.PHONY: demo
demo: $(RUN_STAMP) ## Load 968 real models, ask the flagship question, and serve the answer
	$(BIN)/lineal demo $(ARGS)

.PHONY: setup
setup: $(DEV_STAMP) ## The environment that the targets below use, in .venv

.PHONY: test
test: $(DEV_STAMP) ## Every kind of test, with small counts; above the stores a third of those on Neo4j
	$(BIN)/python -m tests.prepare
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --third-on-neo4j $(ARGS)

# Apart from `test`: on Python 3.11 counting takes as long as the tests do.
.PHONY: coverage
coverage: ## The same, counting which lines and branches they went through
	$(MAKE) test ARGS="$(PACKAGES:%=--cov=%) --cov-branch --cov-report=term --cov-fail-under=$(COVERED) $(ARGS)"

.PHONY: soak
soak: $(DEV_STAMP) ## The full counts of kills, random queries and bytes, and all tests on Neo4j
	$(BIN)/python -m tests.prepare
	LINEAL_SOAK=1 $(BIN)/python -m pytest -m soak $(ARGS)
	$(BIN)/python -m pytest -k neo4j $(ARGS)

.PHONY: lint
lint: $(DEV_STAMP) ## Style, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: $(DEV_STAMP) ## Measure: 200,000 nodes and 600,000 edges in both stores
	$(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: $(DEV_STAMP) sbom ## Write again what is generated: schema/*.graphql, schema/openapi.json, docs/logical-model.md
	$(BIN)/lineal schema > schema/lineal.graphql.new && mv schema/lineal.graphql.new schema/lineal.graphql
	for flavour in plain secured; do $(BIN)/lineal schema --federation $$flavour > schema/subgraph.new && mv schema/subgraph.new schema/subgraph.$$flavour.graphql || exit; done
	$(BIN)/lineal openapi > schema/openapi.json.new && mv schema/openapi.json.new schema/openapi.json
	$(BIN)/python -m docs.generate

.PHONY: site
site: $(DEV_STAMP) ## Build the documentation as pages in dist/site, where no link may lead nowhere
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --conf-dir docs . dist/site
	cp dist/site/README.html dist/site/index.html

.PHONY: sbom
sbom: $(RUN_STAMP) ## Write Lineal's own bill of materials again, deploy/sbom.cdx.json
	$(BIN)/python -m deploy.sbom > deploy/sbom.new && mv deploy/sbom.new deploy/sbom.cdx.json

.PHONY: wheel
wheel: $(RUN_STAMP) ## Build the wheel into dist: the same bytes wherever and whenever it is built
	$(BIN)/python -m hatchling build --target wheel --directory dist

.PHONY: promise
promise: ## Promise clients and gateways the schema as it is: part of each release, after which the CHANGELOG begins anew
	cp schema/lineal.graphql schema/released.graphql
	cp schema/subgraph.secured.graphql schema/released.subgraph.graphql

.PHONY: ui
ui: ## Build the pages anew from ui/ (needs Node 20.19 or newer)
	cd ui && npm ci --ignore-scripts && node build.mjs

.PHONY: lock
lock: ## Pin the newest dependencies, with their checksums (needs uv)
	$(LOCK) --upgrade --group build --extra tracing pyproject.toml -o requirements.txt
	$(LOCK) --upgrade --group dev --all-extras -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(LOCK) --upgrade --group build --all-extras -c requirements-dev.txt pyproject.toml -o requirements-all.txt

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Lineal needs Python 3.11, 3.12 or 3.13 with its venv module, and found none on the PATH." >&2; \
		echo "Install one (Debian: apt-get install python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making an environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN_STAMP): $(VENV)/.python requirements.txt pyproject.toml
	@echo "Installing what Lineal runs on (once)"
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements-dev.txt
	@echo "Installing what tests and lint need (once)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
