"""What holds for any key, and for any string that is asked for as if it were one."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.endpoints.conftest import Ask, Rows, Stored, exact
from tests.endpoints.family import STORAGES, A, B, a

RIGHT_TO_LEFT = "\u05d0\u05d1\u0627\u0644\u202e\u202b\u2067\u200f\U0001e900"
ODD = [
    *"/%2F5?#&=+ .\\\"'\u00a0\u2028\ufeff\ufffd\uffff",
    *RIGHT_TO_LEFT,
    "e\u0301",
    "\u00e9",
    "\U0001f511",
    "\U0010ffff",
]
allowed = st.characters(exclude_categories=("Cs", "Cc"))
keys = st.text(st.sampled_from([odd for odd in ODD if len(odd) == 1]) | allowed, min_size=1, max_size=128)
apps = st.text(st.sampled_from([*"/%2F5", "\u05d0", "\U0001f511"]) | allowed, min_size=1, max_size=60)
anything = st.text(
    st.sampled_from([*"/%2Fa1\0\x07\x1f\x7f\x9f\ud800\udfff\ud83d\udd11"]) | st.characters(), max_size=140
)
below = st.sampled_from([path for path in STORAGES if path != "/user-data/"])


def examples(number: int) -> Callable[..., Any]:
    """Nothing is kept between runs, and a slow machine is no failure."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def is_key(text: str) -> bool:
    return 1 <= len(text) <= 128 and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)


def listed(app: str, key: str) -> str:
    return app.replace("%", "%25").replace("/", "%2F") + "/" + key


@examples(60)
@given(below=below, app=apps, key=keys)
@example(below="/user-data/by-user-id/", app="a3", key="\U0001f511" * 128)
@example(below="/user-data/by-email/", app="a/b", key="/%2F/\u202e\u05d0")
@example(below="/user-data/by-idp/", app="%2F", key="/")
@example(below="/user-data/by-wallet/", app="\u05d0/\u202e%", key="\u05d0\u05d1/\u0627")
def test_any_allowed_key_is_set_read_listed_shared_and_deleted_code_point_for_code_point(
    ask: Ask, stored: Stored, below: str, app: str, key: str
) -> None:
    stored.all().delete()
    owner, field, name = a(azp=app), STORAGES[below], listed(app, key)

    def do(action: str, bearer: str = owner, **fields: Any) -> Any:
        return exact(ask(below + action, {**field, **fields}, bearer))

    assert do("set", value_key=key, value_data="v") == {"result": 0}
    assert do("get", value_keys=[key]) == {"result": 0, "values": [{"value_key": key, "value_data": "v"}]}
    assert do("list-get") == {"result": 0, "keys_private": [], "keys_public": [key]}
    assert do("shared-list-get", B) == {"result": 0, "keys_shared": [name], "next_search_id": ""}
    page = do("shared-list-get", B, page_size=1)
    assert do("shared-list-get", B, search_id=page["next_search_id"])["keys_shared"] == []
    assert do("get", B, value_keys=[name]) == {"result": 0, "values": [{"value_key": name, "value_data": "v"}]}
    assert do("get", B, value_keys=[key]) == {"result": 1, "values": []}
    assert do("delete", B, value_keys=[key, name])["result"] == 1
    gone = {"result": 0, "keys_delete_results": [{"value_key": key, "is_deleted": True}]}
    assert do("delete", value_keys=[key]) == gone
    assert not stored.exists()


@examples(120)
@given(below=below, asked=st.lists(anything, max_size=6), escaped=st.booleans())
@example(below="/user-data/by-user-id/", asked=["", "\ud800", "a\udfff", "k" * 129, "\0", "\x9f"], escaped=True)
@example(below="/user-data/by-email/", asked=["a1/\ud800", "\ud800/k", "a1/", "/k", "a1/" + "k" * 129], escaped=True)
def test_any_strings_may_be_asked_for_and_deleted_and_come_back_as_they_were_given(
    ask: Ask, stored: Stored, rows: Callable[[], Rows], below: str, asked: list[str], escaped: bool
) -> None:
    if not stored.exists():
        for bearer, key in ((A, "k"), (B, "p")):
            body = {**STORAGES[below], "value_key": key, "value_data": "v"}
            assert exact(ask(below + "set", body, bearer)) == {"result": 0}
    before = rows()
    asked = [name for name in asked if name not in ("k", "p", "a1/k", "a2/p")]
    is_unicode = not re.search("[\ud800-\udfff]", "".join(asked))
    content = json.dumps({**STORAGES[below], "value_keys": asked}, ensure_ascii=escaped or not is_unicode).encode()

    read = exact(ask(below + "get", content))
    deleted = exact(ask(below + "delete", content))

    # A name with half of a surrogate pair, and its other half, are one letter as soon as they stand side by side.
    distinct = list(dict.fromkeys(json.loads(content)["value_keys"]))
    assert read == {"result": 1, "values": []}
    assert deleted == {
        "result": 1,
        "keys_delete_results": [{"value_key": name, "is_deleted": False} for name in distinct],
    }
    assert rows() == before


@examples(120)
@given(below=below, key=anything)
def test_a_set_takes_exactly_the_strings_that_are_keys(ask: Ask, stored: Stored, below: str, key: str) -> None:
    stored.all().delete()
    is_later = below in ("/user-data/by-idp/", "/user-data/by-wallet/")
    key = json.loads(json.dumps(key))  # two halves of a surrogate pair are one letter in JSON

    response = ask(below + "set", {**STORAGES[below], "value_key": key, "value_data": "v"})

    assert exact(response) == {"result": 0 if is_key(key) else -8 if is_later else -7}
    assert list(stored.values_list("key", flat=True)) == ([key] if is_key(key) else [])


@examples(40)
@given(below=below, names=st.lists(keys, min_size=1, max_size=8, unique=True), order=st.randoms(use_true_random=False))
def test_what_is_found_comes_in_the_order_asked_and_lists_in_that_of_code_points(
    ask: Ask, stored: Stored, below: str, names: list[str], order: Any
) -> None:
    stored.all().delete()
    field = STORAGES[below]
    for name in names:
        assert exact(ask(below + "set", {**field, "value_key": name, "value_data": name[::-1]})) == {"result": 0}
    asked = [*names, *names, ""]
    order.shuffle(asked)

    read = exact(ask(below + "get", {**field, "value_keys": asked}))
    own = exact(ask(below + "list-get", {**field}))
    shared = exact(ask(below + "shared-list-get", {**field}, B))

    in_order = [name for name in dict.fromkeys(asked) if name]
    assert read["values"] == [{"value_key": name, "value_data": name[::-1]} for name in in_order]
    assert own["keys_public"] == sorted(names)
    assert shared["keys_shared"] == [f"a1/{name}" for name in sorted(names)]


@pytest.mark.parametrize("name", ["\ud800", "a\udfff", "\ud83d/k", "a1/\udd11"])
def test_half_of_a_surrogate_pair_comes_back_escaped(ask: Ask, name: str) -> None:
    response = ask("/user-data/by-user-id/delete", {"value_keys": [name, "\u00e9"]})

    assert exact(response)["keys_delete_results"][0] == {"value_key": name, "is_deleted": False}
    assert response.content.isascii()
