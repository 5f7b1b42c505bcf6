# From a bare python3 (3.11 or newer) to everything. `make` alone lists what there is.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# pip: errors only, and nothing but what a lock names.
PIP_INSTALL = -m pip --disable-pip-version-check install --quiet --quiet --no-input
LOCKED      = $(PIP_INSTALL) --require-hashes

# An install is done once per change of what it is made from; the stamps remember it.
READY       := $(VENV)/.ready
PROTO_READY := .venv-proto/.ready
PEERS       := etcd3 aetcd python3-etcd3 etcd3aio
BENCH_PEERS := etcd-client-py
PEERS_READY := $(PEERS:%=.peers/%/.ready)

PROTOS := kvconfig/etcd/rpc.proto flowsvc/api/v1/flow.proto flowsvc/api/v1/config.proto

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo demo-secure up test test-matrix history bench robustness screenshots check format proto lock peers clean

help: ## list the targets
	@echo 'usage: make TARGET'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-11s %s\n", $$1, $$2}'

setup: $(READY) ## make the environment: .venv, from requirements/dev.lock

demo: $(READY) ## two flows, live: separate processes on a real etcd (BLUEPRINT= PARAMS= INPUT=)
	@$(BIN)/flowctl demo \
	  $${BLUEPRINT:+--blueprint "$$BLUEPRINT"} $${PARAMS:+--params "$$PARAMS"} $${INPUT:+--input "$$INPUT"}

demo-secure: $(READY) ## TLS, least privilege in etcd, tokens and roles: docs/security.md, typed for you
	@$(BIN)/python -m tests.secure

up: $(READY) ## the whole system on this machine, until Ctrl-C; data stay (UP_ARGS='--data DIR --group FILE')
	@$(BIN)/flowctl up $(UP_ARGS)

test: $(READY) $(PEERS_READY) ## run the tests (PYTEST_ARGS='-k name -x', -n0 for one process; ETCD=container for Docker)
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

test-matrix: $(READY) ## the contract suite on etcd 3.4, 3.5.1 and the newest
	@VENV=$(VENV) tools/test-matrix $(PYTEST_ARGS)

history: $(READY) ## check histories at length: 10,000 runs in memory, 4 storms of 30 s on etcd
	@HISTORY_RUNS=10000 HISTORY_SEEDS=1,2,3,4 HISTORY_SECONDS=30 $(BIN)/pytest -s --timeout=0 \
	  tests/history/test_simulation.py tests/history/test_storm.py $(PYTEST_ARGS)

bench: $(READY) ## measure, beside bare stubs in the same run: 7 minutes (BENCH_ARGS='--rounds 9 start')
	@$(MAKE) --no-print-directory --keep-going peers || echo 'peers are missing: their rows stay empty'
	@etcd=$${ETCD_BIN:-$$(tools/get-etcd forky .etcd || tools/get-etcd trixie .etcd || true)}; \
	  $${etcd:+env ETCD_BIN="$$etcd"} $(BIN)/python -m tests.bench $(BENCH_ARGS)

robustness: $(READY) ## hurt clusters of real etcd and look on: 14 minutes (PYTEST_ARGS='-m robustness_ci': 3)
	@$(MAKE) --no-print-directory --keep-going peers || echo 'peers are missing: their columns stay empty'
	@etcd=$${ETCD_BIN:-$$(tools/get-etcd forky .etcd || tools/get-etcd trixie .etcd)} && \
	  ETCD_BIN="$$etcd" $(BIN)/pytest -m robustness tests/robustness $(PYTEST_ARGS)

check: $(READY) ## formatting, lint, types, layers, and no machine's paths or addresses
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/check-places

format: $(READY) ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(PROTO_READY) $(READY) ## generate the messages again (only after a change of a .proto)
	.venv-proto/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. $(PROTOS)
	$(BIN)/python -W error -c 'import importlib, sys; [importlib.import_module(p[:-6].replace("/", ".") + "_pb2") for p in sys.argv[1:]]' $(PROTOS)

screenshots: $(READY) ## draw the screens that the documents show again: docs/screenshots
	@$(BIN)/python tools/screenshots.py docs/screenshots

lock: ## resolve the dependencies again: requirements/*.lock, with hashes and no addresses
	PYTHON='$(PYTHON)' tools/lock

peers: $(PEERS_READY) $(BENCH_PEERS:%=.peers/%/.ready) ## the other etcd clients, for tests and bench: .peers/<name>

clean: ## remove environments, caches and downloads
	rm -rf $(VENV) .venv-proto .peers .etcd .linters .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find kvconfig flowsvc processors tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/it")'
	@echo 'setting up $(VENV) (once)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(LOCKED) -r requirements/dev.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(PROTO_READY): requirements/proto.lock
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python $(LOCKED) -r requirements/proto.lock
	@touch $@

# A folder for each peer, to be put on PYTHONPATH of one process: it holds the peer and what our
# environment lacks, so that both run on the grpcio and protobuf that we use. Two of them call
# their module `etcd3`, hence never one folder for all.
.peers/%/.ready: requirements/peers/%.lock $(READY)
	@rm -rf .peers/$*
	@$(BIN)/python $(LOCKED) --no-deps --no-build-isolation --target .peers/$* -r $<
	@touch $@
