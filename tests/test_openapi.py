"""/openapi.json says what the service does, and /docs shows it."""

import json
import subprocess
import sys
from typing import Any

import openapi_spec_validator
import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from hypersecureid import reference
from tests.conftest import PROJECT

NAMES = {
    0: "success",
    -1: "fail by token invalid",
    -2: "fail by token expired",
    -3: "fail by access denied",
    -4: "fail by service temporary not valid",
    -5: "fail by invalid parameters",
    -6: "fail by key access denied",
    -7: "fail by key invalid",
}


@pytest.fixture
def document() -> Any:
    return Client().get("/openapi.json").json()


@pytest.fixture
def operation(document: Any) -> Any:
    return document["paths"]["/user-data/set"]["post"]


def schema(document: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)


def test_it_describes_the_endpoints_and_nothing_else(document: Any) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == {"/user-data/set": {"post"}}


@pytest.mark.parametrize("accept", ["*/*", "application/yaml", "text/html", "nonsense"])
def test_it_is_json_whatever_is_asked_for(accept: str) -> None:
    response = Client().get("/openapi.json", headers={"Accept": accept})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    json.loads(response.content)


def test_it_is_drawn_once() -> None:
    Client().get("/openapi.json")
    drawn = reference._document.cache_info().misses

    Client().get("/openapi.json")

    assert reference._document.cache_info().misses == drawn == 1


def test_a_worker_does_not_load_what_draws_it() -> None:
    code = "import sys, hypersecureid.application; print('drf_spectacular.openapi' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)

    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"value_key": "theme", "value_data": "dark"}, True),
        ({"value_key": "theme", "value_data": "", "request_id": None, "colour": "red"}, True),
        ({"value_key": "k" * 128, "value_data": "dark", "request_id": 2**63 - 1}, True),
        ({"value_key": "theme", "value_data": "dark", "request_id": -(2**63)}, True),
        ({"value_key": "theme", "value_data": "dark", "request_id": 2**63}, False),
        ({"value_key": "theme", "value_data": "dark", "request_id": "7"}, False),
        ({"value_key": "theme", "value_data": 7}, False),
        ({"value_key": "theme", "value_data": "v" * 262_145}, False),
        ({"value_key": "theme"}, False),
        ({"value_data": "dark"}, False),
        ({"value_key": "", "value_data": "dark"}, False),
        ({"value_key": "k" * 129, "value_data": "dark"}, False),
        ({"value_key": "tab\t", "value_data": "dark"}, False),
        ({"value_key": "\u0085", "value_data": "dark"}, False),
        ([], False),
    ],
)
def test_its_request_schema_holds_what_the_service_takes(document: Any, fields: Any, valid: bool) -> None:
    assert schema(document, "SetParams").is_valid(fields) is valid


def test_it_shows_every_result_with_an_example(document: Any, operation: Any) -> None:
    examples = operation["responses"]["200"]["content"]["application/json"]["examples"]

    assert {example["value"]["result"]: example["summary"] for example in examples.values()} == {
        number: f"{number}: {name}" for number, name in NAMES.items()
    }
    assert document["components"]["schemas"]["ResultEnum"]["enum"] == [0, -1, -2, -3, -4, -5, -6, -7]


def test_its_examples_fit_its_schemas(document: Any, operation: Any) -> None:
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        schema(document, "SetParams").validate(example["value"])
    for answer in operation["responses"].values():
        content = answer["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/SetAnswer"}
        for example in content["examples"].values():
            schema(document, "SetAnswer").validate(example["value"])


@pytest.mark.parametrize(
    ("status", "result", "headers"),
    [
        ("200", None, {"X-Request-Id", "X-Result-Detail", "WWW-Authenticate", "Retry-After"}),
        ("404", -5, {"X-Request-Id", "X-Result-Detail"}),
        ("405", -5, {"X-Request-Id", "X-Result-Detail", "Allow"}),
        ("413", -5, {"X-Request-Id", "X-Result-Detail"}),
        ("429", -4, {"X-Request-Id", "X-Result-Detail", "Retry-After"}),
        ("500", -4, {"X-Request-Id", "Retry-After"}),
    ],
)
def test_it_describes_every_status(operation: Any, status: str, result: int | None, headers: set[str]) -> None:
    answer = operation["responses"][status]

    assert set(answer["headers"]) == headers
    if result is not None:
        assert [e["value"]["result"] for e in answer["content"]["application/json"]["examples"].values()] == [result]


def test_it_asks_for_a_bearer_token_with_both_scopes(document: Any, operation: Any) -> None:
    scheme = document["components"]["securitySchemes"]["accessToken"]

    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    assert operation["security"] == [{"accessToken": ["email", "user-data-set"]}]
    assert all(
        "`email`" in text and "`user-data-set`" in text for text in (scheme["description"], operation["description"])
    )


def test_the_page_names_nothing_on_another_host() -> None:
    response = Client().get("/docs")

    html = response.content.decode()
    assert response.status_code == 200
    assert "/static/hypersecureid/docs.js" in html
    assert "//" not in html.replace("<!--", "")
    assert response["Content-Security-Policy"].startswith("default-src 'self';")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_reference_is_read_only_and_sets_no_cookie(path: str) -> None:
    assert Client().post(path).status_code == 405
    assert Client().head(path).status_code == 200
    assert not Client().get(path).cookies
