"""What the local stack's files promise: little is published, nothing is secret, everything is pinned."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hypersecureid.local import environment
from tests.e2e_keycloak import keycloak as e2e

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["migrate", "web"]
REALM: dict[str, Any] = json.loads((ROOT / "deploy/keycloak/HyperID-realm.json").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def named(things: list[dict[str, Any]], name: str, key: str = "name") -> dict[str, Any]:
    (found,) = [thing for thing in things if thing[key] == name]
    return found


def env_file(name: str) -> dict[str, str]:
    lines = (ROOT / f"deploy/identity/{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def defaults(value: str) -> str:
    """What Compose makes of a value where none of the variables in it is set."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)


@pytest.fixture
def made_secrets(tmp_path: Path) -> Path:
    """A folder as `make secrets` fills it, and the public key in it under the name that the stack gives it."""
    (tmp_path / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy/secrets.sh", tmp_path / "deploy")
    subprocess.run(["sh", script], check=True)
    folder = tmp_path / ".local/secrets"
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "jwt_public_key").write_bytes(pem)
    return folder


# The stack


def test_only_the_service_and_keycloak_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "web": ["127.0.0.1:${PORT:-8000}:8000"],
        "keycloak": ["127.0.0.1:${KEYCLOAK_PORT:-8080}:8080"],
    }
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_the_service_waits_for_the_migration_and_that_for_the_database() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert SERVICES["web"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["command"] == ["python", "manage.py", "migrate", "--no-input"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_next_to_nothing(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True


def test_what_keeps_running_is_restarted_and_watched() -> None:
    for name in ("db", "web", "keycloak"):
        assert SERVICES[name]["restart"] == "unless-stopped", name
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name


def test_images_are_pinned() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}

    assert images["db"] == "postgres:18"
    assert re.fullmatch(r"quay\.io/keycloak/keycloak:\d+\.\d+\.\d+", images["keycloak"])
    assert images["web"] == images["migrate"] == "hypersecureid-user-data:local"


def test_the_database_keeps_its_data_where_version_18_puts_it() -> None:
    assert SERVICES["db"]["volumes"] == ["db:/var/lib/postgresql"]
    assert "db" in COMPOSE["volumes"]


def test_keycloak_is_there_only_when_asked_for() -> None:
    assert SERVICES["keycloak"]["profiles"] == ["keycloak"]
    assert SERVICES["web"]["depends_on"]["keycloak"] == {"condition": "service_healthy", "required": False}
    assert not any("profiles" in SERVICES[name] for name in ("db", *OURS))


# Secrets


def test_every_secret_is_a_file_that_git_and_the_image_leave_out() -> None:
    files = {secret["file"] for secret in COMPOSE["secrets"].values()}

    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert all(file.startswith(".local/") for file in files)
    assert ".local/" in (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("path", ["docker-compose.yml", "Dockerfile", *map(str, (ROOT / "deploy").rglob("*.env"))])
def test_no_secret_stands_in_a_file_of_the_stack(path: str) -> None:
    for name, value in re.findall(
        r"\b(\w*(?:PASSWORD|SECRET|PRIVATE|TOKEN)\w*) ?[:=] ?(.*)", (ROOT / path).read_text()
    ):
        assert name.endswith("_FILE") or value.startswith('"$$(</run/secrets/'), name


def test_the_script_makes_each_secret_once(made_secrets: Path) -> None:
    first = {file.name: file.read_text() for file in made_secrets.iterdir()}
    subprocess.run(["sh", made_secrets.parent.parent / "deploy/secrets.sh"], check=True)

    assert {file.name: file.read_text() for file in made_secrets.iterdir()} == first
    assert first.keys() == COMPOSE["secrets"].keys()
    assert first["database_url"] == f"postgresql://userdata:{first['db_password']}@db:5432/userdata"
    random = [value for name, value in first.items() if name not in ("database_url", "jwt_public_key")]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in random)
    assert len(set(random)) == len(random)
    # Users in containers read them; on this machine, the folder keeps everyone else out.
    assert made_secrets.stat().st_mode & 0o777 == 0o700
    assert (made_secrets / "secret_key").stat().st_mode & 0o777 == 0o644


# Whose tokens


def test_the_development_tokens_are_those_of_make_token() -> None:
    assert env_file("development") == {
        "JWT_ISSUER": environment.ISSUER,
        "JWT_PUBLIC_KEY_FILE": "/run/secrets/jwt_public_key",
    }
    assert ROOT / COMPOSE["secrets"]["jwt_public_key"]["file"] == environment.PUBLIC_KEY


def test_keycloak_tokens_name_its_public_address_and_keys_come_from_the_inner_one() -> None:
    trusted = env_file("keycloak")

    assert trusted["JWT_ISSUER"] == f"{SERVICES['keycloak']['environment']['KC_HOSTNAME']}/realms/{REALM['realm']}"
    assert trusted["JWT_JWKS_URL"] == "http://keycloak:8080/realms/HyperID/protocol/openid-connect/certs"
    assert trusted["JWT_ALGORITHMS"] == REALM["defaultSignatureAlgorithm"] == "RS256"
    (audience,) = named(REALM["clientScopes"], "user-data-audience")["protocolMappers"]
    assert trusted["JWT_AUDIENCE"] == audience["config"]["included.custom.audience"]


def test_the_end_to_end_test_runs_the_stack_s_keycloak_and_realm() -> None:
    assert SERVICES["keycloak"]["image"] == f"quay.io/keycloak/keycloak:{e2e.version()}"
    assert "./deploy/keycloak:/opt/keycloak/data/import:ro" in SERVICES["keycloak"]["volumes"]
    assert e2e.REALM_FILE == ROOT / "deploy/keycloak/HyperID-realm.json"


@pytest.mark.parametrize("identity", ["development", "keycloak"])
def test_the_service_accepts_what_the_stack_sets(identity: str, made_secrets: Path) -> None:
    stated = SERVICES["web"]["environment"] | env_file(identity) | {"HOST": "0.0.0.0"}
    settings = {name: value.replace("/run/secrets", str(made_secrets)) for name, value in stated.items()}

    told = subprocess.run(
        [sys.executable, ROOT / "manage.py", "check"],
        env={"PATH": os.environ["PATH"]} | {name: defaults(value) for name, value in settings.items()},
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stderr


# The realm


def test_the_realm_is_the_original_s_and_holds_no_secret() -> None:
    assert REALM["realm"] == "HyperID"
    assert not {"components", "privateKey", "publicKey"} & REALM.keys()
    (user,) = REALM["users"]
    (credential,) = user["credentials"]
    assert credential == {"type": "password", "value": "${KEYCLOAK_DEMO_PASSWORD}", "temporary": False}
    assert not any("secret" in client for client in REALM["clients"])


@pytest.mark.parametrize("name", ["user-data-set", "user-data-get"])
def test_each_scope_is_asked_for_in_words_and_appears_in_the_token(name: str) -> None:
    attributes = named(REALM["clientScopes"], name)["attributes"]

    assert attributes["include.in.token.scope"] == "true"
    assert attributes["display.on.consent.screen"] == "true"
    assert attributes["consent.screen.text"]


def test_every_client_gets_the_claims_that_the_service_requires_and_asks_for_the_scopes() -> None:
    for client in REALM["clients"]:
        assert client["defaultClientScopes"] == ["basic", "email", "user-data-audience"]
        assert client["optionalClientScopes"] == ["profile", "user-data-set", "user-data-get"]


def test_the_demo_app_uses_pkce_and_consent_and_stays_on_loopback() -> None:
    app = named(REALM["clients"], "demo-app", key="clientId")

    assert app["publicClient"]
    assert app["consentRequired"]
    assert app["attributes"]["pkce.code.challenge.method"] == "S256"
    assert not app["directAccessGrantsEnabled"]
    assert not app["implicitFlowEnabled"]
    for url in app["redirectUris"] + app["webOrigins"]:
        assert re.match(r"http://(127\.0\.0\.1|localhost)(:\d+)?(/callback)?$", url), url


def test_only_the_command_line_client_takes_a_password() -> None:
    cli = named(REALM["clients"], "demo-cli", key="clientId")

    assert cli["directAccessGrantsEnabled"]
    assert not cli["standardFlowEnabled"]
    assert cli["redirectUris"] == cli["webOrigins"] == []


# The image


def test_the_image_is_built_from_a_pinned_base_with_checked_wheels() -> None:
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.13-slim-bookworm"}
    assert "--require-hashes --only-binary=:all:" in DOCKERFILE
    assert "ADD " not in DOCKERFILE


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]

    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "PYTHONDONTWRITEBYTECODE=1" in final
    assert re.search(r"^HEALTHCHECK .*\n    CMD \[.*/livez", final, re.MULTILINE)
    assert 'CMD ["python", "manage.py", "serve"]' in final
    assert "RUN " not in final


def test_only_what_runs_is_copied_into_the_image() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert rules == [
        "*",
        "!requirements.txt",
        "!manage.py",
        "!hypersecureid",
        "!userdata",
        "hypersecureid/local",
        "**/__pycache__",
    ]
    assert "pgserver" not in (ROOT / "requirements.txt").read_text()


def test_what_runs_does_not_need_what_the_image_leaves_out() -> None:
    imports = re.compile(r"^(?:from|import) hypersecureid\.local|^from hypersecureid import .*\blocal\b", re.MULTILINE)
    sources = [*(ROOT / "userdata").rglob("*.py"), *(ROOT / "hypersecureid").rglob("*.py"), ROOT / "manage.py"]

    users = [path for path in sources if path.parent.name != "local" and imports.search(path.read_text())]
    assert users == []
