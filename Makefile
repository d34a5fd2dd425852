# `make help` lists the targets. Everything installs what it needs on a fresh Debian or Ubuntu machine.
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
ARGS ?=
PYTHON ?= python3
LOCK := $(BIN)/uv pip compile -q --upgrade --no-header --no-emit-index-url --no-annotate --generate-hashes --universal --python-version 3.11
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export TF_CPP_MIN_LOG_LEVEL := 2

.DEFAULT_GOAL := help
.PHONY: install system browser demo test lint bench reference dashboards sync lock clean help

install: $(VENV)/.installed ## create .venv with the pinned, hashed dependencies and this project

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --editable .
	@touch $@

system: ## install Debian's Prometheus and Alertmanager (used by demo and tests)
	@command -v prometheus >/dev/null && command -v promtool >/dev/null && command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null \
	  || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager; }

browser: ## install Debian's Chromium (used by the tests of the pages)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium; }

demo: install system ## run the main job: history, training, scoring, alert, mail (ARGS=--once exits after the mail)
	$(BIN)/anomaly-exporter demo $(ARGS)

test: install system browser lint ## lint, types, architecture, then every test (ARGS="-k name" selects)
	$(BIN)/pytest $(ARGS)

lint: install ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## speed and memory side by side with the obvious alternatives (ARGS=--quick)
	$(BIN)/python -m bench $(ARGS)

reference: install ## regenerate docs/configuration.md, docs/metrics.md, rules/, dashboards/ and the chart's copies
	$(BIN)/python docs/generate.py
	$(BIN)/python -m dashboards
	PYTHONPATH=. $(BIN)/python charts/generate.py

sync: install ## regenerate what the chart holds of the rest: rules, routes, dashboards, schema, README
	PYTHONPATH=. $(BIN)/python charts/generate.py

dashboards: install ## regenerate the Grafana dashboards (ARGS="--profile openshift --out FOLDER")
	$(BIN)/python -m dashboards $(ARGS)

lock: install ## pin the dependencies again
	$(LOCK) --extra dev --extra kubernetes --extra s3 pyproject.toml -o requirements.lock
	$(LOCK) --extra kubernetes --extra s3 pyproject.toml -o requirements.serve.lock
	$(LOCK) --extra kubernetes --extra s3 --extra train-cpu pyproject.toml -o requirements.train.lock
	echo 'hatchling>=1.27' | $(LOCK) - -o requirements.build.lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18
