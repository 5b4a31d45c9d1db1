"""The law as a model in memory: what the service has to answer, and what it then holds.

Written from the API document alone: it shares no code with the service.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_KEYS_PER_APP = 6
MAX_KEYS_PER_REQUEST = 5
MAX_VALUE_BYTES = 12
MAX_VALUES_BYTES = 10  # less than one value may have, which is given all the same

Answer = dict[str, Any]

EMPTY: dict[str, Answer] = {
    "set": {},
    "get": {"values": []},
    "list-get": {"keys_private": [], "keys_public": []},
    "shared-list-get": {"keys_shared": [], "next_search_id": ""},
    "delete": {"keys_delete_results": []},
}


class Place(NamedTuple):
    """Stands for a `next_search_id`: opaque, but it leads behind this key."""

    key: str


class Caller(NamedTuple):
    """What a token says; a part that it does not prove is None."""

    sub: str
    app: str
    scopes: frozenset[str]
    email: str | None
    wallet: str | None
    accounts: tuple[tuple[str, str], ...]


class Row(NamedTuple):
    app: str
    value: str
    access_scope: int


class Failed(Exception):
    def __init__(self, result: int) -> None:
        self.result = result


@dataclass
class Model:
    rows: dict[tuple[str, str], dict[str, Row]] = field(default_factory=dict)
    """By owner and key."""
    places: dict[str, str] = field(default_factory=dict)
    """The key behind which each `search_id` leads that was told so far."""

    def answer(self, caller: Caller | None, storage: str, action: str, body: Any) -> Answer:
        """What has to be answered; a success is remembered."""
        echo = body["request_id"] if isinstance(body, dict) and is_int64(body.get("request_id")) else None
        try:
            fields = self._do(caller, storage, action, body)
        except Failed as failed:
            fields = {"result": failed.result, **EMPTY[action]}
        return fields if echo is None else {"request_id": echo, **fields}

    def _do(self, caller: Caller | None, storage: str, action: str, body: Any) -> Answer:
        scope = "user-data-set" if action in ("set", "delete") else "user-data-get"
        if caller is None:
            raise Failed(-1)
        if not {"email", scope} <= caller.scopes or (storage == "by-email" and caller.email is None):
            raise Failed(-3)
        if not isinstance(body, dict) or not (body.get("request_id") is None or is_int64(body["request_id"])):
            raise Failed(-5)
        CHECKS[action](body, storage)
        keys = self.rows.setdefault(owner(caller, storage, body), {})
        later = storage in ("by-idp", "by-wallet")  # where -6 is the identity's, the others come one later
        do = {
            "set": self._set,
            "get": self._get,
            "list-get": self._list,
            "shared-list-get": self._shared,
            "delete": self._delete,
        }[action]
        return do(caller.app, keys, body, storage, later)

    def _set(self, app: str, keys: dict[str, Row], body: Answer, storage: str, later: bool) -> Answer:
        key = body["value_key"]
        if not is_key(key):
            raise Failed(-7 - later)
        if key in keys and keys[key].app != app:
            raise Failed(-6 - later)
        if key not in keys and sum(row.app == app for row in keys.values()) >= MAX_KEYS_PER_APP:
            raise Failed(-5)
        scope = body.get("access_scope")
        keys[key] = Row(app, body["value_data"], 0 if storage == "basic" else 1 if scope is None else scope)
        return {"result": 0}

    def _get(self, app: str, keys: dict[str, Row], body: Answer, storage: str, later: bool) -> Answer:
        if len(body["value_keys"]) > MAX_KEYS_PER_REQUEST:
            raise Failed(-6 - later)
        readable = {listed(row.app, key): row.value for key, row in keys.items() if row.access_scope == 1}
        readable |= {key: row.value for key, row in keys.items() if row.app == app}
        found = {name: readable[name] for name in body["value_keys"] if name in readable}
        if len(found) > 1 and sum(len(value.encode()) for value in found.values()) > MAX_VALUES_BYTES:
            raise Failed(-6 - later)
        values = [{"value_key": name, "value_data": value} for name, value in found.items()]
        return {"result": 0 if values or storage == "basic" else 1, "values": values}

    def _list(self, app: str, keys: dict[str, Row], body: Answer, storage: str, later: bool) -> Answer:
        own: list[list[str]] = [[], []]
        for key in sorted(keys):
            if keys[key].app == app:
                own[keys[key].access_scope].append(key)
        return {"result": 0 if any(own) else 1, "keys_private": own[0], "keys_public": own[1]}

    def _shared(self, app: str, keys: dict[str, Row], body: Answer, storage: str, later: bool) -> Answer:
        search_id, size = body.get("search_id") or "", body.get("page_size") or 100
        after = self.places[search_id] if search_id else ""
        behind = [k for k in sorted(keys) if k > after and keys[k].app != app and keys[k].access_scope == 1]
        page = behind[:size]
        return {
            "result": 0 if page or search_id else 1,
            "keys_shared": [listed(keys[key].app, key) for key in page],
            "next_search_id": Place(page[-1]) if len(page) == size else "",
        }

    def _delete(self, app: str, keys: dict[str, Row], body: Answer, storage: str, later: bool) -> Answer:
        if len(body["value_keys"]) > MAX_KEYS_PER_REQUEST:
            raise Failed(-5)
        gone = {key: key in keys and keys[key].app == app for key in body["value_keys"]}
        for key in (key for key, is_deleted in gone.items() if is_deleted):
            del keys[key]
        return {
            "result": 0 if any(gone.values()) else 1,
            "keys_delete_results": [{"value_key": key, "is_deleted": is_deleted} for key, is_deleted in gone.items()],
        }


def owner(caller: Caller, storage: str, body: Answer) -> tuple[str, str]:
    """The owner as the table names it."""
    if storage == "by-email":
        return "email", f"{caller.sub}\x1f{caller.email}"
    if storage == "by-idp":
        name = body.get("identity_provider")
        if name is None:
            (name,) = body["identity_providers"]
        accounts = dict(caller.accounts)
        if name not in accounts:
            raise Failed(-6)
        return "idp", f"{caller.sub}\x1f{name}\x1f{accounts[name]}"
    if storage == "by-wallet":
        asked = body.get("wallet_address")
        if caller.wallet is None or (asked and asked.lower() != caller.wallet):
            raise Failed(-6)
        return "wallet", f"{caller.sub}\x1f{caller.wallet}"
    return "user", caller.sub


def listed(app: str, key: str) -> str:
    return app.replace("%", "%25").replace("/", "%2F") + "/" + key


def is_int64(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def is_key(key: str) -> bool:
    return 1 <= len(key) <= 128 and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", key)


def require(holds: bool) -> None:
    if not holds:
        raise Failed(-5)


def check_storage(body: Answer, storage: str) -> None:
    provider, providers, wallet = map(body.get, ("identity_provider", "identity_providers", "wallet_address"))
    if storage == "by-idp":
        require(provider is None or type(provider) is str)
        one = type(providers) is list and len(providers) == 1 and type(providers[0]) is str
        require(provider is not None or one)
    if storage == "by-wallet":
        require(wallet is None or type(wallet) is str)
        require(bool(wallet) or (provider is None and providers is None))


def check_set(body: Answer, storage: str) -> None:
    check_storage(body, storage)
    value, scope = body.get("value_data"), body.get("access_scope")
    require(type(body.get("value_key")) is str)
    if type(value) is not str:
        raise Failed(-5)
    require(len(value.encode(errors="surrogatepass")) <= MAX_VALUE_BYTES)
    require(not re.search("[\x00\ud800-\udfff]", value))
    require(storage == "basic" or scope is None or (type(scope) is int and scope in (0, 1)))


def check_keys(body: Answer, storage: str) -> None:
    check_storage(body, storage)
    require(type(body.get("value_keys")) is list and all(type(key) is str for key in body["value_keys"]))


def check_page(body: Answer, storage: str) -> None:
    check_storage(body, storage)
    search_id, size = body.get("search_id"), body.get("page_size")
    require(search_id is None or (type(search_id) is str and search_id != "?"))
    require(size is None or (type(size) is int and 0 <= size <= 1000))


CHECKS = {
    "set": check_set,
    "get": check_keys,
    "list-get": check_storage,
    "shared-list-get": check_page,
    "delete": check_keys,
}
