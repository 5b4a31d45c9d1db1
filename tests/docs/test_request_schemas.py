"""The request schemas of /openapi.json hold what the service takes, and nothing else."""

from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.endpoints.family import A

SET = {"value_key": "theme", "value_data": "dark"}
KEYS = {"value_keys": ["theme"]}
IDP = {"identity_provider": "telegram"}


@pytest.fixture(scope="module")
def document() -> Any:
    return Client().get("/openapi.json").json()


@pytest.mark.parametrize(
    ("path", "fields", "valid"),
    [
        ("set", SET, True),
        ("set", SET | {"value_data": "", "request_id": None, "colour": "red"}, True),
        ("set", SET | {"value_key": "k" * 128, "request_id": 2**63 - 1}, True),
        ("set", SET | {"request_id": -(2**63)}, True),
        ("set", SET | {"request_id": 2**63}, False),
        ("set", SET | {"request_id": "7"}, False),
        ("set", SET | {"value_data": 7}, False),
        ("set", SET | {"value_data": "v" * 262_145}, False),
        ("set", SET | {"access_scope": "a field that it does not know"}, True),
        ("set", {"value_key": "theme"}, False),
        ("set", {"value_data": "dark"}, False),
        ("set", SET | {"value_key": ""}, False),
        ("set", SET | {"value_key": "k" * 129}, False),
        ("set", SET | {"value_key": "tab\t"}, False),
        ("set", SET | {"value_key": "\u0085"}, False),
        ("set", [], False),
        ("by-user-id/set", SET | {"access_scope": 0}, True),
        ("by-user-id/set", SET | {"access_scope": None}, True),
        ("by-user-id/set", SET | {"access_scope": 2}, False),
        ("by-user-id/set", SET | {"access_scope": "1"}, False),
        ("get", KEYS, True),
        ("get", {"value_keys": []}, True),
        ("get", {"value_keys": ["k"] * 101}, False),
        ("get", {"value_keys": "theme"}, False),
        ("get", {"value_keys": ["theme", 1]}, False),
        ("get", {}, False),
        ("by-email/delete", KEYS, True),
        ("by-email/delete", {"value_keys": ["k"] * 101}, False),
        ("by-email/list-get", {}, True),
        ("by-email/list-get", [], False),
        ("by-email/shared-list-get", {"search_id": "", "page_size": 1000}, True),
        ("by-email/shared-list-get", {"search_id": None, "page_size": 0}, True),
        ("by-email/shared-list-get", {"page_size": 1001}, False),
        ("by-email/shared-list-get", {"page_size": "100"}, False),
        ("by-email/shared-list-get", {"search_id": 7}, False),
        ("by-idp/get", KEYS | IDP, True),
        ("by-idp/get", KEYS | {"identity_providers": ["telegram"]}, True),
        ("by-idp/get", KEYS | IDP | {"identity_providers": None}, True),
        ("by-idp/get", KEYS | {"identity_providers": ["telegram", "google"]}, False),
        ("by-idp/get", KEYS | {"identity_providers": []}, False),
        ("by-idp/get", KEYS | {"identity_provider": 7}, False),
        ("by-idp/get", KEYS | {"identity_provider": None}, False),
        ("by-idp/get", KEYS, False),
        ("by-wallet/list-get", {}, True),
        ("by-wallet/list-get", {"wallet_address": ""}, True),
        ("by-wallet/list-get", {"wallet_address": None}, True),
        ("by-wallet/list-get", {"wallet_address": 7}, False),
    ],
)
def test_a_schema_holds_what_the_service_takes(document: Any, post: Any, path: str, fields: Any, valid: bool) -> None:
    content = document["paths"][f"/user-data/{path}"]["post"]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}

    assert list(content) == ["application/json"]
    assert Draft202012Validator(schema).is_valid(fields) is valid
    assert (post(fields, A, path=f"/user-data/{path}").json()["result"] in (0, 1)) is valid
