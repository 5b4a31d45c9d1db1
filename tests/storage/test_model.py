"""The table: fit for distribution by owner, and every entry of its index small enough."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from django.db import connection

from tests.application import Response, Running
from tests.tokens import token
from userdata.models import StoredValue

# A distributed table needs the column that it is distributed by in each of its unique constraints. This one has not:
# Django's admin addresses a row by one column. To distribute the table, the primary key has to become (owner_kind,
# owner_id, key), and the admin has to do without, or `id` has to be joined by owner_id; docs/operations.md says so.
SURROGATE = {"userdata_storedvalue_pkey": "btree (id)"}
PROVIDER = "p" * 64


def test_each_index_leads_with_the_owner_but_for_the_admins_surrogate(stored: Any) -> None:
    """There are no others, so that most overwrites touch no index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [StoredValue._meta.db_table])
        indexes = {name: definition.partition(" USING ")[2] for name, definition in cursor.fetchall()}

    assert indexes == SURROGATE | {
        "one_row_per_owner_and_its_key": "btree (owner_kind, owner_id, key) INCLUDE (app, access_scope)"
    }


def test_text_is_compared_byte_by_byte(stored: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute JOIN pg_collation ON attcollation = pg_collation.oid"
            " WHERE attrelid = %s::regclass AND collname = 'C' ORDER BY attname",
            [StoredValue._meta.db_table],
        )
        assert [name for (name,) in cursor.fetchall()] == ["app", "key", "owner_id", "owner_kind"]


def letters(size: int, seed: int) -> str:
    """So many bytes of UTF-8, in letters of four bytes each as far as that goes, which no compression makes smaller."""
    random = Random(seed)
    return "".join(chr(random.randrange(0x20000, 0x2FFFF)) for _ in range(size // 4)) + "x" * (size % 4)


@pytest.fixture
def long_provider(settings: Any, running: Running) -> Iterator[None]:
    offered = settings.JWT_IDENTITY_PROVIDERS
    settings.JWT_IDENTITY_PROVIDERS = [PROVIDER]
    running.restart()
    yield
    settings.JWT_IDENTITY_PROVIDERS = offered
    running.restart()


@pytest.mark.parametrize(
    ("path", "field", "owner_bytes"),
    [
        pytest.param("/user-data/set", {}, 255, id="basic"),
        pytest.param("/user-data/by-user-id/set", {}, 255, id="user id"),
        pytest.param("/user-data/by-email/set", {}, 255 + 1 + 254, id="email"),
        pytest.param("/user-data/by-idp/set", {"identity_provider": PROVIDER}, 255 + 1 + 64 + 1 + 255, id="account"),
        pytest.param("/user-data/by-wallet/set", {}, 255 + 1 + 255, id="wallet"),
    ],
)
def test_an_entry_of_the_index_holds_every_part_at_its_limit(
    post: Callable[..., Response],
    stored: Any,
    long_provider: None,
    path: str,
    field: dict[str, str],
    owner_bytes: int,
) -> None:
    claims: dict[str, Any] = {
        "sub": letters(255, 1),
        "azp": letters(255, 2),
        "email": letters(252, 3) + "@x",
        "wallet_address": letters(255, 4),
        "is_wallet_verified": True,
        f"{PROVIDER}_user_id": letters(255, 5),
    }
    bearer = token(**claims)
    body = field | {"value_key": letters(512, 6), "value_data": "v"}

    assert post(body, bearer, path).json() == {"result": 0}
    assert post(body | {"value_data": "w"}, bearer, path).json() == {"result": 0}
    row = stored.get()
    assert (row.key, row.app, row.value, row.revision) == (letters(512, 6), letters(255, 2), "w", 2)
    assert len(row.owner_id.encode()) == owner_bytes
