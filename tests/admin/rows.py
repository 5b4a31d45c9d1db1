"""Rows as the service stores them, and the admin's pages of them."""

import re
from html import unescape
from typing import Any

from django.test import Client

from tests.tokens import APP, USER
from userdata.models import StoredValue

LIST = "/admin/userdata/storedvalue/"
SECRET = "a value that is nobody's business"

NEIGHBOUR = f"{USER}0"  # another user, whose id begins with this one's
OWNERS = {
    "basic": ("user", USER),
    "by email": ("email", f"{USER}\x1fu1@example.com"),
    "by account": ("idp", f"{USER}\x1fgoogle\x1f77"),
    "by wallet": ("wallet", f"{USER}\x1f0xabcdef0123456789abcdef0123456789abcdef01"),
}


def keep(key: str = "theme", value: str = SECRET, owner: str = USER, app: str = APP, **fields: Any) -> StoredValue:
    return StoredValue.objects.create(
        **{"owner_kind": "user", "owner_id": owner, "key": key, "value": value, "app": app} | fields
    )


def keep_one_of_each(user: str = USER) -> None:
    """A row of each kind of owner, its key named after the kind."""
    for key, (kind, owner) in OWNERS.items():
        keep(key, owner_kind=kind, owner_id=owner.replace(USER, user))


def change(stored: StoredValue) -> str:
    return f"{LIST}{stored.pk}/change/"


def listed(client: Client, **query: str) -> list[str]:
    """The keys on the list's page, in its order."""
    html = client.get(LIST, query).content.decode()
    return [unescape(key) for key in re.findall(r"<a [^>]*><bdi>(.*?)</bdi></a>", html)]
