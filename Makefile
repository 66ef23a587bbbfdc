PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# The tests mostly wait, so several processes share a core. Another number: make test PROCESSES=4
PROCESSES ?= $(shell echo $$((5 * $$(getconf _NPROCESSORS_ONLN))))
# The main job with clicks by HTTP, the ledger, the words and their layout, the client, the listeners, the settings.
FAST := tests/app/test_main_job.py tests/app/test_ledger.py tests/proofs/test_blocks.py \
	tests/app/test_conveyor_client.py tests/app/test_events_route.py tests/app/test_reviewers.py \
	tests/app/test_clicks.py tests/app/test_settings.py

.PHONY: help demo test test-fast check kill chaos fuzz audit run bench screenshots

help: ## What can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED) ## Try it in a browser, with no Slack and no Conveyor account
	@$(BIN)/python -m sandbox

test: $(INSTALLED) check ## Check the code and run every test
	@# Once, so that the parallel processes need not rewrite every test's assertions each for itself.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null || true
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

test-fast: $(INSTALLED) check ## Check the code and run the tests of its core: less than a minute
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal -m "not long" -k "not socket" $(FAST)

check: $(INSTALLED) ## Lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --num-workers 2 .

fuzz: $(INSTALLED) ## Send 10,000 odd bodies to the route that Slack calls
	@FUZZ_BODIES=10000 $(BIN)/python -m pytest tests/proofs/test_fuzz.py

audit: ## Look for known vulnerabilities in the pinned packages (needs the Internet)
	@$(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(VENV)-audit/bin/pip-audit --strict -r requirements.txt

kill: $(INSTALLED) ## Kill the app at every commit and call of each scenario
	@$(BIN)/python -m tests.proofs.kill $(SCENARIO)

SEEDS ?= 1-200
chaos: $(INSTALLED) ## Live through random schedules (SEEDS=1-200, SEEDS=17)
	@$(BIN)/python -m tests.proofs.chaos $(SEEDS)

run: $(INSTALLED) ## Run the app with the settings in .env
	@$(BIN)/python app.py

bench: $(INSTALLED) ## Measure how fast it is, into bench/results.md (QUICK=1: a first look, only printed)
	@$(BIN)/python -m bench

screenshots: $(INSTALLED) ## Make the pictures in docs/images again (needs chromium)
	@$(BIN)/python -m sandbox.screenshots

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "This needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	"Name another one, for instance: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	@echo "Installing into $(VENV), which takes a moment."
	@started=$$(date +%s); $(PYTHON) -m venv --clear $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt && \
	touch $@ && echo "Installed in $$(($$(date +%s) - started)) s."
