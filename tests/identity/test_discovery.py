"""Where keys are fetched from, over real HTTP on loopback: discovery, which URLs are refused, bad answers, TLS."""

import json
import logging
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.identity import keyserver
from tests.identity.door import identity
from tests.identity.keymaker import jwk, private_jwk, private_key
from tests.identity.keyserver import KeyServer, say
from tests.identity.loop import Loop
from userdata.identity.discovery import FetchFailed, KeysEndpoint
from userdata.identity.key_set import KeySet


def endpoint(
    url: str = "", issuer: str = "https://issuer.example", algorithms: tuple[str, ...] = ("ES256", "RS256")
) -> KeysEndpoint:
    return KeysEndpoint(url, issuer, algorithms)


def kids(keys: KeySet) -> set[str]:
    return {kid for kid, _ in keys if kid}


@pytest.mark.parametrize("path", ["", "/", "/realms/HyperID", "/realms/HyperID/"])
def test_the_issuer_alone_leads_to_its_keys(server: KeyServer, loop: Loop, path: str) -> None:
    issuer = server.issuer + path
    server.publish(jwk("a"))
    publish, document = server.answer, json.dumps({"issuer": issuer, "jwks_uri": server.url}).encode()
    server.answer = lambda request: request.send(200, document) if "known" in request.path else publish(request)

    assert kids(loop(endpoint(issuer=issuer).fetch())) == {"a"}
    assert [at for _, at in server.requests] == [path.rstrip("/") + "/.well-known/openid-configuration", "/keys"]


def test_a_jwks_url_makes_discovery_needless(server: KeyServer, loop: Loop) -> None:
    server.publish(jwk("a"))

    keys = loop(endpoint(server.url).fetch())

    assert keys["a", "ES256"] == private_key("a").public_key()
    assert [path for _, path in server.requests] == ["/keys"]


def test_keys_that_have_moved_are_found_at_the_next_fetch(server: KeyServer, loop: Loop) -> None:
    server.publish(jwk("a"))
    issuer = endpoint(issuer=server.issuer)
    assert kids(loop(issuer.fetch())) == {"a"}

    moved = json.dumps({"issuer": server.issuer, "jwks_uri": server.url + "2"}).encode()
    pages = {"/.well-known/openid-configuration": moved, "/keys2": json.dumps({"keys": [jwk("b")]}).encode()}
    server.answer = lambda request: request.send(200 if request.path in pages else 404, pages.get(request.path, b""))

    assert kids(loop(issuer.fetch())) == {"b"}


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ({"issuer": "https://elsewhere.example"}, "names the issuer 'https://elsewhere.example', not 'http://127"),
        ({"issuer": "{issuer}/"}, "names the issuer"),
        ({"issuer": None}, "names the issuer None"),
        ({"issuer": ["{issuer}"]}, "names the issuer"),
        ({"jwks_uri": None}, "names no jwks_uri"),
        ({"jwks_uri": 7}, "names no jwks_uri"),
        ({"jwks_uri": "http://issuer.example/keys"}, "must use https"),
        ({"jwks_uri": "file:///etc/passwd"}, "is not an http or https URL"),
        ({"jwks_uri": "data:application/json,{}"}, "is not an http or https URL"),
        ({"jwks_uri": "/keys"}, "is not an http or https URL"),
        ({"jwks_uri": "https://user:secret@issuer.example/keys"}, "must not carry credentials"),
        ({"jwks_uri": "https://issuer.example/\r\nHost: elsewhere"}, "is not an http or https URL"),
    ],
)
def test_a_discovery_document_that_is_wrong_is_refused(server: KeyServer, loop: Loop, members: Any, cause: str) -> None:
    document = {"issuer": server.issuer, "jwks_uri": server.url} | members
    server.answer = say(200, json.dumps(document).replace("{issuer}", server.issuer).encode())

    with pytest.raises(FetchFailed) as refusal:
        loop(endpoint(issuer=server.issuer).fetch())

    assert cause in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://issuer.example/keys", "is not an http or https URL"),
        ("file:///etc/passwd", "is not an http or https URL"),
        ("issuer.example/keys", "is not an http or https URL"),
        ("https://", "is not an http or https URL"),
        ("https://issuer.example/k eys", "is not an http or https URL"),
        ("https://[::1/keys", "is not an http or https URL"),
        ("https://issuer.example:port/keys", "is not an http or https URL"),
        ("https://issuer.example:0/keys", "is not an http or https URL"),
        ("https://user:secret@issuer.example/keys", "must not carry credentials"),
    ],
)
@pytest.mark.parametrize(("setting", "name"), [("jwks_url", "JWT_JWKS_URL"), ("issuer", "JWT_ISSUER")])
def test_a_url_that_keys_may_not_come_from_is_refused_at_once(
    setting: str, name: str, url: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"^Keys can't be had from {name}: .* {complaint}\\.$") as refusal:
        identity(**{"public_key": "", setting: url})

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("issuer", ["http://issuer.example", "http://127.0.0.1.issuer.example", "http://10.0.0.1"])
def test_an_issuer_elsewhere_must_use_https(issuer: str) -> None:
    with pytest.raises(ValueError, match="must use https"):
        endpoint(issuer=issuer)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "127.9.9.9", "[::1]:80", "localhost:80", "id.localhost"])
def test_plain_http_is_for_loopback(host: str) -> None:
    assert str(endpoint(issuer=f"http://{host}")) == f"http://{host}/.well-known/openid-configuration"


def test_plain_http_elsewhere_has_to_be_named_as_the_url_of_the_keys() -> None:
    assert str(endpoint("http://keycloak:8080/keys?client=secret#secret")) == "http://keycloak:8080/keys"


