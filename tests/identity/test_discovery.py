"""Where keys are fetched from: discovery by issuer, which URLs are refused, and TLS."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.identity.keymaker import jwk
from tests.identity.keyserver import say
from userdata.jwks import JWKS
from userdata.jwks_fetch import FetchFailed, Provider


def provider(**options: Any) -> Provider:
    defaults: dict[str, Any] = {
        "url": None,
        "issuer": None,
        "algorithms": ["ES256"],
        "timeout_seconds": 1,
        "max_body_bytes": 10_000,
        "plain_http": False,
    }
    return Provider(**defaults | options)


@pytest.mark.parametrize("path", ["", "/", "/realms/HyperID", "/realms/HyperID/"])
def test_the_issuer_alone_leads_to_its_keys(server, path):
    issuer = server.issuer + path
    server.publish(jwk("a"))
    publish, document = server.answer, json.dumps({"issuer": issuer, "jwks_uri": server.url}).encode()
    server.answer = lambda request: request.send(200, document) if "known" in request.path else publish(request)

    assert provider(issuer=issuer).fetch() == [jwk("a")]
    assert [at for _, at in server.requests] == [path.rstrip("/") + "/.well-known/openid-configuration", "/keys"]


def test_a_jwks_url_makes_discovery_needless(server):
    server.publish(jwk("a"))

    assert provider(url=server.url, issuer="https://issuer.example").fetch() == [jwk("a")]
    assert [path for _, path in server.requests] == ["/keys"]


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
def test_a_discovery_document_that_is_wrong_is_refused(server, members, cause):
    document = {"issuer": server.issuer, "jwks_uri": server.url} | members
    server.answer = say(200, json.dumps(document).replace("{issuer}", server.issuer).encode())

    with pytest.raises(FetchFailed) as refusal:
        provider(issuer=server.issuer).fetch()

    assert cause in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert len(server.requests) == 1


def test_the_discovery_document_is_kept_and_read_again_after_a_failure(server):
    server.publish(jwk("a"))
    issuer = provider(issuer=server.issuer)
    for _ in range(3):
        issuer.fetch()
    assert [path.rpartition("/")[2] for _, path in server.requests] == ["openid-configuration", "keys", "keys", "keys"]

    moved = json.dumps({"issuer": server.issuer, "jwks_uri": server.url + "2"}).encode()
    keys = json.dumps({"keys": [jwk("b")]}).encode()
    pages = {"/.well-known/openid-configuration": moved, "/keys2": keys}
    server.answer = lambda request: request.send(200 if request.path in pages else 404, pages.get(request.path, b""))
    with pytest.raises(FetchFailed, match="/keys answered 404"):
        issuer.fetch()

    assert issuer.fetch() == [jwk("b")]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://issuer.example/keys", "is not an http or https URL"),
        ("file:///etc/passwd", "is not an http or https URL"),
        ("issuer.example/keys", "is not an http or https URL"),
        ("https://", "is not an http or https URL"),
        ("https://issuer.example/k eys", "is not an http or https URL"),
        ("https://[::1/keys", "is not a URL"),
        ("https://issuer.example:port/keys", "is not a URL"),
        ("http://issuer.example/keys", "must use https"),
        ("http://127.0.0.1.issuer.example/keys", "must use https"),
        ("https://user:secret@issuer.example/keys", "must not carry credentials"),
    ],
)
def test_a_url_that_keys_may_not_come_from_is_refused_at_once(url, complaint):
    for where in ("url", "issuer"):
        with pytest.raises(ValueError, match=complaint) as refusal:
            JWKS(**{where: url}, algorithms=["RS256"])
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "127.9.9.9", "[::1]:80", "localhost:80", "id.localhost"])
def test_plain_http_is_for_loopback(host):
    JWKS(url=f"http://{host}/keys", algorithms=["RS256"])


def test_plain_http_elsewhere_has_to_be_allowed():
    JWKS(url="http://keycloak:8080/keys", algorithms=["RS256"], plain_http=True)


@pytest.mark.parametrize("algorithms", [["HS256"], ["RS256", "HS512"], ["none"], []])
def test_only_asymmetric_algorithms_have_keys_at_a_url(algorithms):
    with pytest.raises(ValueError, match="asymmetric algorithms only"):
        JWKS(url="https://issuer.example/keys", algorithms=algorithms)


def test_something_to_fetch_from_is_needed():
    with pytest.raises(ValueError, match="a JWKS URL or an issuer is needed"):
        JWKS(url="", issuer=None, algorithms=["RS256"])


def test_keys_come_over_tls_from_a_server_whose_certificate_is_trusted_only(server, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path)
    server.down()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate)
    server.up()
    server.publish(jwk("a"))
    url = f"https://127.0.0.1:{server.port}/keys"

    with pytest.raises(FetchFailed, match=r"can't be reached: .*certificate"):
        provider(url=url).fetch()
    assert server.requests == []

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert provider(url=url).fetch() == [jwk("a")]
    with pytest.raises(FetchFailed, match=r"can't be reached: .*certificate"):
        provider(url=url.replace("127.0.0.1", "localhost")).fetch()


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
