"""Whom a request speaks for, as far as the token proves it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from userdata.text import CONTROL, is_unicode

_hex_address = re.compile("0x[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class Principal:
    """The user, the app and its scopes; an email, wallet or account only where the token proves it."""

    sub: str
    app: str
    scopes: frozenset[str]
    email: str | None = None  # ASCII letters lowered
    wallet: str | None = None  # normalised
    accounts: Mapping[str, str] = field(default_factory=dict, hash=False)  # identity provider → account id

    # What DRF asks of a user: its throttle by user counts by the key.
    is_authenticated = True

    @property
    def pk(self) -> str:
        return self.sub


def plain_text(value: object, max_bytes: int = 255) -> str | None:
    """The value if it can identify a row: 1 to `max_bytes` bytes of UTF-8 without control characters."""
    if type(value) is not str or CONTROL.search(value) or not is_unicode(value):
        return None
    return value if 1 <= len(value.encode()) <= max_bytes else None


def verified_email(claims: Mapping[str, Any]) -> str | None:
    email = plain_text(claims.get("email"), max_bytes=254)
    if email is None or email.count("@") != 1 or claims.get("email_verified") is not True:
        return None
    return email.encode().lower().decode()  # of bytes, only ASCII letters are lowered


def proven_wallet(claims: Mapping[str, Any]) -> str | None:
    """The token's wallet, unless the token says that it is not proven."""
    address = plain_text(claims.get("wallet_address"))
    return normalise_wallet(address) if address and claims.get("is_wallet_verified", True) is True else None


def normalise_wallet(address: str) -> str:
    """Hexadecimal addresses in small letters, as the case of theirs is a checksum (EIP-55); others as they are."""
    return address.lower() if _hex_address.fullmatch(address) else address


def linked_accounts(claims: Mapping[str, Any], account_claims: Mapping[str, str]) -> dict[str, str]:
    """The account ids by identity provider; `account_claims` names the claim that holds each provider's."""
    values = {provider: claims.get(claim) for provider, claim in account_claims.items()}
    ids = {provider: plain_text(str(value) if type(value) is int else value) for provider, value in values.items()}
    return {provider: account for provider, account in ids.items() if account}
