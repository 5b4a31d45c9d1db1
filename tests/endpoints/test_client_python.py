"""A client written as the published Python one is, against the production server: acceptance case 64."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx2 as httpx
import pytest

from tests.conftest import Server
from tests.endpoints.conftest import Stored
from tests.endpoints.family import NOW, W2, A, B, W, a
from tests.tokens import ABSENT
from userdata.models import StoredValue


class AccessTokenExpired(Exception):
    pass


class ServerError(Exception):
    pass


class DataKeyAccessDenied(Exception):
    pass


class DataKeyInvalid(Exception):
    pass


class NotFound(Exception):
    """Of a wallet or an identity provider."""


Failures = dict[int, type[Exception]]


class Client:
    """What all its storage classes do: no request_id, 2xx is 200 to 298, and the next page follows a full one."""

    path: ClassVar[str]
    field: ClassVar[str] = ""
    set_failures: ClassVar[Failures] = {-6: DataKeyAccessDenied, -7: DataKeyInvalid}
    failures: ClassVar[Failures] = {}

    def __init__(self, http: httpx.Client, token: str, owner: str | None = None) -> None:
        self.http, self.token = http, token
        self.body = {self.field: owner} if self.field and owner is not None else {}

    def post(self, action: str, body: dict[str, Any] | None, failures: Failures) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "HyperID SDK",
            "Authorization": f"Bearer {self.token}",
        }
        content = None if body is None else json.dumps(body).encode()
        response = self.http.post(f"{self.path}/{action}", content=content, headers=headers)
        if not 200 <= response.status_code <= 298:
            raise ServerError
        answer: dict[str, Any] = response.json()
        result = answer["result"]
        if result in (-1, -2, -3):
            raise AccessTokenExpired
        if result in (-4, -5):
            raise ServerError
        if result < 0:
            raise failures.get(result, ValueError)
        return answer

    def set_data(self, key: str, value: str, access_scope: int = 1) -> None:
        body = {**self.body, "value_key": key, "value_data": value, "access_scope": access_scope}
        if self.post("set", body, self.set_failures)["result"] != 0:
            raise ValueError

    def get_data(self, key: str) -> str | None:
        answer = self.post("get", {**self.body, "value_keys": [key]}, self.failures)
        if answer["result"] == 1 or not answer["values"]:
            return None
        value: str = answer["values"][0]["value_data"]
        return value

    def get_keys_list(self) -> tuple[list[str], list[str]] | None:
        answer = self.post("list-get", self.body if self.field else None, self.failures)
        return None if answer["result"] == 1 else (answer["keys_private"], answer["keys_public"])

    def get_keys_list_shared(self) -> list[list[str]] | None:
        """The pages; None as soon as one has the result 1."""
        pages: list[list[str]] = []
        search_id = ""
        while True:
            body = {**self.body, "search_id": search_id, "page_size": 100}
            answer = self.post("shared-list-get", body, self.failures)
            if answer["result"] == 1:
                return None
            pages.append(answer["keys_shared"])
            assert len(pages) < 10, "it would go on for ever"
            if len(answer["keys_shared"]) < 100:
                return pages
            search_id = answer["next_search_id"]

    def delete_data_key(self, key: str) -> None:
        self.post("delete", {**self.body, "value_keys": [key]}, self.failures)


class Email(Client):
    path = "/user-data/by-email"


class UserId(Client):
    path = "/user-data/by-user-id"


class IdentityProvider(Client):
    path = "/user-data/by-idp"
    field = "identity_provider"
    set_failures = {-6: NotFound, -7: DataKeyAccessDenied, -8: DataKeyInvalid}
    failures = {-6: NotFound}


class Wallet(Client):
    path = "/user-data/by-wallet"
    field = "wallet_address"
    set_failures = {-6: NotFound, -7: DataKeyAccessDenied, -8: DataKeyInvalid}
    failures = {-6: NotFound}


STORAGES: list[tuple[type[Client], str | None, tuple[str, str]]] = [
    (UserId, None, ("user", "u1")),
    (Email, None, ("email", "u1\x1fu1@example.com")),
    (IdentityProvider, "telegram", ("idp", "u1\x1ftelegram\x1f77")),
    (Wallet, W, ("wallet", "u1\x1f0xabcdef0123456789abcdef0123456789abcdef01")),
]


@pytest.fixture(params=STORAGES, ids=lambda storage: storage[0].__name__)
def storage(request: pytest.FixtureRequest) -> tuple[type[Client], str | None, tuple[str, str]]:
    one: tuple[type[Client], str | None, tuple[str, str]] = request.param
    return one


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as http:
        yield http


@pytest.fixture
def clients(http: httpx.Client, storage: tuple[type[Client], str | None, tuple[str, str]]) -> tuple[Client, Client]:
    """A and B."""
    kind, owner, _ = storage
    return kind(http, A, owner), kind(http, B, owner)


def test_it_sets_gets_lists_shares_and_deletes(clients: tuple[Client, Client], stored: Stored) -> None:
    one, other = clients
    assert (one.get_data("k"), one.get_keys_list(), other.get_keys_list_shared()) == (None, None, None)

    one.set_data("k", " v\u00e9\n")
    one.set_data("private", "s", access_scope=0)

    assert (one.get_data("k"), one.get_data("private")) == (" v\u00e9\n", "s")
    assert one.get_keys_list() == (["private"], ["k"])
    assert other.get_keys_list() is None
    assert one.get_keys_list_shared() is None
    assert other.get_keys_list_shared() == [["a1/k"]]
    assert (other.get_data("a1/k"), other.get_data("a1/private"), other.get_data("k")) == (" v\u00e9\n", None, None)
    with pytest.raises(DataKeyAccessDenied):
        other.set_data("k", "theirs")
    with pytest.raises(DataKeyInvalid):
        one.set_data("", "v")
    other.delete_data_key("k")
    other.delete_data_key("a1/k")
    assert one.get_data("k") == " v\u00e9\n"
    for key in ("k", "k", "private", "never"):
        one.delete_data_key(key)
    assert (one.get_data("k"), one.get_keys_list(), other.get_keys_list_shared()) == (None, None, None)
    other.set_data("k", "theirs")
    assert stored.values_list("key", "value", "app").get() == ("k", "theirs", "a2")


@pytest.mark.parametrize("number", [0, 99, 100, 101, 250])
def test_lists_of_shared_keys_end_and_are_complete(
    clients: tuple[Client, Client],
    storage: tuple[type[Client], str | None, tuple[str, str]],
    stored: Stored,
    number: int,
) -> None:
    one, other = clients
    _, _, (kind, owner_id) = storage
    stored.bulk_create(
        StoredValue(owner_kind=kind, owner_id=owner_id, key=f"p{n:03}", value="v", app="a1", access_scope=1)
        for n in range(number)
    )

    pages = other.get_keys_list_shared()

    assert (pages is None) == (number == 0)
    assert [name for page in pages or [] for name in page] == [f"a1/p{n:03}" for n in range(number)]
    assert one.get_keys_list_shared() is None
    assert one.get_keys_list() == (([], [f"p{n:03}" for n in range(number)]) if number else None)


def test_a_foreign_wallet_or_provider_is_not_found(http: httpx.Client, stored: Stored) -> None:
    for client in (
        Wallet(http, A, W2),
        Wallet(http, a(is_wallet_verified=False), W),
        IdentityProvider(http, A, "google"),
        IdentityProvider(http, a(telegram_user_id=ABSENT), "telegram"),
    ):
        with pytest.raises(NotFound):
            client.set_data("k", "v")
        with pytest.raises(NotFound):
            client.get_data("k")
        with pytest.raises(NotFound):
            client.get_keys_list()
        with pytest.raises(NotFound):
            client.get_keys_list_shared()
        with pytest.raises(NotFound):
            client.delete_data_key("k")
    assert not stored.exists()


def test_a_token_that_does_not_do_makes_it_ask_for_another(http: httpx.Client, stored: Stored) -> None:
    for bearer in ("x", a(exp=NOW - 3600), a(scope="email"), a(email_verified=False)):
        client = Email(http, bearer)
        with pytest.raises(AccessTokenExpired):
            client.set_data("k", "v")
        with pytest.raises(AccessTokenExpired):
            client.get_data("k")
        with pytest.raises(AccessTokenExpired):
            client.get_keys_list()
        with pytest.raises(AccessTokenExpired):
            client.delete_data_key("k")
    assert not stored.exists()


def test_its_failure_to_store_is_never_taken_for_success(http: httpx.Client, stored: Stored) -> None:
    client = UserId(http, A)
    with pytest.raises(ServerError):
        client.set_data("k", "v" * 262_145)
    with pytest.raises(ServerError):
        client.set_data("k", "v" * 3 * 2**20)
    assert not stored.exists()
