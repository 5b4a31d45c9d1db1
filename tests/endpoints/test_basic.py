"""Basic storage, `/user-data/set` and `/user-data/get`: acceptance cases 10 to 17."""

from tests.endpoints.conftest import Play, Stored
from tests.endpoints.family import K101, A, B

SET = {"value_key": "k", "value_data": "v"}
V = {"result": 0, "values": [{"value_key": "k", "value_data": "v"}]}
NOTHING = {"result": 0, "values": []}


def test_an_app_reads_what_it_set_and_no_other_app_does(play: Play, stored: Stored) -> None:
    play(
        "/user-data/",
        [
            (10, A, "set", SET, {"result": 0}),
            (11, B, "set", SET, {"result": -6}),
            (11, A, "get", {"value_keys": ["k"]}, V),
            (12, A, "set", {"value_key": "", "value_data": "v"}, {"result": -7}),
            (13, A, "get", {"value_keys": ["no", "k", "k"]}, V),
            (14, A, "get", {"value_keys": ["no"]}, NOTHING),
            (14, A, "get", {"value_keys": []}, NOTHING),
            (14, B, "get", {"value_keys": ["k"]}, NOTHING),
            (15, A, "get", {"value_keys": K101}, {"result": -6, "values": []}),
            (16, A, "get", {"value_keys": "k"}, {"result": -5, "values": []}),
            (16, A, "get", {"value_keys": ["k", 1]}, {"result": -5, "values": []}),
            (16, A, "get", {}, {"result": -5, "values": []}),
            (17, A, "/user-data/by-user-id/get", {"value_keys": ["k"]}, V),
        ],
    )
    row = stored.get()
    assert (row.owner_kind, row.owner_id, row.key, row.value) == ("user", "u1", "k", "v")
    assert (row.app, row.access_scope, row.revision) == ("a1", 0, 1)


def test_as_many_keys_as_a_request_may_name_are_read(play: Play) -> None:
    values = [{"value_key": key, "value_data": "v"} for key in K101[:100]]
    play(
        "/user-data/",
        [
            *((15, A, "set", {"value_key": key, "value_data": "v"}, {"result": 0}) for key in K101),
            (15, A, "get", {"value_keys": K101[:100]}, {"result": 0, "values": values}),
            (15, A, "get", {"value_keys": ["k0"] * 100}, {"result": 0, "values": values[:1]}),
            (15, A, "get", {"value_keys": ["k0"] * 101}, {"result": -6, "values": []}),
        ],
    )


def test_an_access_scope_means_nothing_to_basic_storage(play: Play, stored: Stored) -> None:
    play(
        "/user-data/",
        [
            (10, A, "set", SET | {"access_scope": 1}, {"result": 0}),
            (10, A, "set", SET | {"access_scope": "of no storage"}, {"result": 0}),
        ],
    )
    assert stored.get().access_scope == 0
