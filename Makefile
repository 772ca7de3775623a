# The first line of each recipe's comment is what `make help` prints. All set-up is in tools/setup.
PYTHON ?= $(shell command -v python3.11 || echo python3)
SETUP  := $(PYTHON) -m tools.setup
BIN    := .venv/bin
TESTS  ?= tests
CODE   := horde_agents tests tools images roles molecule filter_plugins

.DEFAULT_GOAL := help
.PHONY: help setup tools demo cluster test provision-test check bench format lock stop clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## set this machine up for everything below (each does its own part by itself)
	@$(SETUP) test

tools: ## build the pinned Nomad, Consul and versitygw unless they are here (minutes, once)
	@$(SETUP) tools

demo: ## a real Docker job through all four agents
	@$(SETUP) demo
	@$(BIN)/horde demo

cluster: ## the same with executors on a real Nomad and placement in a real Consul
	@$(SETUP) cluster
	@$(BIN)/horde demo --cluster

test: ## all tests; some of them: make test TESTS=tests/unit
	@$(SETUP) test
	@$(BIN)/pytest $(TESTS)

provision-test: ## Ansible's roles on real machines of systemd in containers; one scenario: SCENARIO=horde
	@$(SETUP) provision
	@$(BIN)/python -m tools.provision lint
	@$(BIN)/python -m tools.provision test $(SCENARIO)

check: ## ruff, mypy strict, import-linter, yamllint, Nomad's job specs
	@$(SETUP) check
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports
	@$(BIN)/yamllint --strict .
	@$(BIN)/python -m tools.check_jobs

bench: ## measure, and print goal, result and verdict
	@$(SETUP) bench
	@$(BIN)/python -m tests.bench

format: ## put the code into its format and repair what ruff can
	@$(SETUP) check
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

lock: ## resolve requirements/*.txt anew from pyproject.toml; newer versions: make lock UPGRADE=1
	@$(SETUP) check
	@$(SETUP) lock $(if $(UPGRADE),--upgrade)

stop: ## end the Docker daemon and the image registry that set-up started
	@$(SETUP) stop

clean: ## remove the virtual environment and the tools' caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
