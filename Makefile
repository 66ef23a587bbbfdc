PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the app needs, and what its developers need besides. Each file says that its packages are installed.
INSTALLED := $(VENV)/installed
DEVELOPING := $(VENV)/installed-for-developers
# The page of the demo; the app and the stand-ins use the next three. Another one: make demo PORT=8950
PORT := 8800

# Tests spend most of their time waiting, so several processes share a core. To change: make test PROCESSES=4
PROCESSES ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
# The core: the main job over HTTP, the ledger, the words and their layout, the client, the listeners, the settings.
FAST := tests/app/test_main_job.py tests/app/test_ledger.py tests/proofs/test_blocks.py \
	tests/app/test_conveyor_client.py tests/app/test_events_route.py tests/app/test_reviewers.py \
	tests/app/test_clicks.py tests/app/test_settings.py

.PHONY: help demo run doctor test test-fast lint fuzz kill chaos audit bench screenshots

help: ## List these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED) ## Try it in a browser, with no Slack and no Conveyor account
	@$(BIN)/python -m sandbox --port $(PORT)

test: $(DEVELOPING) lint ## Lint, check types and run every test
	@# Once up front, so that the parallel processes don't each rewrite every test's assertions.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null || true
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

test-fast: $(DEVELOPING) lint ## Lint, check types and run the core tests, in under a minute
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal -m "not long" -k "not socket" $(FAST)

lint: $(DEVELOPING) ## Check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --num-workers 2 .

fuzz: $(DEVELOPING) ## Send 10,000 malformed requests to the route Slack calls
	@FUZZ_BODIES=10000 $(BIN)/python -m pytest tests/proofs/test_fuzz.py

audit: ## Check the pinned packages for known vulnerabilities (needs the Internet)
	@$(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(VENV)-audit/bin/pip-audit --strict -r requirements.txt

kill: $(DEVELOPING) ## Kill the app at every commit and outgoing call (SCENARIO=approve for one scenario)
	@$(BIN)/python -m tests.proofs.kill $(SCENARIO)

SEEDS ?= 1-200
chaos: $(DEVELOPING) ## Run random schedules of faults, kills and clicks (SEEDS=1-200)
	@$(BIN)/python -m tests.proofs.chaos $(SEEDS)

run: $(INSTALLED) ## Run the app with the settings in .env
	@$(BIN)/python app.py

doctor: $(INSTALLED) ## Check settings, Slack, Conveyor and the ledger, and say how to fix what's wrong
	@$(BIN)/python app.py check

bench: $(DEVELOPING) ## Measure how fast the app is and write bench/results.md (QUICK=1: a short run, printed only; AGAINST=path: beside an older one)
	@$(BIN)/python -m bench

screenshots: $(DEVELOPING) ## Make the pictures in docs/images again (needs chromium)
	@$(BIN)/python -m sandbox.screenshots

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "This needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	"Use another one, for example: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	@echo "Installing the app into $(VENV), which takes a moment."
	@started=$$(date +%s); $(PYTHON) -m venv --clear $(VENV) && $(INSTALL) -r $< && \
	touch $@ && echo "Installed in $$(($$(date +%s) - started)) s."

$(DEVELOPING): requirements-dev.txt $(INSTALLED)
	@echo "Installing the developers' tools into $(VENV), which takes a moment."
	@started=$$(date +%s); $(INSTALL) -r $< && \
	touch $@ && echo "Installed in $$(($$(date +%s) - started)) s."
