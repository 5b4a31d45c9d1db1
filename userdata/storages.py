"""The five storages: which field a request names one by, what in the token proves whose it is, and what fails."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from userdata.exceptions import AccessDenied, IdentityProviderNotFound, WalletNotExists
from userdata.identity import Principal, normalise_wallet
from userdata.models import AccessScope, OwnerKind
from userdata.serializers import IdentityProviderFields, NoFields, WalletFields
from userdata.storage import Owner

SEPARATOR = "\x1f"  # between the parts of an owner's id, none of which may hold it


class Storage:
    """One storage of a person's data. It is chosen by the path, and the person by the token."""

    name: ClassVar[str]
    kind: ClassVar[OwnerKind]
    fields: ClassVar[type[serializers.Serializer[Any]]] = NoFields
    always_200: ClassVar[bool] = True
    """Whether endpoints answer every outcome with status 200: a published client takes any other for success."""

    default_scope: ClassVar[AccessScope] = AccessScope.PUBLIC

    def authorize(self, principal: Principal, scopes: frozenset[str]) -> None:
        """Raises `AccessDenied` where the token can't prove whose data it is, whatever the request says."""

    def owner(self, principal: Principal, params: Mapping[str, Any]) -> Owner:
        """Whose data it is. Raises `Failure` where the token does not prove what the request names."""
        raise NotImplementedError


class UserStorage(Storage):
    """By the user id."""

    name = "by-user-id"
    kind = OwnerKind.USER

    def owner(self, principal: Principal, params: Mapping[str, Any]) -> Owner:
        return Owner(self.kind.value, principal.sub)


class BasicStorage(UserStorage):
    """By the user id as well, under the paths that came first."""

    name = "basic"
    always_200 = False
    default_scope = AccessScope.PRIVATE


class EmailStorage(Storage):
    """By the pair of user and verified email: an address may change hands, so it proves nobody by itself."""

    name = "by-email"
    kind = OwnerKind.EMAIL

    def authorize(self, principal: Principal, scopes: frozenset[str]) -> None:
        if principal.email is None:
            raise AccessDenied("The token names no verified email.", scopes)

    def owner(self, principal: Principal, params: Mapping[str, Any]) -> Owner:
        return Owner(self.kind.value, f"{principal.sub}{SEPARATOR}{principal.email}")


class IdentityProviderStorage(Storage):
    """By the pair of user and account at an identity provider."""

    name = "by-idp"
    kind = OwnerKind.IDENTITY_PROVIDER
    fields = IdentityProviderFields

    def owner(self, principal: Principal, params: Mapping[str, Any]) -> Owner:
        name = params["identity_provider"]
        account = principal.accounts.get(name)
        if account is None:
            # Unknown, not offered and not linked are not to be told apart.
            raise IdentityProviderNotFound("identity_provider names no account of this user.")
        return Owner(self.kind.value, f"{principal.sub}{SEPARATOR}{name}{SEPARATOR}{account}")


class WalletStorage(Storage):
    """By the pair of user and wallet."""

    name = "by-wallet"
    kind = OwnerKind.WALLET
    fields = WalletFields

    def owner(self, principal: Principal, params: Mapping[str, Any]) -> Owner:
        asked = params.get("wallet_address")
        if principal.wallet is None or (asked and normalise_wallet(asked) != principal.wallet):
            # Somebody else's wallet and none at all are not to be told apart.
            raise WalletNotExists("wallet_address names no wallet of this user.")
        return Owner(self.kind.value, f"{principal.sub}{SEPARATOR}{principal.wallet}")


BASIC = BasicStorage()
USER_ID = UserStorage()
EMAIL = EmailStorage()
IDP = IdentityProviderStorage()
WALLET = WalletStorage()
