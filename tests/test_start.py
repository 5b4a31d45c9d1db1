"""What the service refuses to start with: one sentence on stderr that says why, and an exit code that is not 0."""

import datetime
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.conftest import PROJECT, Server
from tests.tokens import EC_KEYS, ED_KEY, ISSUER, RSA_KEY, public_pem, token

SECRET = "0123456789abcdef0123456789abcdef"  # 32 bytes
PASSWORD = "hunter2"

# Nothing but what a start needs. No database is asked for before the first request.
GOOD: dict[str, str | None] = {
    "PATH": os.environ["PATH"],
    "SECRET_KEY": "k" * 50,
    "ALLOWED_HOSTS": "localhost",
    "DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/name",
    "JWT_ISSUER": ISSUER,
    "JWT_AUDIENCE": "user-data",
    "JWT_SECRET": SECRET,
    "HOST": "127.0.0.1",
}

RSA_1024_PEM = public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
SECP256K1_PEM = public_pem(ec.generate_private_key(ec.SECP256K1()))
PRIVATE_PEM = RSA_KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def by_pem(pem: str, algorithms: str | None = None) -> dict[str, str | None]:
    return {"JWT_SECRET": None, "JWT_PUBLIC_KEY": pem, "JWT_ALGORITHMS": algorithms}


def by_url(url: str) -> dict[str, str | None]:
    return {"JWT_SECRET": None, "JWT_JWKS_URL": url}


