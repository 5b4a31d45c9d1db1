"""Which members of a JSON Web Key Set verify what."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.keymaker import jwk, private_jwk, private_key, signed
from userdata.identity.key_set import read_key_set

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_it_finds_the_key_that_verifies_a_token(alg: str) -> None:
    keys = read_key_set([jwk("other", "ES256"), jwk("a", alg)], ALGORITHMS)

    assert jwt.PyJWS().decode(signed("a", alg), keys["a", alg], algorithms=[alg]) == b"payload"


@pytest.mark.parametrize(
    "members",
    [{"use": None}, {"alg": None}, {"use": None, "alg": None}, {"key_ops": ["verify"]}, {"key_ops": ["x", "verify"]}],
)
def test_what_a_provider_leaves_out_is_not_missed(members: dict[str, Any]) -> None:
    assert ("a", "RS256") in read_key_set([jwk("a", "RS256", **members)], ALGORITHMS)


def test_a_null_stands_for_what_is_left_out() -> None:
    nulls = {"use": None, "alg": None, "key_ops": None, "d": None}

    assert ("a", "RS256") in read_key_set([jwk("a", "RS256") | nulls], ALGORITHMS)


def test_a_key_without_an_algorithm_verifies_all_that_its_type_can() -> None:
    keys = read_key_set([jwk("a", "RS256", alg=None), jwk("b", "ES384", alg=None)], ALGORITHMS)

    assert keys.keys() == {("a", "RS256"), ("a", "PS256"), ("b", "ES384")} | {
        (None, "RS256"),
        (None, "PS256"),
        (None, "ES384"),
    }


@pytest.mark.parametrize(
    ("published", "alg"),
    [
        pytest.param(jwk("a", "RS256"), "ES256", id="RSA for ES256"),
        pytest.param(jwk("a", "ES256"), "RS256", id="EC for RS256"),
        pytest.param(jwk("a", "ES256", alg=None), "ES384", id="P-256 for ES384"),
        pytest.param(jwk("a", "ES512", alg=None), "ES256", id="P-521 for ES256"),
        pytest.param(jwk("a", "ES256K", alg=None), "ES256", id="secp256k1 for ES256"),
        pytest.param(jwk("a", "EdDSA"), "ES256", id="Ed25519 for ES256"),
        pytest.param(jwk("a", "RS256"), "PS256", id="a key published for RS256 only"),
        pytest.param(jwk("a", "RS256", bits=1024), "RS256", id="1024 bits"),
        pytest.param(jwk("a", use="enc"), "ES256", id="for encryption"),
        pytest.param(jwk("a", use="SIG"), "ES256", id="for an unknown use"),
        pytest.param(jwk("a", key_ops=["sign"]), "ES256", id="for signing only"),
        pytest.param(jwk("a", key_ops="verify"), "ES256", id="ill-formed operations"),
        pytest.param(jwk("a", x="AAAA"), "ES256", id="not on its curve"),
        pytest.param(jwk("a", kty="oct", k="c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"), "ES256", id="a secret"),
        pytest.param(jwk("a", kty=["EC"]), "ES256", id="ill-formed type"),
        pytest.param(jwk(7), "ES256", id="a number for a name"),
        pytest.param(jwk("A"), "ES256", id="another name"),
        pytest.param(private_jwk("a"), "ES256", id="a private key"),
        pytest.param("a", "ES256", id="not an object"),
    ],
)
def test_a_key_that_does_not_fit_is_passed_over(published: Any, alg: str) -> None:
    keys = read_key_set([published, jwk("good", "RS256"), jwk("good", "ES256")], ALGORITHMS)

    assert ("a", alg) not in keys
    assert {("good", "RS256"), ("good", "ES256")} <= keys.keys()


def test_keys_that_share_a_name_are_told_apart_by_fit() -> None:
    keys = read_key_set([jwk("a", "ES256"), jwk("a", "RS256"), jwk("a", "ES384")], ALGORITHMS)

    for alg in ("ES256", "RS256", "ES384"):
        assert keys["a", alg] == private_key("a", alg).public_key()


def test_of_two_keys_with_the_same_name_and_algorithm_the_first_counts() -> None:
    keys = read_key_set([jwk("a"), jwk("b") | {"kid": "a"}], ALGORITHMS)

    assert keys["a", "ES256"] == private_key("a").public_key()


def test_a_token_without_kid_needs_a_key_that_is_alone_in_fitting() -> None:
    keys = read_key_set([jwk("a", "RS256"), jwk("b"), jwk("c"), jwk("d", "ES384", use="enc")], ALGORITHMS)

    assert keys[None, "RS256"] == keys["a", "RS256"]
    assert not {(None, "ES256"), (None, "ES384")} & keys.keys()


def test_algorithms_that_are_not_configured_have_no_key() -> None:
    keys = read_key_set([jwk("a", "RS256"), jwk("b", "ES256")], ["ES256"])

    assert keys.keys() == {("b", "ES256"), (None, "ES256")}


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid", "k", "d"]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.text()
                | st.sampled_from(["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "AQAB"]),
                lambda some: st.lists(some, max_size=2) | st.dictionaries(st.text(), some, max_size=2),
            ),
        )
        | st.integers()
        | st.none()
    )
)
def test_any_key_set_whatever_can_be_read(members: list[Any]) -> None:
    good = [jwk("good")]

    assert ("good", "ES256") in read_key_set(members + good, ALGORITHMS)