BAD_ANSWERS = [
    pytest.param(say(200, b"<!doctype html>", "text/html"), "answered 'text/html' that is not JSON", id="HTML"),
    pytest.param(say(503, b"<h1>Unavailable</h1>", "text/html"), "answered 503", id="503"),
    pytest.param(say(403, b"{}"), "answered 403", id="403"),
    pytest.param(say(204, b""), "answered 204", id="204"),
    pytest.param(say(302, b"", Location="/keys2"), "answered 302, and redirects are not followed", id="redirect"),
    pytest.param(say(200, b'{"keys": []}'), "answered JSON that holds no keys", id="empty set"),
    pytest.param(say(200, b"{}"), "answered JSON that holds no keys", id="no set"),
    pytest.param(say(200, b'{"keys": {"a": 1}}'), "answered JSON that holds no keys", id="ill-formed set"),
    pytest.param(say(200, b"[]"), "answered JSON that holds no keys", id="array"),
    pytest.param(say(200, b""), "that is not JSON", id="empty body"),
    pytest.param(say(200, b"[" * 100_000), "that is not JSON", id="deep nesting"),
    pytest.param(say(200, b'{"keys": "\xff"}'), "that is not JSON", id="not UTF-8"),
    pytest.param(say(200, b"[1, " + b" " * 600_000 + b"]"), "answered more than 524288 bytes", id="huge body"),
    pytest.param(
        say(200, b"\x1f\x8b\x08" + b"x" * 99, **{"Content-Encoding": "gzip"}), "that is not JSON", id="packed body"
    ),
    pytest.param(keyserver.reset, "can't be read: ", id="reset in mid-body"),
    pytest.param(KeyServer.down, "can't be read: ConnectError", id="down"),
    pytest.param(
        lambda server: server.publish(jwk("a", use="enc"), jwk("b", "RS256", use="enc")),
        "publishes 2 keys, none of which verifies ES256 or RS256",
        id="keys for encryption only",
    ),
]


def answer_badly(server: KeyServer, bad: Any) -> None:
    if bad is KeyServer.down or bad.__code__.co_varnames[:1] == ("server",):
        bad(server)
    else:
        server.answer = bad


@pytest.mark.parametrize(("bad", "cause"), BAD_ANSWERS)
def test_a_bad_answer_is_a_failure_with_its_cause(server: KeyServer, loop: Loop, bad: Any, cause: str) -> None:
    answer_badly(server, bad)

    with pytest.raises(FetchFailed) as failure:
        loop(endpoint(server.url).fetch())

    assert str(failure.value).startswith(f"{server.url} ")
    assert cause in str(failure.value)


@pytest.mark.parametrize("bad", [keyserver.hang, keyserver.drip_body, keyserver.drip_headers])
@pytest.mark.parametrize("by_issuer", [False, True])
def test_the_whole_exchange_ends_after_three_seconds(server: KeyServer, loop: Loop, bad: Any, by_issuer: bool) -> None:
    server.publish(jwk("a"))
    publish = server.answer
    server.answer = lambda request: publish(request) if "known" in request.path else bad(request)
    fetch = loop.begin((endpoint(issuer=server.issuer) if by_issuer else endpoint(server.url)).fetch())
    loop.until(lambda: server.now and server.requests[-1][1] == "/keys")
    loop.skip(2.5)
    assert not fetch.done()

    loop.skip(0.5)
    loop.until(fetch.done, seconds=1)

    with pytest.raises(FetchFailed, match=r" took longer than 3 s$"):
        fetch.result()


def test_a_body_may_have_512_kib(server: KeyServer, loop: Loop) -> None:
    body = json.dumps({"keys": [jwk("a")]}).encode()
    server.answer = say(200, body + b" " * (524_288 - len(body)))

    assert kids(loop(endpoint(server.url).fetch())) == {"a"}

    server.answer = say(200, body + b" " * (524_289 - len(body)))
    with pytest.raises(FetchFailed, match="more than 524288 bytes"):
        loop(endpoint(server.url).fetch())


def test_neither_keys_nor_what_a_url_hides_is_logged(
    server: KeyServer, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    published = jwk("a", "RS256")
    server.publish(published, private_jwk("b"))
    door = identity(public_key="", jwks_url=f"{server.url}?client=secret")

    loop(door.start())
    loop.until(lambda: door.status().usable)

    assert [record.message for record in caplog.records] == [f"keys from {server.url} verify tokens: a, without a name"]
    assert door.status().detail == f"1 keys from {server.url}"
    loop(door.close())


def test_a_proxy_of_the_environment_is_used(server: KeyServer, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish(jwk("a"))
    monkeypatch.setenv("HTTP_PROXY", server.issuer)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert kids(loop(endpoint("http://keys.example/keys").fetch())) == {"a"}
    assert [path for _, path in server.requests] == ["http://keys.example/keys"]


def test_keys_come_over_tls_from_a_server_whose_certificate_is_trusted_only(
    server: KeyServer, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    server.down()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate)
    server.up()
    server.publish(jwk("a"))
    url = f"https://127.0.0.1:{server.port}/keys"

    with pytest.raises(FetchFailed, match=r"can't be read: ConnectError .*certificate"):
        loop(endpoint(url).fetch())
    assert server.requests == []

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert kids(loop(endpoint(url).fetch())) == {"a"}
    with pytest.raises(FetchFailed, match=r"can't be read: ConnectError .*certificate"):
        loop(endpoint(url.replace("127.0.0.1", "localhost")).fetch())


def make_certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
