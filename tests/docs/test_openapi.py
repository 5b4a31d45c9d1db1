"""/openapi.json says what the service does."""

import json
import subprocess
import sys
from typing import Any

import openapi_spec_validator
import pytest
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.conftest import PROJECT
from tests.docs.family import Answers
from tests.endpoints.family import ENDPOINTS, NOW, Endpoint, a
from userdata import openapi

STORAGES = ["basic", "by-user-id", "by-email", "by-idp", "by-wallet"]

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """As a client gets it."""
    drawn: Document = Client().get("/openapi.json").json()
    return drawn


@pytest.fixture(params=ENDPOINTS, ids=lambda endpoint: endpoint.path)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    one: Endpoint = request.param
    return one


@pytest.fixture
def operation(document: Document, endpoint: Endpoint) -> Document:
    found: Document = document["paths"][endpoint.path]["post"]
    return found


def validator(document: Document, schema: Document) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def request_schema(operation: Document) -> Document:
    schema: Document = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def examples(content: Document) -> list[Document]:
    return list(content["content"]["application/json"]["examples"].values())


# The document as a whole


def test_it_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)


def test_it_is_drawn_without_a_warning(document: Document, capfd: pytest.CaptureFixture[str]) -> None:
    assert json.loads(json.dumps(openapi.document())) == document

    assert capfd.readouterr() == ("", "")


def test_it_describes_the_endpoints_and_nothing_else_in_their_order(document: Document) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        each.path: {"post"} for each in ENDPOINTS
    }
    assert [tag["name"] for tag in document["tags"]] == STORAGES
    operations = [methods["post"] for methods in document["paths"].values()]
    assert list(dict.fromkeys(tag for operation in operations for tag in operation["tags"])) == STORAGES
    assert len({operation["operationId"] for operation in operations}) == 22


def test_its_parts_have_names_for_people_and_generators(document: Document) -> None:
    schemas = document["components"]["schemas"]

    assert sorted(name for name in schemas if "enum" in schemas[name]) == [
        "GetBasicResult",
        "GetByIdpResult",
        "GetByWalletResult",
        "GetResult",
        "ListOrDeleteByIdpResult",
        "ListOrDeleteByWalletResult",
        "ListOrDeleteResult",
        "SetByIdpResult",
        "SetByWalletResult",
        "SetResult",
    ]


@pytest.mark.parametrize("accept", ["*/*", "application/yaml", "text/html", "nonsense"])
def test_it_is_json_whatever_is_asked_for(accept: str) -> None:
    response = Client().get("/openapi.json", headers={"Accept": accept})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    json.loads(response.content)


def test_it_is_drawn_once(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(openapi, "document")

    assert Client().get("/openapi.json").json() == document


def test_a_worker_does_not_load_what_draws_it() -> None:
    code = "import sys, hypersecureid.asgi; print('drf_spectacular.openapi' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)

    assert done.stdout == "False\n", done.stderr


def test_it_asks_for_a_bearer_token_and_says_where_one_comes_from(document: Document) -> None:
    scheme = document["components"]["securitySchemes"]["accessToken"]

    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    assert "`make -s token`" in scheme["description"]


# Each operation


def test_an_operation_names_its_scopes(operation: Document, endpoint: Endpoint) -> None:
    assert operation["security"] == [{"accessToken": ["email", endpoint.scope]}]
    assert f"`email` and `{endpoint.scope}`" in operation["description"]


def test_a_set_says_loudly_whom_it_lets_read(document: Document) -> None:
    sets = {each.path: document["paths"][each.path]["post"] for each in ENDPOINTS if each.action == "set"}

    for path, operation in sets.items():
        sentence = "becomes private" if path == "/user-data/set" else "the key becomes **public**"
        assert sentence in operation["description"]


def test_its_results_are_those_of_the_service(document: Document, answers: Answers) -> None:
    for endpoint in ENDPOINTS:
        documented = document["paths"][endpoint.path]["post"]["responses"]["200"]
        [properties] = [
            schema["properties"]
            for name, schema in document["components"]["schemas"].items()
            if documented["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{name}"}
        ]
        enum = document["components"]["schemas"][properties["result"]["$ref"].rpartition("/")[2]]
        asked = {name: answer for (path, name), answer in answers.items() if path == endpoint.path}

        assert sorted(enum["enum"]) == sorted(answer["result"] for answer in asked.values())
        assert len(enum["enum"]) == len(enum["x-enum-varnames"]) == len(enum["x-enum-descriptions"])
        for name, answer in asked.items():
            assert f"* `{answer['result']}` {name}: " in enum["description"]
        for example in examples(documented):
            number, _, name = example["summary"].partition(": ")
            assert (int(number), example["value"]["result"]) == (asked[name]["result"],) * 2
            assert example["value"].keys() == {"request_id", *asked[name]}
            if int(number) < 0:
                assert example["value"] == {"request_id": 7} | asked[name]
        assert len(examples(documented)) == len(enum["enum"])


def test_its_schemas_hold_what_the_service_answers(document: Document, answers: Answers) -> None:
    for (path, _), answer in answers.items():
        content = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
        validator(document, content["schema"]).validate(answer)


def test_an_example_of_a_request_is_one_that_the_service_takes(
    document: Document, operation: Document, endpoint: Endpoint, post: Any
) -> None:
    identities = {"google_user_id": "77", "wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7"}
    [example] = examples(operation["requestBody"])

    response = post(example["value"], a(exp=NOW + 3600, **identities), path=endpoint.path)

    validator(document, request_schema(operation)).validate(example["value"])
    assert response.json()["request_id"] == 7
    assert response.json()["result"] in (0, 1), response["X-Result-Detail"]


def test_its_examples_of_answers_fit_its_schemas(document: Document, operation: Document) -> None:
    for answer in operation["responses"].values():
        schema = answer["content"]["application/json"]["schema"]
        for example in examples(answer):
            validator(document, schema).validate(example["value"])


def test_an_operation_describes_every_status(operation: Document, endpoint: Endpoint) -> None:
    named = {"X-Request-Id", "X-Result-Detail"} | ({"Cache-Control"} if endpoint.is_read else set())
    expected = {
        "200": (named | {"WWW-Authenticate", "Retry-After"}, None),
        "404": ({"X-Request-Id", "X-Result-Detail"}, -5),
        "405": (named | {"Allow"}, -5),
        "413": (named, -5),
        "429": (named | {"Retry-After"}, -4),
        "500": (named - {"X-Result-Detail"} | {"Retry-After"}, -4),
    }
    statuses = list(expected) if endpoint.is_basic else ["200", "404", "405"]

    assert list(operation["responses"]) == statuses
    for status in statuses:
        answer = operation["responses"][status]
        headers, result = expected[status]
        assert set(answer["headers"]) == headers
        assert result is None or [example["value"]["result"] for example in examples(answer)] == [result]