# What is changed in the environment, and what the sentence has to name.
REFUSED: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "no issuer": ({"JWT_ISSUER": None}, ("JWT_ISSUER is not set",)),
    "an empty issuer": ({"JWT_ISSUER": ""}, ("JWT_ISSUER is not set",)),
    "a secret of 31 bytes": ({"JWT_SECRET": SECRET[:31]}, ("JWT_SECRET", "32 bytes")),
    "a public key as the secret": ({"JWT_SECRET": public_pem(RSA_KEY)}, ("JWT_SECRET",)),
    "DEBUG for all to see": ({"DEBUG": "true", "HOST": "0.0.0.0"}, ("DEBUG", "HOST")),
    "DEBUG for all to see over IPv6": ({"DEBUG": "true", "HOST": "::"}, ("DEBUG", "HOST")),
    "mixed families of algorithms": ({"JWT_ALGORITHMS": "HS256,RS256"}, ("JWT_ALGORITHMS", "mixes")),
    "an unknown algorithm": ({"JWT_ALGORITHMS": "HS257"}, ("JWT_ALGORITHMS", "HS257")),
    "the algorithm none": ({"JWT_ALGORITHMS": "HS256,none"}, ("JWT_ALGORITHMS", "none")),
    "a secret for RS256": ({"JWT_ALGORITHMS": "RS256"}, ("JWT_ALGORITHMS", "RS256")),
    "a public key for HS256": (by_pem(public_pem(RSA_KEY), "HS256"), ("JWT_ALGORITHMS", "HS256")),
    "an EC key for RS256": (by_pem(public_pem(EC_KEYS["ES256"]), "RS256"), ("JWT_ALGORITHMS", "RS256")),
    "a P-256 key for ES384": (by_pem(public_pem(EC_KEYS["ES256"]), "ES384"), ("JWT_ALGORITHMS", "ES384")),
    "two sources of keys": ({"JWT_PUBLIC_KEY": public_pem(RSA_KEY)}, ("JWT_SECRET and JWT_PUBLIC_KEY",)),
    "no PEM": (by_pem("not a key"), ("JWT_PUBLIC_KEY", "PEM")),
    "half a PEM": (by_pem(public_pem(RSA_KEY)[:200]), ("JWT_PUBLIC_KEY", "PEM")),
    "a private key": (by_pem(PRIVATE_PEM), ("JWT_PUBLIC_KEY",)),
    "RSA of 1024 bits": (by_pem(RSA_1024_PEM), ("JWT_PUBLIC_KEY", "2048 bits")),
    "a curve that JWTs rarely use": (by_pem(SECP256K1_PEM), ("JWT_PUBLIC_KEY", "NIST curve")),
    "no URL of keys": (by_url("keys"), ("JWT_JWKS_URL",)),
    "a URL of keys that does not parse": (by_url("https://["), ("JWT_JWKS_URL",)),
    "a file as the URL of keys": (by_url("file:///etc/passwd"), ("JWT_JWKS_URL",)),
    "an issuer without keys or a URL": ({"JWT_SECRET": None, "JWT_ISSUER": "ours"}, ("JWT_ISSUER", "URL")),
    "no DATABASE_URL": ({"DATABASE_URL": None}, ("DATABASE_URL",)),
    "an empty DATABASE_URL": ({"DATABASE_URL": ""}, ("DATABASE_URL",)),
    "a DATABASE_URL that does not parse": ({"DATABASE_URL": f"postgresql://u:{PASSWORD}@[::1/n"}, ("DATABASE_URL",)),
    "a DATABASE_URL with a bad port": ({"DATABASE_URL": f"postgresql://u:{PASSWORD}@h:5432x/n"}, ("DATABASE_URL",)),
    "a DATABASE_URL of another database": ({"DATABASE_URL": f"mysql://u:{PASSWORD}@h/n"}, ("DATABASE_URL",)),
    "a DATABASE_URL that is a password": ({"DATABASE_URL": PASSWORD}, ("DATABASE_URL",)),
    "a DATABASE_URL without a database": ({"DATABASE_URL": f"postgresql://u:{PASSWORD}@h"}, ("DATABASE_URL",)),
    "a DATABASE_URL with an unknown option": (
        {"DATABASE_URL": f"postgresql://u:{PASSWORD}@h/n?sslmood=require"},
        ("DATABASE_URL",),
    ),
    "no SECRET_KEY": ({"SECRET_KEY": None}, ("SECRET_KEY",)),
    "a SECRET_KEY of 49 characters": ({"SECRET_KEY": "k" * 49}, ("SECRET_KEY", "50 characters")),
    "no ALLOWED_HOSTS": ({"ALLOWED_HOSTS": None}, ("ALLOWED_HOSTS",)),
    "a word as PORT": ({"PORT": "abc"}, ("PORT",)),
    "PORT 0": ({"PORT": "0"}, ("PORT", "65535")),
    "PORT 70000": ({"PORT": "70000"}, ("PORT", "65535")),
    "no workers": ({"WORKERS": "0"}, ("WORKERS",)),
    "no room for keys": ({"MAX_KEY_CHARS": "0"}, ("MAX_KEY_CHARS",)),
    "longer keys than an index holds": ({"MAX_KEY_CHARS": "1000"}, ("MAX_KEY_CHARS",)),
    "a boolean that is none": ({"DEBUG": "maybe"}, ("DEBUG",)),
    "an unknown LOG_LEVEL": ({"LOG_LEVEL": "LOUD"}, ("LOG_LEVEL",)),
    "an origin without a scheme": ({"CORS_ALLOWED_ORIGINS": "page.example"}, ("CORS_ALLOWED_ORIGINS",)),
    "a secret twice": ({"JWT_SECRET_FILE": "/dev/null"}, ("JWT_SECRET", "JWT_SECRET_FILE")),
    "a file that is not there": ({"JWT_SECRET": None, "JWT_SECRET_FILE": "/nowhere/secret"}, ("JWT_SECRET_FILE",)),
    "a folder for a file": ({"DATABASE_URL": None, "DATABASE_URL_FILE": "/"}, ("DATABASE_URL_FILE",)),
    "an address of another machine": ({"HOST": "203.0.113.7"}, ("203.0.113.7",)),
}


@dataclass
class Attempt:
    code: int
    output: str
    complaint: str
    seconds: float


