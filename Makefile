# The commands of this project; .ci/run and the GitHub workflow call the same ones.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
.DEFAULT_GOAL := help
.PHONY: help run test lint format token lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: .venv/installed ## Run the whole service here: database, migrations, server (HOST, PORT, DATABASE_URL, …)
	@$(PY) -m hypersecureid.local.run

test: .venv/installed ## Run every test, on a real PostgreSQL
	@$(PY) -m pytest

lint: .venv/installed ## Check style and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@SECRET_KEY=- ALLOWED_HOSTS=localhost DATABASE_URL=postgresql:///none $(PY) -m mypy

format: .venv/installed ## Put the code into its form
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

token: .venv/installed ## Print a token for the running service (SUB=, CLIENT=, SCOPE=, TTL= seconds)
	@SUB="$(SUB)" CLIENT="$(CLIENT)" TTL="$(TTL)" $(if $(filter undefined,$(origin SCOPE)),,SCOPE="$(SCOPE)") \
		$(PY) -m hypersecureid.local.token

lock: ## Pin anew what pyproject.toml asks for, with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

clean: ## Remove the environment and the state of `make run`, its database included
	rm -rf .venv .local

.venv/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@echo "Installing into .venv; this takes a moment." >&2
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --quiet --require-hashes -r requirements-dev.txt >&2
	@touch .venv/installed
