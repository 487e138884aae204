# The commands of this project. `make` alone explains them; each can be run in a fresh clone.
#
# Two installs with a stamp each, made again only when their lock changes: `make paper` needs what the daemon runs on,
# `make test` and `make check` need the tools as well. Locks carry versions and hashes; pip refuses anything else.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/.installed-run
DEV    := $(VENV)/.installed-dev
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes
ARGS   ?=

# Colours for a person at a terminal only.
ifeq ($(NO_COLOR),)
ifneq ($(MAKE_TERMOUT),)
BOLD  := $(shell printf '\033[1m')
DIM   := $(shell printf '\033[2m')
PLAIN := $(shell printf '\033[0m')
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install paper smoke backtest test goldens results report-pictures integration skipping killed check format bench lock clean mutants storm-night fuzz

help: ## this page
	@echo "$(BOLD)kraken-smc$(PLAIN): trades Kraken Futures perpetuals on signals from spot candles"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  $(BOLD)make %-12s$(PLAIN) %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "$(DIM)Start with$(PLAIN) make paper $(DIM)(nothing real is traded; Ctrl-C stops). Options go in ARGS:$(PLAIN)"
	@echo "  make paper ARGS='--speed 600 --for 2h'"
	@echo "  make backtest ARGS='--data BTC/USD=candles.csv'"
	@echo "  make test ARGS='tests/actors/risk -x --no-cov'"
	@echo "$(DIM)All commands of the program:$(PLAIN) $(BIN)/python -m actors --help"

install: $(DEV) ## make .venv with everything, tools and tests included

paper: $(RUN) ## run the daemon on paper: simulated exchange, synthetic market, no network
	@$(BIN)/python -m actors run --mode paper $(ARGS)

smoke: $(RUN) ## does it start, trade on paper and stop? half a minute, leaves nothing behind
	@state=$$(mktemp -d) && trap 'rm -rf "$$state"' EXIT && \
	  $(BIN)/python -m actors run --mode paper --speed 100000 --trades 1 --for 4h --state "$$state" $(ARGS)

backtest: $(RUN) ## one backtest; say of what in ARGS
	@$(BIN)/python -m actors backtest $(ARGS)

test: $(DEV) ## the whole suite with coverage; fails under the floor set in pyproject.toml
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered $(ARGS)

goldens: $(DEV) ## write what the strategy says on small candles, and where storms find positions, anew; review the diff before you commit it
	@PYTHONPATH=. $(BIN)/python -m tests.actors.strategy.goldens
	@PYTHONPATH=. $(BIN)/python -m tests.storms.scenes

integration: $(DEV) ## signals of 24 symbols in one process over synthetic history; about two minutes
	@$(BIN)/python -m tests.integration.many_symbols

skipping: $(DEV) ## the real candles of 2.5 years skipped and visited must give the same; some minutes
	@$(BIN)/python -m tests.integration.skipping $(ARGS)

results: $(DEV) ## make the tables of docs/results.md anew from the real candles (some minutes); review the diff
	@$(BIN)/python -m tests.integration.results $(ARGS)

report-pictures: $(DEV) ## the report over all real candles in a real browser: compared, and photographed into build/report
	@$(BIN)/python -m tests.integration.report_pictures $(ARGS)

killed: $(DEV) ## the real daemon and the real venue, each killed 30 times while trading; about ten minutes
	@$(BIN)/python -m tests.integration.killed $(ARGS)

check: $(DEV) ## lint, format, types, layers: all that needs no run
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV) ## put the code in the one format, and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV) ## take all measurements of bench/, or one: ARGS='strategy --json'
	@set -- $(ARGS); names=$${1:-$$(ls bench/*.py | sed 's|bench/||; s|\.py||' | grep -v '^figures$$')}; test $$# = 0 || shift; \
	  for name in $$names; do PYTHONPATH=. $(BIN)/python "bench/$$name.py" "$$@" || exit; done

mutants: $(DEV) ## plant bugs one by one; a storm must find each; some minutes
	@$(BIN)/python tests/storms/mutants.py $(ARGS)

storm-night: $(DEV) ## storms for hours: 2,000 seeds of two simulated hours on every core; say otherwise in ARGS
	@$(BIN)/python -m actors simulate --seeds 1..2000 --jobs $$(nproc) --reach 20 $(ARGS)

lock: ## write both locks anew from pyproject.toml (needs uv); review the diff before you commit it
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv" >&2; exit 1; }
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -o requirements-dev.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -c requirements-dev.lock -o requirements.lock

fuzz: $(DEV) ## 100,000 spoilt payloads through each parser of Kraken's wire; some minutes
	@$(BIN)/python -m tests.fuzz.payloads $(ARGS)

clean: ## remove caches and reports; .venv and state/ stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov build *.egg-info
	@find actors config protocol sim tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)

$(RUN): requirements.lock | $(BIN)/python
	@echo "installing what the daemon runs on ..."
	@$(PIP) -r requirements.lock
	@touch $@

# The tools' lock holds the daemon's as well: one install serves both stamps.
$(DEV): requirements-dev.lock | $(BIN)/python
	@echo "installing the daemon's and the tools' packages ..."
	@$(PIP) -r requirements-dev.lock
	@touch $(RUN) $@
