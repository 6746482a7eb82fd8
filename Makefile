# The front door: `make` lists the targets. `make demo` and `make test` do all the set-up they need.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
.PHONY: help setup demo test lint bench sim chaos drill drills fuzz lock
# Else every process compiles all of Clout anew, for a second.
unexport PYTHONDONTWRITEBYTECODE
RUNS := .venv/.ready .kafka/.ready .kafka/.classes .venv/.kernels .venv/.monitoring gateway/pages/static/manifest.json

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(RUNS) .venv/.browser ## install what is missing: Python environment, Kafka's jars, web pages (and Java, Maven, Prometheus, Node, Chromium where it may)
	@echo "All is there. Next: make demo, make test, or .venv/bin/clout up"

demo: $(RUNS) ## run everything on a synthetic population, for a minute (SECONDS=30: for half of one; FAULT=floor; ARGS='--seed 7')
	@$(BIN)/clout demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(FAULT),--fault $(FAULT)) $(ARGS)

test: $(RUNS) .venv/.browser lint ## lint, then all tests (ARGS='-k lanes' passes on to pytest)
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.ready ## check style (ruff, every rule) and types (mypy strict)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --diff --quiet; exit 1; }
	@$(BIN)/mypy

bench: $(RUNS) ## measure the stages on the local broker, print a table and JSON
	@$(BIN)/python -m bench $(ARGS)

sim: .venv/.ready ## simulate crashes, zombies, lost answers … with fresh seeds (SECONDS=60; SEED=… for one run)
	@$(BIN)/python -m tests.simulator $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

chaos: $(RUNS) ## break everything under load for minutes, then check every user (EVENTS=5000000 SEED=7)
	@$(BIN)/python -m tests.drills.chaos $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

drill: $(RUNS) ## every fault that can be injected, and clean data: a row each says who noticed, and what was published
	@$(BIN)/pytest -m drill tests/drills/test_injected_faults.py $(ARGS)

drills: $(RUNS) ## other long exercises: roles killed, stopped and joined; outages; one event at a time; the whole real file
	@$(BIN)/pytest -m drill tests/drills --ignore=tests/drills/test_injected_faults.py $(ARGS)

fuzz: $(RUNS) ## damaged bytes into every reader: decoders, packed records, state (INPUTS=1000000 SEED=…)
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.pytest_cache/d/fuzz-kernels $(BIN)/python -m tests.fuzz \
		$(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

lock: .venv/.ready ## pin all dependencies anew, with hashes
	@$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' --extra dev --output-file requirements.lock pyproject.toml

.venv/.ready: requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh python && touch $@

# Once for all processes: each would compile them for itself at its first start.
.venv/.kernels: .venv/.ready $(wildcard scorer/*.py streams/*.py streams/*/*.py)
	@echo "Compiling kernels"
	@$(BIN)/python -m streams.warm_up && touch $@

.venv/.monitoring: .venv/.ready scripts/setup.sh
	@scripts/setup.sh monitoring && touch $@

# The bundle's name list is made last, so it stands for all of it.
gateway/pages/static/manifest.json: gateway/web/package.json gateway/web/package-lock.json gateway/web/build.mjs $(wildcard gateway/web/src/*) scripts/setup.sh
	@scripts/setup.sh pages

.venv/.browser: .venv/.ready scripts/setup.sh
	@scripts/setup.sh browser && touch $@

.kafka/.ready: deploy/kafka/pom.xml scripts/setup.sh
	@scripts/setup.sh kafka && touch $@

# A broker starts in two thirds of the time with its classes as Java has loaded them once.
.kafka/.classes: .kafka/.ready .venv/.ready
	@echo "Loading Kafka's classes"
	@$(BIN)/python -m clout.broker_classes && touch $@
