"""What a token proves of its user beyond the user's id: an email, a wallet, accounts elsewhere."""

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from tests.identity.door import HEADER, outcome, signed, verify
from tests.tokens import ABSENT, claims, token
from userdata.identity import Principal, normalise_wallet

pytestmark = pytest.mark.usefixtures("clock")

HEX = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
HEX_LOWERED = "0xabcdef0123456789abcdef0123456789abcdef01"
SOLANA = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T"


@pytest.mark.parametrize(
    ("change", "email"),
    [
        ({"email": "u1@example.com"}, "u1@example.com"),
        ({"email": "U1@Example.COM"}, "u1@example.com"),
        ({"email": "\u00c4\u0130X@EXAMPLE.com"}, "\u00c4\u0130x@example.com"),
        ({"email": "a" * 242 + "@example.com"}, "a" * 242 + "@example.com"),
        ({"email": "a" * 243 + "@example.com"}, None),
        ({"email": "\u20ac" * 81 + "@example.com"}, None),
        ({"email": "u1.example.com"}, None),
        ({"email": "u1@u2@example.com"}, None),
        ({"email": ""}, None),
        ({"email": None}, None),
        ({"email": ABSENT}, None),
        ({"email": 7}, None),
        ({"email": ["u1@example.com"]}, None),
        ({"email": "u1@exam\u001fple.com"}, None),
        ({"email": "u1@example.com\n"}, None),
        ({"email": "u1@example.com\u0085"}, None),
        ({"email": "u1\ud800@example.com"}, None),
        ({"email_verified": False}, None),
        ({"email_verified": ABSENT}, None),
        ({"email_verified": None}, None),
        ({"email_verified": "true"}, None),
        ({"email_verified": 1}, None),
    ],
)
def test_an_email_counts_where_the_provider_has_verified_it(change: dict[str, Any], email: str | None) -> None:
    assert verify(token(**change)).principal.email == email


@pytest.mark.parametrize(
    ("change", "wallet"),
    [
        ({"wallet_address": HEX}, HEX_LOWERED),
        ({"wallet_address": HEX, "is_wallet_verified": True}, HEX_LOWERED),
        ({"wallet_address": HEX, "is_wallet_verified": False}, None),
        ({"wallet_address": HEX, "is_wallet_verified": None}, None),
        ({"wallet_address": HEX, "is_wallet_verified": 1}, None),
        ({"wallet_address": HEX, "is_wallet_verified": "true"}, None),
        ({"wallet_address": "0X" + HEX[2:]}, "0X" + HEX[2:]),
        ({"wallet_address": HEX + "0"}, HEX + "0"),
        ({"wallet_address": HEX + "\n"}, None),
        (
            {"wallet_address": "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T"},
            "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T",
        ),
        ({"wallet_address": "w" * 255}, "w" * 255),
        ({"wallet_address": "w" * 256}, None),
        ({"wallet_address": "\u20ac" * 86}, None),
        ({"wallet_address": ""}, None),
        ({"wallet_address": None}, None),
        ({"wallet_address": 7}, None),
        ({"wallet_address": "w\u0000"}, None),
        ({"wallet_address": "w\udfff"}, None),
        ({"is_wallet_verified": True}, None),
    ],
)
def test_a_wallet_counts_unless_the_token_denies_its_proof(change: dict[str, Any], wallet: str | None) -> None:
    assert verify(token(**change)).principal.wallet == wallet


@pytest.mark.parametrize("address", [HEX, HEX_LOWERED, "0x" + HEX[2:].upper()])
def test_the_address_of_a_request_can_be_compared_with_the_tokens(address: str) -> None:
    assert normalise_wallet(address) == HEX_LOWERED


@pytest.mark.parametrize(
    ("account", "accounts"),
    [
        ("77", {"telegram": "77"}),
        (77, {"telegram": "77"}),
        (-77, {"telegram": "-77"}),
        (0, {"telegram": "0"}),
        (10**254, {"telegram": "1" + "0" * 254}),
        (10**255, {}),
        (77.0, {}),
        (True, {}),
        (False, {}),
        (None, {}),
        (ABSENT, {}),
        ("", {}),
        (["77"], {}),
        ({"id": "77"}, {}),
        ("7" * 255, {"telegram": "7" * 255}),
        ("7" * 256, {}),
        ("\u00fc" * 128, {}),
        ("7\u001f7", {}),
        ("7\ud800", {}),
        ("Ab@C", {"telegram": "Ab@C"}),
    ],
)
def test_an_account_counts_where_its_provider_is_configured(account: Any, accounts: dict[str, str]) -> None:
    bearer = token(telegram_user_id=account, twitter_user_id="88")

    assert verify(bearer, identity_providers=["telegram", "google"]).principal.accounts == accounts
    assert verify(bearer).principal.accounts == {}


def test_the_claim_of_an_account_is_configured() -> None:
    trust: dict[str, Any] = {
        "identity_providers": ["google", "my_idp-2"],
        "identity_provider_claim": "https://idp.example/{}/id",
    }
    ids: dict[str, Any] = {"https://idp.example/google/id": 7, "https://idp.example/my_idp-2/id": "8"}
    bearer = token(google_user_id=9, **ids)

    assert verify(bearer, **trust).principal.accounts == {"google": "7", "my_idp-2": "8"}


def test_a_number_that_python_would_not_read_is_no_account_and_no_harm() -> None:
    payload = json.dumps(claims()).encode()[:-1] + b', "telegram_user_id": ' + b"7" * 5000 + b"}"
    bearer = signed(HEADER, payload)

    assert outcome(bearer) == "good"
    assert verify(bearer, identity_providers=["telegram"]).principal.accounts == {}


def test_a_principal_can_not_be_changed() -> None:
    principal = Principal(sub="u1", app="a1", scopes=frozenset())

    with pytest.raises(FrozenInstanceError):
        principal.sub = "u2"  # type: ignore[misc]
    assert not hasattr(principal, "__dict__")
    assert hash(principal) == hash(Principal(sub="u1", app="a1", scopes=frozenset()))
