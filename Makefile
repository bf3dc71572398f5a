# The front door. `make help` lists everything; each target does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
MEMBERS := contracts services/chassis services/scheduler services/sender services/reply-detector services/api deploy/stack

CHECKOV := 3.3.30

# uv from PATH, or one of our own from PyPI.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

.PHONY: help demo up down test test-analytics check bench chaos model fmt lock schemas screenshots manifests manifests-server images

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-16s %s\n", $$1, $$2}'

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
	$(PY) -m segue_contracts.analytics --check
	$(PY) -m segue_contracts.compat
	$(PY) -m api openapi --check
	$(PY) -m stack.manifests

fmt: $(VENV)/.ready  ## format and mend what can be mended
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

demo: $(VENV)/.ready  ## two weeks of a sequence in about a minute, judged at the end; KEEP=1 keeps it running
	@$(PY) -m stack demo --check tests/chaos/invariants.py $(if $(KEEP),--keep)

test: $(VENV)/.ready  ## all fast tests, on a real Kafka and a real MongoDB; SLOW=1 runs every test
	@$(PY) -m stack prepare
	$(PY) -m pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow and not analytics") $(ARGS)

test-analytics: $(VENV)/.ready  ## the tables for Flink on real topics; fetches Apache Flink (730 MB) the first time
	@$(PY) -m stack prepare
	$(PY) -m pytest tests/integration/test_analytics.py -m analytics $(ARGS)

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
	$(PY) -m tests.bench.capacity

chaos: $(VENV)/.ready  ## random faults over a crowd: SEED=1 RUNS=10; a seed plays again
	@$(PY) -m stack prepare
	$(PY) tests/chaos/run.py --seed $(or $(SEED),1) --runs $(or $(RUNS),10)

model:  ## search the protocol's model for a violation (Go 1.22); FULL=1 to its end
	@command -v go >/dev/null || { echo "make model needs Go 1.22 or newer on the PATH"; exit 1; }
	cd tests/model && GOMAXPROCS=1 go run . -max $(if $(FULL),14000000,400000)

screenshots: $(VENV)/.ready  ## the pictures of docs/dashboard.md anew; needs Debian's chromium
	@$(PY) -m stack prepare
	$(PY) -m tests.browser.pictures

up: $(VENV)/.ready  ## run everything on this machine with a mail server, until Ctrl-C
	$(PY) -m stack up

down: $(VENV)/.ready  ## stop what runs in another terminal
	@$(PY) -m stack down

lock: $(filter .uv/bin/uv,$(UV))  ## pin every dependency anew (versions and hashes, no addresses)
	$(UV) lock --upgrade
	$(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header -o requirements.lock
	@for service in scheduler sender reply-detector api; do \
	    $(UV) export --quiet --package $$service --no-dev --no-emit-workspace --no-header -o deploy/docker/$$service.lock; \
	done
	$(UV) export --quiet --only-group image --no-emit-workspace --no-header -o deploy/docker/image.lock

manifests: $(VENV)/.ready $(filter .uv/bin/uv,$(UV))  ## check what we deploy, with checkov's rules besides ours
	$(PY) -m stack.manifests
	@mkdir -p run && $(PY) -m stack.manifests --render production > run/production.yaml
	@# CKV_K8S_11 wants a limit of cpu, which only makes everything late.
	$(UV) tool run --quiet checkov@$(CHECKOV) --file run/production.yaml --framework kubernetes --skip-download --skip-check CKV_K8S_11 --compact --quiet

manifests-server: $(VENV)/.ready  ## have a real API server judge what we deploy; builds it once, ten minutes; needs Go 1.26 and etcd
	$(PY) -m stack.manifests --server

images: $(VENV)/.ready  ## build the images and try each: SERVICE=sender for one; needs Debian's buildah and mmdebstrap
	$(PY) -m stack.manifests.images $(SERVICE)

schemas: $(VENV)/.ready  ## write the generated schemas
	$(PY) -m segue_contracts.schemas
	$(PY) -m segue_contracts.analytics
	$(PY) -m api openapi > services/api/openapi.json