def attempt(changes: dict[str, str | None], log: Path) -> Attempt:
    """Run `manage.py serve`, which should refuse; one that does serve is ended."""
    environment = {name: value for name, value in (GOOD | changes).items() if value is not None}
    started = time.monotonic()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        output, _ = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate()
    return Attempt(process.returncode, output, log.read_text(), time.monotonic() - started)


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Attempt]]]:
    """All attempts, some at a time. Their port is taken, so that none gets further than that."""
    folder = tmp_path_factory.mktemp("attempts")
    with socket.create_server(("127.0.0.1", 0)) as taken, ThreadPoolExecutor(os.cpu_count()) as executor:
        port = {"PORT": str(taken.getsockname()[1])}
        yield {
            name: executor.submit(attempt, port | changes, folder / f"{number}.log")
            for number, (name, (changes, _)) in enumerate(REFUSED.items())
        }


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_to_start_with(attempts: dict[str, Future[Attempt]], name: str) -> None:
    refusal = attempts[name].result()

    assert_one_sentence(refusal)
    for word in REFUSED[name][1]:
        assert word in refusal.complaint


def test_it_refuses_to_start_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refusal = attempt({"PORT": str(port)}, tmp_path / "log")

    assert_one_sentence(refusal)
    assert refusal.complaint == f"Can't listen on 127.0.0.1 port {port}: Address already in use.\n"


def assert_one_sentence(refusal: Attempt) -> None:
    assert refusal.code == 1
    assert refusal.output == ""
    assert refusal.complaint.count("\n") == 1
    assert refusal.complaint[0].isupper()
    assert refusal.complaint.rstrip().endswith((".", ")"))
    for word in ("Traceback", "ImproperlyConfigured", "['", "..", PASSWORD, SECRET[:31], "k" * 49, "BEGIN"):
        assert word not in refusal.complaint
    assert refusal.seconds < 12


def certificate() -> str:
    """A certificate for the key ES384, signed by itself, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer.example")])
    today = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(EC_KEYS["ES384"].public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(EC_KEYS["ES384"], hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


@pytest.mark.parametrize(
    ("settings", "key", "alg"),
    [
        pytest.param({"JWT_SECRET": SECRET}, SECRET, "HS256", id="a secret"),
        pytest.param({"JWT_PUBLIC_KEY": public_pem(EC_KEYS["ES256"])}, EC_KEYS["ES256"], "ES256", id="an EC key"),
        pytest.param({"JWT_PUBLIC_KEY": public_pem(ED_KEY)}, ED_KEY, "EdDSA", id="an Edwards key"),
        pytest.param({"JWT_PUBLIC_KEY": certificate()}, EC_KEYS["ES384"], "ES384", id="a certificate"),
    ],
)
def test_it_starts_with(
    start_server: Callable[..., Server],
    database_url: str,
    stored: Any,
    settings: dict[str, str],
    key: Any,
    alg: str,
) -> None:
    """Without JWT_ALGORITHMS, the algorithm is the one that fits the key."""
    unset = {"JWT_SECRET": None, "JWT_PUBLIC_KEY": None, "JWT_ALGORITHMS": None}
    server = start_server(**(unset | settings | {"DATABASE_URL": database_url, "WORKERS": "1"}))

    good = server.set(bearer=token(key=key, alg=alg)).json()
    other = server.set(bearer=token()).json()
    code = server.stop()

    assert (good, other, code) == ({"result": 0}, {"result": -1}, 0)
    assert stored.get().revision == 1
    log = server.log.read_text()
    assert log.count("JWT_AUDIENCE is not set: tokens for other services are accepted too.") == 1
    assert log.count("\n") == 1


def test_it_starts_with_files_that_end_in_a_line_end(
    start_server: Callable[..., Server], database_url: str, stored: Any, tmp_path: Path
) -> None:
    given = {
        "SECRET_KEY": "k" * 50 + "\n",
        "DATABASE_URL": database_url + "\r\n",
        "JWT_SECRET": " " + SECRET + " \n",  # the space around goes
    }
    files: dict[str, str | None] = dict.fromkeys([*given, "JWT_PUBLIC_KEY", "JWT_ALGORITHMS"])
    for name, content in given.items():
        (tmp_path / name).write_bytes(content.encode())
        files[f"{name}_FILE"] = str(tmp_path / name)
    server = start_server(**files, WORKERS="1", JWT_AUDIENCE="user-data")

    answers = [
        server.set(bearer=token(key=key, alg="HS256", aud="user-data")).json() for key in (f" {SECRET} ", SECRET)
    ]
    server.stop()

    assert answers == [{"result": -1}, {"result": 0}]
    assert stored.get().revision == 1
    assert server.log.read_text() == ""
