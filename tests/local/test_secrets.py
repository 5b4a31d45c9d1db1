"""`make secrets`: no Python, each secret once, and the key pair that `make -s token` signs with."""

import subprocess
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hypersecureid.local import environment, token

SECRETS = ["database_url", "db_password", "keycloak_admin_password", "keycloak_demo_password", "secret_key"]
SECRETS += ["tls_certificate", "tls_private_key"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .local of a folder with nothing in it but the script."""
    state = tmp_path / ".local"
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "secrets.sh").write_bytes((environment.PROJECT / "deploy" / "secrets.sh").read_bytes())
    for name, file in (("PRIVATE_KEY", "jwt_private_key.pem"), ("PUBLIC_KEY", "jwt_public_key.pem")):
        monkeypatch.setattr(environment, name, state / file)
    for name in ("JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_ALGORITHMS", "JWT_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    return state


def make_secrets(state: Path) -> dict[str, bytes]:
    """What is in .local afterwards."""
    subprocess.run(["sh", state.parent / "deploy" / "secrets.sh"], check=True, umask=0o027)
    return {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_all_is_made_once_and_readable_by_whom_it_is_for(state: Path) -> None:
    made = make_secrets(state)

    assert make_secrets(state) == made
    assert sorted(made) == ["jwt_private_key.pem", "jwt_public_key.pem", *(f"secrets/{name}" for name in SECRETS)]
    modes = {name: (state / name).stat().st_mode & 0o777 for name in [".", "secrets", *made]}
    assert modes["secrets"] == 0o700
    assert modes["jwt_private_key.pem"] == 0o600
    assert {modes[name] for name in made if name != "jwt_private_key.pem"} == {0o644}
    key = serialization.load_pem_private_key(made["jwt_private_key.pem"], password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert made["jwt_private_key.pem"].startswith(b"-----BEGIN PRIVATE KEY-----")


def test_tokens_are_signed_with_the_pair_that_the_stack_is_given(state: Path) -> None:
    made = make_secrets(state)

    claims = jwt.decode(token.mint(), made["jwt_public_key.pem"].decode(), algorithms=["RS256"])

    assert claims["iss"] == "https://issuer.localhost"


def test_a_pair_that_make_token_made_is_kept(state: Path) -> None:
    bearer = token.mint()
    made = make_secrets(state)

    assert jwt.decode(bearer, made["jwt_public_key.pem"].decode(), algorithms=["RS256"])
    assert environment.PRIVATE_KEY.read_bytes() == made["jwt_private_key.pem"]


@pytest.mark.parametrize("by_script", [False, True])
def test_a_private_key_alone_gets_its_public_one(state: Path, by_script: bool) -> None:
    made = make_secrets(state)
    environment.PUBLIC_KEY.unlink()

    if by_script:
        make_secrets(state)
    else:
        environment.make_key_pair()

    assert environment.PUBLIC_KEY.read_bytes() == made["jwt_public_key.pem"]
