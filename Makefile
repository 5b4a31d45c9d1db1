# The commands of this project; .ci/run and the GitHub workflow call the same ones.
PYTHON ?= python3
PY := .venv/bin/python
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# What needs more than Python has a target of its own.
HERE := not node and not browser and not keycloak and not proxy and not redis
.DEFAULT_GOAL := help
.PHONY: help run manage psql token test test-node test-model test-browser test-proxy test-redis e2e-keycloak lint format bench chaos secrets lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: .venv/runtime ## Run the whole service here: database, migrations, server (HOST, PORT, DATABASE_URL, …)
	@$(PY) -m hypersecureid.local.run

manage: .venv/runtime ## Run a command of manage.py on the running service's database (CMD="createsuperuser")
	@$(PY) -m hypersecureid.local.attached manage

psql: .venv/runtime ## Open psql on the running service's database
	@$(PY) -m hypersecureid.local.attached psql

# What is set on make's command line reaches the program as it is. EMAIL counts only there: many shells export it.
token: .venv/runtime ## Print a token for the running service (SUB=, CLIENT=, SCOPE=, EMAIL=, CLAIMS= JSON, TTL= seconds)
	@$(if $(filter environment,$(origin EMAIL)),EMAIL= )$(PY) -m hypersecureid.local.token

test: .venv/development ## Run every test that needs nothing but Python, on a real PostgreSQL (QUICK=1 leaves the slow ones out)
	@$(PY) -m pytest -n 2 --dist loadfile -m "$(HERE)$(if $(QUICK), and not slow)" tests

test-node: .venv/development ## Let a real OpenID provider issue the tokens, rotate its keys and fail (needs node and npm)
	@$(PY) -m pytest -m node tests

test-model: .venv/development ## Compare long random sequences of calls with a model in memory (MODEL_STEPS=, MODEL_SEED=)
	@MODEL_STEPS=$(or $(MODEL_STEPS),20000) $(PY) -m pytest -s tests/endpoints/test_model.py

test-browser: .venv/development ## Look at /docs, CORS and the admin with Chromium (needs chromium and chromium-driver)
	@$(PY) -m pytest -m browser tests

test-proxy: .venv/development ## Try slow and oversized requests at the nginx of the compose stack (needs nginx)
	@$(PY) -m pytest -m proxy tests

test-redis: .venv/development ## Count requests for a rate limit in a Redis that is shared, killed and frozen (needs redis-server)
	@$(PY) -m pytest -m redis tests

e2e-keycloak: .venv/development ## Log users in at a real Keycloak, call every endpoint, try the example page (needs Java 17 or newer, and Maven)
	@$(PY) -m pytest -c tests/e2e_keycloak/pytest.ini --rootdir=. --confcutdir=tests/e2e_keycloak \
		tests/e2e_keycloak/journey.py

lint: .venv/development ## Check style, types and who imports whom
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@SECRET_KEY=- ALLOWED_HOSTS=localhost DATABASE_URL=postgresql:///none $(PY) -m mypy manage.py hypersecureid userdata tests bench chaos
	@.venv/bin/lint-imports

format: .venv/development ## Put the code into its form
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: .venv/development ## Measure the service beside its peers (QUICK=1 for a first impression)
	@$(PY) -m bench

chaos: .venv/development ## Do faults to the service and its database under load, and check (FAULT=name, TIMES=)
	@$(PY) -m chaos $(FAULT) $(if $(TIMES),--times $(TIMES))

secrets: ## Make the passwords and the key pair of the local docker compose stack, in .local/ (needs openssl)
	@sh deploy/secrets.sh

lock: ## Pin anew what pyproject.toml asks for, with hashes (needs uv)
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) --group local -c requirements-dev.txt -o requirements-local.txt

clean: ## Remove the environment and the state of `make run`, its database included
	rm -rf .venv .local

.venv/runtime: requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m hypersecureid.local.install runtime

.venv/development: .venv/runtime requirements-dev.txt
	@$(PYTHON) -m hypersecureid.local.install development
