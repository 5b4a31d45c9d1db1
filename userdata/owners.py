"""Owners as people read them, and everything that is kept for a user, by whatever it is kept."""

from collections.abc import Mapping, Sequence

from django.db.models import Q, QuerySet

from userdata.models import OwnerKind, StoredValue
from userdata.storages import SEPARATOR

PARTS: Mapping[str, Sequence[str]] = {
    OwnerKind.USER: ["user"],
    OwnerKind.EMAIL: ["user", "email"],
    OwnerKind.IDENTITY_PROVIDER: ["user", "provider", "account"],
    OwnerKind.WALLET: ["user", "wallet"],
}


def parts(stored: StoredValue) -> dict[str, str]:
    """The parts of a row's owner by name, the user first."""
    return dict(zip(PARTS[stored.owner_kind], stored.owner_id.split(SEPARATOR), strict=False))


def rows_of(user: str) -> QuerySet[StoredValue]:
    """All rows of a user, of every kind of owner; found by the unique index, which compares byte by byte."""
    beyond = chr(ord(SEPARATOR) + 1)
    by_user = Q(owner_kind=OwnerKind.USER, owner_id=user)
    by_more = Q(
        owner_kind__in=[kind for kind, names in PARTS.items() if len(names) > 1],
        owner_id__gte=user + SEPARATOR,
        owner_id__lt=user + beyond,
    )
    return StoredValue.objects.filter(by_user | by_more)
