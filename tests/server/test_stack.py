"""The compose stack and its realm: that their parts fit each other and the service. No Docker is needed."""

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

from hypersecureid import settings as service_settings
from hypersecureid.local import environment
from tests.conftest import PROJECT

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
TEMPLATE = (PROJECT / "deploy/nginx/nginx.conf.template").read_text()
REALM: dict[str, Any] = json.loads((PROJECT / "deploy/keycloak/HyperID-realm.json").read_text())
IDENTITIES = ["development", "keycloak"]


def env_file(name: str) -> dict[str, str]:
    lines = (PROJECT / f"deploy/identity/{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def defaults(value: str) -> str:
    """What Compose makes of a value where none of the variables in it is set."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)


def environment_of(service: str, identity: str = "development") -> dict[str, str]:
    ours = env_file(identity) if "env_file" in SERVICES[service] else {}
    return {name: defaults(value) for name, value in (SERVICES[service]["environment"] | ours).items()}


@pytest.fixture(scope="module")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `make secrets` has been."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "deploy").mkdir()
    shutil.copy(PROJECT / "deploy/secrets.sh", folder / "deploy")
    subprocess.run(["sh", folder / "deploy/secrets.sh"], check=True)
    return folder


# --- The stack ------------------------------------------------------------------------------------


def test_the_image_is_built_once() -> None:
    ours = {name for name, service in SERVICES.items() if service["image"] == "hypersecureid-user-data:local"}
    built = {name for name, service in SERVICES.items() if "build" in service}

    assert ours == {"migrate", "web"}
    assert built == {"web"}
    assert all(SERVICES[name].get("pull_policy") == "never" for name in ours - built)


def test_the_service_is_reached_through_nginx_alone_and_all_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published.keys() == {"nginx", "keycloak"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_each_part_waits_for_what_it_needs() -> None:
    def needed(name: str) -> set[str]:
        direct = SERVICES[name].get("depends_on", {})
        return set(direct).union(*(needed(each) for each in direct))

    assert needed("nginx") == {"web", "migrate", "db", "keycloak"}
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            healthy = "healthcheck" in SERVICES[name] and not SERVICES[name]["healthcheck"].get("disable")
            assert how["condition"] == ("service_healthy" if healthy else "service_completed_successfully")
            assert how.get("required") is (False if "profiles" in SERVICES[name] else None)


@pytest.mark.parametrize("name", ["migrate", "web", "nginx"])
def test_what_faces_requests_may_do_next_to_nothing(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not any(volume for volume in service.get("volumes", []) if not volume.endswith(":ro"))


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("name", ["migrate", "web"])
def test_the_service_knows_each_variable_that_the_stack_sets(name: str, identity: str) -> None:
    known = service_settings.env.dump().keys()

    assert {variable.removesuffix("_FILE") for variable in environment_of(name, identity)} <= known


def test_the_example_names_the_variables_of_the_service() -> None:
    named = re.findall(r"^(?:# )?([A-Z_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)

    assert sorted(named) == sorted(set(named))
    assert set(named) == set(service_settings.env.dump())


@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_service_accepts_what_the_stack_sets(identity: str, made_secrets: Path) -> None:
    public_key = made_secrets / COMPOSE["secrets"]["jwt_public_key"]["file"]
    shutil.copy(public_key, made_secrets / ".local/secrets/jwt_public_key")
    stated = environment_of("web", identity) | {"HOST": "0.0.0.0", "PATH": os.environ["PATH"]}

    told = subprocess.run(
        [sys.executable, PROJECT / "manage.py", "check", "--fail-level", "ERROR"],
        env={name: value.replace("/run/secrets", f"{made_secrets}/.local/secrets") for name, value in stated.items()},
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stderr


def test_nginx_gets_each_variable_of_its_template_and_no_other() -> None:
    used = set(re.findall(r"\$\{(\w+)\}", TEMPLATE))
    given = {name for name in SERVICES["nginx"]["environment"] if not name.startswith("NGINX_")}

    assert used == given
    # The image's entrypoint replaces any variable of the environment, with or without braces.
    assert not re.findall(r"\$[A-Z]", TEMPLATE)


def test_nginx_listens_where_it_is_published_and_asks_where_the_service_listens() -> None:
    variables = environment_of("nginx")
    inside = {port.rpartition(":")[2] for port in SERVICES["nginx"]["ports"]}
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)

    assert inside == {variables["LISTEN_HTTP"], variables["LISTEN_HTTPS"]}
    assert variables["UPSTREAM"] == f"web:{port}"
    assert defaults(SERVICES["nginx"]["ports"][1]).split(":")[1] == variables["PUBLIC_HTTPS_PORT"]


def test_nginx_lets_the_service_refuse_bodies_that_are_a_little_too_large() -> None:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", TEMPLATE)

    assert 2 * 2**20 < int(megabytes) * 2**20 <= 4 * 2**20


# --- Secrets --------------------------------------------------------------------------------------


def test_each_secret_is_made_by_the_script_and_left_out_by_git(made_secrets: Path) -> None:
    files = {name: made_secrets / secret["file"] for name, secret in COMPOSE["secrets"].items()}
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}

    assert used == files.keys()
    assert [name for name, file in files.items() if not file.is_file()] == []
    assert all(made_secrets / ".local" in file.parents for file in files.values())
    assert ".local/" in (PROJECT / ".gitignore").read_text().splitlines()


def test_the_certificate_is_for_this_machine(made_secrets: Path) -> None:
    certificate = made_secrets / COMPOSE["secrets"]["tls_certificate"]["file"]
    key = made_secrets / COMPOSE["secrets"]["tls_private_key"]["file"]

    def openssl(*arguments: str | Path) -> str:
        return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout

    names = openssl("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    assert "DNS:localhost" in names
    assert "IP Address:127.0.0.1" in names
    assert openssl("x509", "-in", certificate, "-noout", "-pubkey") == openssl("pkey", "-in", key, "-pubout")


@pytest.mark.parametrize("path", ["docker-compose.yml", "Dockerfile", "deploy/nginx/nginx.conf.template"])
def test_no_secret_stands_in_a_file_of_the_stack(path: str) -> None:
    text = (PROJECT / path).read_text()

    for name, value in re.findall(r"\b(\w*(?:PASSWORD|SECRET|PRIVATE|TOKEN)\w*) ?[:=] ?(.*)", text):
        assert name.endswith("_FILE") or value.startswith('"$$(</run/secrets/'), name


# --- Whose tokens ---------------------------------------------------------------------------------


def test_the_development_tokens_are_those_of_make_token() -> None:
    trusted = env_file("development")

    assert trusted["JWT_ISSUER"] == environment.ISSUER
    assert trusted["JWT_PUBLIC_KEY_FILE"] == "/run/secrets/jwt_public_key"
    assert PROJECT / COMPOSE["secrets"]["jwt_public_key"]["file"] == environment.PUBLIC_KEY


def test_keycloak_issues_what_the_service_trusts() -> None:
    trusted = env_file("keycloak")
    (audience,) = scope("user-data-audience")["protocolMappers"]

    assert trusted["JWT_ISSUER"] == f"{SERVICES['keycloak']['environment']['KC_HOSTNAME']}/realms/{REALM['realm']}"
    assert trusted["JWT_ALGORITHMS"] == REALM["defaultSignatureAlgorithm"]
    assert trusted["JWT_AUDIENCE"] == audience["config"]["included.custom.audience"]


def scope(name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [each for each in REALM["clientScopes"] if each["name"] == name]
    return found


def test_every_scope_that_the_realm_gives_is_one_that_it_has() -> None:
    had = {each["name"] for each in REALM["clientScopes"]} | {"email", "profile", "basic"}
    given = {*REALM["defaultDefaultClientScopes"], *REALM["defaultOptionalClientScopes"]}
    for client in REALM["clients"]:
        given |= {*client["defaultClientScopes"], *client["optionalClientScopes"]}
        assert {"email", "user-data-audience"} <= set(client["defaultClientScopes"])

    assert given <= had
    assert {"user-data-set", "user-data-get"} <= given


@pytest.mark.parametrize("name", ["user-data-set", "user-data-get"])
def test_a_scope_is_asked_for_in_words_and_appears_in_the_token(name: str) -> None:
    attributes = scope(name)["attributes"]

    assert attributes["include.in.token.scope"] == attributes["display.on.consent.screen"] == "true"
    assert attributes["consent.screen.text"]


def test_the_realm_holds_no_secret_and_passwords_only_for_the_command_line() -> None:
    (user,) = REALM["users"]
    by_password = [client["clientId"] for client in REALM["clients"] if client["directAccessGrantsEnabled"]]

    assert not re.search(r'"(secret|privateKey|keystore)', json.dumps(REALM))
    assert [credential["value"] for credential in user["credentials"]] == ["${KEYCLOAK_DEMO_PASSWORD}"]
    assert by_password == ["demo-cli"]
    for client in REALM["clients"]:
        assert not client["implicitFlowEnabled"]
        for url in client["redirectUris"] + client["webOrigins"]:
            assert re.match(r"http://(127\.0\.0\.1|localhost)[:/]?", url), url
