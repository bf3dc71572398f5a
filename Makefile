# The front door. `make help` lists everything; each target does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
MEMBERS := contracts services/chassis services/scheduler services/sender services/reply-detector services/api deploy/stack

# uv from PATH, or one of our own from PyPI.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

.PHONY: help demo up down test check bench chaos model fmt lock schemas

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.uv/bin/uv:
	@python3 -m venv .uv && .uv/bin/pip install --quiet uv

$(VENV)/.ready: requirements.lock $(MEMBERS:%=%/pyproject.toml) $(filter .uv/bin/uv,$(UV))
	@echo "setting up $(VENV) ..."
	@test -x $(PY) || $(UV) venv --quiet $(VENV) --python '>=3.11'
	@$(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

check: $(VENV)/.ready  ## format, lint, types, import rules, generated files up to date
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m segue_contracts.schemas --check
	$(PY) -m api openapi --check

fmt: $(VENV)/.ready  ## format and mend what can be mended
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

demo: $(VENV)/.ready  ## two weeks of a sequence in about a minute, judged at the end; KEEP=1 keeps it running
	@$(PY) -m stack demo --check tests/chaos/invariants.py $(if $(KEEP),--keep)

test: $(VENV)/.ready  ## all fast tests, on a real Kafka and a real MongoDB; SLOW=1 runs every test
	@$(PY) -m stack prepare
	$(PY) -m pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow") $(ARGS)

bench: $(VENV)/.ready  ## speed, as ratios against peers in the same run; needs Debian's redis-server and postfix
	@$(PY) -m stack prepare
	$(PY) -m tests.bench.burst
	$(PY) tests/bench/plan.py
	$(PY) tests/bench/due.py
	$(PY) -m tests.bench.lists
	$(PY) tests/bench/limits.py
	$(PY) tests/bench/replan.py
	$(PY) tests/bench/bulk_enroll.py
	$(PY) tests/bench/classify_messages.py
	$(PY) -m tests.bench.answers --rate 100
	$(PY) -m tests.bench.mail

chaos: $(VENV)/.ready  ## random faults over a crowd: SEED=1 RUNS=10; a seed plays again
	@$(PY) -m stack prepare
	$(PY) tests/chaos/run.py --seed $(or $(SEED),1) --runs $(or $(RUNS),10)

model:  ## search the protocol's model for a violation (Go 1.22); FULL=1 to its end
	@command -v go >/dev/null || { echo "make model needs Go 1.22 or newer on the PATH"; exit 1; }
	cd tests/model && GOMAXPROCS=1 go run . -max $(if $(FULL),14000000,400000)

up: $(VENV)/.ready  ## run everything on this machine with a mail server, until Ctrl-C
	$(PY) -m stack up

down: $(VENV)/.ready  ## stop what runs in another terminal
	@$(PY) -m stack down

lock: $(filter .uv/bin/uv,$(UV))  ## pin every dependency anew (versions and hashes, no addresses)
	$(UV) lock --upgrade
	$(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header -o requirements.lock

schemas: $(VENV)/.ready  ## write the generated schemas
	$(PY) -m segue_contracts.schemas
	$(PY) -m api openapi > services/api/openapi.json
