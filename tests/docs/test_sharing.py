"""The picture and the tables of docs/api/storages.md: who sees what."""

import re
from typing import Any

from tests.docs.pages import API, table
from tests.endpoints.family import NOW, OTHER_USER, a

PAGE = API / "storages.md"
SCOPES = {"private": 0, "public": 1}
BELOW = "/user-data/by-user-id/"
NOTHING = {"result": 1, "values": []}


def picture() -> list[list[str]]:
    """Key, app, access scope, and the names by which the apps `notes` and `mail` see it."""
    rows = re.findall(r"^ │ (\S+) +│ (\S+) +│ (\S+) +│ +(\S+) +(\S+)$", PAGE.read_text(), re.MULTILINE)
    return [list(row) for row in rows]


def token(app: str, **changes: Any) -> str:
    return a(azp=app, exp=NOW + 3600, **changes)


def store(post: Any, app: str, key: str, access_scope: int) -> None:
    fields = {"value_key": key, "value_data": f"of {app}", "access_scope": access_scope}
    assert post(fields, token(app), path=f"{BELOW}set").json() == {"result": 0}


def got(post: Any, bearer: str, name: str) -> Any:
    return post({"value_keys": [name]}, bearer, path=f"{BELOW}get").json()


def test_an_app_sees_what_the_picture_says(post: Any) -> None:
    assert len(picture()) == 4
    for key, app, scope, *_ in picture():
        store(post, app, key, SCOPES[scope])

    for key, app, _, *names in picture():
        for reader, name in zip(["notes", "mail"], names, strict=True):
            hidden = [key, f"{app}/{key}"] if name == "–" else [key] if reader != app else []
            for other in hidden:
                assert got(post, token(reader), other) == NOTHING
            if name != "–":
                found = {"result": 0, "values": [{"value_key": name, "value_data": f"of {app}"}]}
                assert got(post, token(reader), name) == found
                assert got(post, token(reader, **OTHER_USER), name) == NOTHING


def test_names_are_written_as_the_table_says(post: Any) -> None:
    rows = [[cell.strip("`") for cell in row] for row in table(PAGE, "app").rows]
    assert len(rows) > 3
    for app, key, name in rows:
        store(post, app, key, SCOPES["public"])

        listed = post({}, token("reader"), path=f"{BELOW}shared-list-get").json()["keys_shared"]

        assert name in listed
        assert got(post, token("reader"), name)["values"] == [{"value_key": name, "value_data": f"of {app}"}]
        assert post({"value_keys": [key]}, token(app), path=f"{BELOW}delete").json()["result"] == 0
