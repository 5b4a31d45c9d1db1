"""`make -s token`, with a key pair of its own and with the keys that the environment names."""

from typing import Any

import jwt
import pytest

from tests.local.copies import Copy, assert_one_sentence


def test_a_token_says_what_was_asked_for(clone: Copy) -> None:
    token = clone.command(
        *("make", "-s", "token", "SUB=a user", "CLIENT=an-app", "SCOPE=email", "TTL=60", "EMAIL=someone@example.org"),
        """CLAIMS={"azp": "it's another", "wallet": {"a": [1]}}""",
    )

    assert (token.returncode, token.stderr, token.stdout.count("\n")) == (0, "", 1)
    claims: dict[str, Any] = jwt.decode(token.stdout.strip(), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
    for name in ("iat", "exp", "jti", "iss", "typ"):
        del claims[name]
    assert claims == {
        "sub": "a user",
        "azp": "it's another",
        "scope": "email",
        "email": "someone@example.org",
        "email_verified": True,
        "wallet": {"a": [1]},
    }


def test_the_address_that_shells_export_is_nobody_s_claim(clone: Copy) -> None:
    token = clone.command("make", "-s", "token", EMAIL="developer@work.example")

    claims = jwt.decode(token.stdout.strip(), options={"verify_signature": False})
    assert claims["email"] == "developer@localhost"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"TTL": "soon"}, "TTL", id="a time that is no number"),
        pytest.param({"CLAIMS": '{"a":'}, "CLAIMS", id="claims that are no JSON"),
        pytest.param({"CLAIMS": "[1]"}, "CLAIMS", id="claims that are no object"),
        pytest.param({"CLAIMS": '{"iss": 1}'}, "iss", id="an issuer that is no string"),
        pytest.param({"JWT_SECRET_FILE": "/nowhere"}, "/nowhere", id="a secret that is not there"),
        pytest.param({"JWT_ALGORITHMS": "ES256"}, "sign", id="an algorithm of another key"),
        pytest.param({"JWT_JWKS_URL": "https://provider.example/keys"}, "provider", id="keys of a provider"),
    ],
)
def test_it_makes_no_token_with(clone: Copy, settings: dict[str, str], words: str) -> None:
    done = clone.command("make", "-s", "token", **settings)

    assert_one_sentence(done)
    assert words in done.stderr
