"""What the service refuses to start with: one sentence on stderr that says why, and an exit code that is not 0.

What makes a key or an algorithm unfit is tested where it is found, in tests/identity.
"""

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

import httpx2 as httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hypersecureid.checks import check_settings
from tests.conftest import PROJECT, Server
from tests.tokens import EC_KEYS, ISSUER, RSA_KEY, public_pem, token

pytestmark = pytest.mark.slow

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

# What is changed in the environment, and what the sentence has to name.
REFUSED: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "DEBUG for all to see": ({"DEBUG": "true", "HOST": "0.0.0.0"}, ("DEBUG", "HOST", "userdata.E001")),
    "DEBUG for all to see over IPv6": ({"DEBUG": "true", "HOST": "::"}, ("DEBUG", "HOST", "userdata.E001")),
    "a SECRET_KEY of 49 characters": ({"SECRET_KEY": "k" * 49}, ("SECRET_KEY", "50 characters", "userdata.E002")),
    "no issuer": ({"JWT_ISSUER": None}, ("JWT_ISSUER is not set", "userdata.E003")),
    "an empty issuer": ({"JWT_ISSUER": ""}, ("JWT_ISSUER is not set", "userdata.E003")),
    "a secret of 31 bytes": ({"JWT_SECRET": SECRET[:31]}, ("JWT_SECRET", "32 bytes", "userdata.E004")),
    "two sources of keys": ({"JWT_PUBLIC_KEY": public_pem(RSA_KEY)}, ("JWT_SECRET and JWT_PUBLIC_KEY",)),
    "mixed families of algorithms": ({"JWT_ALGORITHMS": "HS256,RS256"}, ("JWT_ALGORITHMS", "mixes")),
    "no URL of keys": ({"JWT_SECRET": None, "JWT_JWKS_URL": "keys"}, ("JWT_JWKS_URL",)),
    "an issuer without keys or a URL": ({"JWT_SECRET": None, "JWT_ISSUER": "ours"}, ("JWT_ISSUER", "URL")),
    "a provider's name with a space": ({"JWT_IDENTITY_PROVIDERS": "telegram,go ogle"}, ("JWT_IDENTITY_PROVIDERS",)),
    "a claim without a place for the provider": (
        {"JWT_IDENTITY_PROVIDERS": "telegram", "JWT_IDENTITY_PROVIDER_CLAIM": "user_id"},
        ("JWT_IDENTITY_PROVIDER_CLAIM",),
    ),
    "no DATABASE_URL": ({"DATABASE_URL": None}, ("DATABASE_URL",)),
    "a DATABASE_URL that does not parse": ({"DATABASE_URL": f"postgresql://u:{PASSWORD}@[::1/n"}, ("DATABASE_URL",)),
    "a DATABASE_URL of another database": ({"DATABASE_URL": f"mysql://u:{PASSWORD}@h/n"}, ("DATABASE_URL",)),
    "a DATABASE_URL that is a password": ({"DATABASE_URL": PASSWORD}, ("DATABASE_URL",)),
    "a DATABASE_URL without a database": ({"DATABASE_URL": f"postgresql://u:{PASSWORD}@h"}, ("DATABASE_URL",)),
    "a DATABASE_URL with an unknown option": (
        {"DATABASE_URL": f"postgresql://u:{PASSWORD}@h/n?sslmood=require"},
        ("DATABASE_URL",),
    ),
    "no SECRET_KEY": ({"SECRET_KEY": None}, ("SECRET_KEY",)),
    "no ALLOWED_HOSTS": ({"ALLOWED_HOSTS": None}, ("ALLOWED_HOSTS",)),
    "a word as PORT": ({"PORT": "abc"}, ("PORT",)),
    "PORT 70000": ({"PORT": "70000"}, ("PORT", "65535")),
    "no workers": ({"WORKERS": "0"}, ("WORKERS",)),
    "longer keys than an index holds": ({"MAX_KEY_CHARS": "1000"}, ("MAX_KEY_CHARS",)),
    "a boolean that is none": ({"DEBUG": "maybe"}, ("DEBUG",)),
    "an unknown LOG_LEVEL": ({"LOG_LEVEL": "LOUD"}, ("LOG_LEVEL",)),
    "a rate of requests without a time": ({"RATE_LIMIT": "600"}, ("RATE_LIMIT", "600/min")),
    "a rate of no requests": ({"RATE_LIMIT": "0/min"}, ("RATE_LIMIT",)),
    "a rate for a time that is none": ({"RATE_LIMIT": "9/moment"}, ("RATE_LIMIT",)),
    "a REDIS_URL that does not parse": ({"REDIS_URL": f"redis://u:{PASSWORD}@[::1/0"}, ("REDIS_URL",)),
    "a REDIS_URL of something else": ({"REDIS_URL": f"http://u:{PASSWORD}@h:6379"}, ("REDIS_URL",)),
    "a REDIS_URL that is a password": ({"REDIS_URL": PASSWORD}, ("REDIS_URL",)),
    "a REDIS_URL with a time limit": ({"REDIS_URL": f"redis://:{PASSWORD}@h?socket_timeout=9"}, ("REDIS_URL",)),
    "a REDIS_URL with a port too high": ({"REDIS_URL": f"redis://:{PASSWORD}@h:65536"}, ("REDIS_URL",)),
    "a REDIS_URL twice": ({"REDIS_URL": "redis://h", "REDIS_URL_FILE": "/dev/null"}, ("REDIS_URL", "REDIS_URL_FILE")),
    "an origin without a scheme": ({"CORS_ALLOWED_ORIGINS": "page.example"}, ("CORS_ALLOWED_ORIGINS",)),
    "a secret twice": ({"JWT_SECRET_FILE": "/dev/null"}, ("JWT_SECRET", "JWT_SECRET_FILE")),
    "a file that is not there": ({"JWT_SECRET": None, "JWT_SECRET_FILE": "/nowhere/secret"}, ("JWT_SECRET_FILE",)),
    "a folder for a file": ({"DATABASE_URL": None, "DATABASE_URL_FILE": "/"}, ("DATABASE_URL_FILE",)),
    "an address of another machine": ({"HOST": "203.0.113.7"}, ("203.0.113.7",)),
    "an address in use": ({}, ("Can't listen on 127.0.0.1 port", ": Address already in use.")),
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
        port: dict[str, str | None] = {"PORT": str(taken.getsockname()[1])}
        yield {
            name: executor.submit(attempt, port | changes, folder / f"{number}.log")
            for number, (name, (changes, _)) in enumerate(REFUSED.items())
        }


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_to_start_with(attempts: dict[str, Future[Attempt]], name: str) -> None:
    refusal = attempts[name].result()

    assert (refusal.code, refusal.output) == (1, "")
    assert refusal.complaint.count("\n") == 1
    assert refusal.complaint[0].isupper()
    assert refusal.complaint.rstrip().endswith((".", ")"))
    for word in REFUSED[name][1]:
        assert word in refusal.complaint
    for word in ("Traceback", "ImproperlyConfigured", "['", "..", PASSWORD, SECRET[:31], "k" * 49, "BEGIN"):
        assert word not in refusal.complaint
    assert refusal.seconds < 12


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REST_FRAMEWORK", {"DEFAULT_PARSER_CLASSES": []}),
        ("REST_FRAMEWORK", {"DEFAULT_AUTHENTICATION_CLASSES": []}),
        ("REST_FRAMEWORK", {"DEFAULT_THROTTLE_CLASSES": []}),
        ("SIMPLE_JWT", {"SIGNING_KEY": SECRET}),
    ],
)
def test_a_setting_without_effect_is_refused(settings: Any, name: str, value: dict[str, Any]) -> None:
    setattr(settings, name, value)

    (error,) = [message for message in check_settings(None) if message.is_serious()]

    assert (error.id, error.msg) == (
        "userdata.E005",
        f"{name}['{next(iter(value))}'] has no effect on the views of this service.",
    )


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

    assert (good, other, server.stop()) == ({"result": 0}, {"result": -1}, 0)
    assert stored.get().revision == 1
    (line,) = server.log.read_text().splitlines()
    assert "JWT_AUDIENCE is not set: tokens for other services are accepted too." in line


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


def test_it_listens_on_ipv6(start_server: Callable[..., Server], database_url: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = start_server(wait="", DATABASE_URL=database_url, HOST="::1", WORKERS="1")

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            response = httpx.get(f"http://[::1]:{server.port}/livez", headers={"Host": "127.0.0.1"}, timeout=5)
            break
        except httpx.TransportError:
            time.sleep(0.05)

    assert response.json() == {"status": "ok"}
