# The commands of this project; .ci/run and the GitHub workflow call the same ones.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
.DEFAULT_GOAL := help
.PHONY: help run test test-identity test-browser e2e-keycloak lint format token bench secrets lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: .venv/installed ## Run the whole service here: database, migrations, server (HOST, PORT, DATABASE_URL, …)
	@$(PY) -m hypersecureid.local.run

test: .venv/installed ## Run every test, on a real PostgreSQL
	@$(PY) -m pytest

test-identity: .venv/installed ## Let a real OpenID provider issue the tokens, rotate its keys and fail (needs node and npm)
	@$(PY) -m pytest tests/identity

e2e-keycloak: .venv/installed ## Log a user in at a real Keycloak and store a value (needs Java 17 or newer, and Maven)
	@$(PY) -m pytest -c tests/e2e_keycloak/pytest.ini --rootdir=. --confcutdir=tests/e2e_keycloak \
		tests/e2e_keycloak/journey.py

test-browser: .venv/installed ## Look at /docs, CORS and the admin with Chromium (needs chromium and chromium-driver)
	@$(PY) -m pytest tests/browser

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

bench: .venv/installed ## Measure the service beside its peers (QUICK=1, SOAK=1, ONLY=, ROUNDS=, SECONDS=, CONNECTIONS=)
	@$(PY) -m bench

secrets: ## Make the passwords and the key pair of the local docker compose stack, in .local/
	@$(MAKE) -s token >/dev/null
	@sh deploy/secrets.sh

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
