"""The OpenAPI document, drawn from what a view says of itself: its fields, scopes and results.

Loaded when the document is first asked for: no request to the API needs it.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from userdata.openapi_examples import (
    ACTIONS,
    INTRODUCTION,
    MEANINGS,
    RESULT_NAMES,
    STATUSES,
    STORAGES,
    meaning,
)
from userdata.parsers import INT64
from userdata.results import Outcome, Results
from userdata.serializers import IdentityProviderFields, WalletFields
from userdata.urls import urlpatterns
from userdata.views import UserDataView

REQUEST_ID = 7  # of the examples
NO_STORE = "Cache-Control"


def document() -> dict[str, Any]:
    """The whole document; paths and tags in the order of `userdata.urls`, in which people look for them."""
    drawn: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    paths = [f"/{each.pattern}" for each in urlpatterns]
    drawn["info"]["description"] = INTRODUCTION
    drawn["tags"] = [{"name": name, "description": each.description} for name, each in STORAGES.items()]
    drawn["paths"] = {path: drawn["paths"][path] for path in paths}
    return drawn


class ResultField(serializers.Field[Any, Any, Any, Any]):
    """`result`: one of an endpoint's numbers."""

    def __init__(self, results: Results) -> None:
        super().__init__()
        self.results = results


class NoSuchPath(serializers.Serializer[Any]):
    result = serializers.IntegerField()


class StoredPair(serializers.Serializer[Any]):
    value_key = serializers.CharField(help_text="As it was asked for.")
    value_data = serializers.CharField()


class DeletedKey(serializers.Serializer[Any]):
    value_key = serializers.CharField(help_text="As it was asked for.")
    is_deleted = serializers.BooleanField(help_text="Whether it was one of the app's own keys, and is gone.")


def _keys(description: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(), help_text=description)


# What an answer holds besides `request_id` and `result`, by action.
ANSWERS: Mapping[str, Mapping[str, serializers.Field[Any, Any, Any, Any]]] = {
    "set": {},
    "get": {"values": StoredPair(many=True, help_text="Those that were found, each once, in the order asked for.")},
    "list-get": {
        "keys_private": _keys("The app's own keys that it alone may read."),
        "keys_public": _keys("The app's own keys that the user's other apps may read."),
    },
    "shared-list-get": {
        "keys_shared": _keys("Public keys of the user's other apps, each as `app/key`."),
        "next_search_id": serializers.CharField(help_text="The `search_id` of the next page; empty where all is told."),
    },
    "delete": {"keys_delete_results": DeletedKey(many=True, help_text="Each key that was asked for, once.")},
}


class EndpointSchema(AutoSchema):
    """Describes one `UserDataView`."""

    def get_operation(self, *args: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args)
        if operation:
            operation["requestBody"]["description"] = f"At most {settings.MAX_BODY_BYTES:,} bytes."
        return operation

    def get_operation_id(self) -> str:
        view = _view(self)
        return f"{view.storage.name}-{view.name}".replace("-", "_")

    def get_tags(self) -> list[str]:
        return [_view(self).storage.name]

    def get_summary(self) -> str:
        return str(super().get_description())

    def get_description(self) -> str:  # type: ignore[override]
        view = _view(self)
        scopes = " and ".join(f"`{scope}`" for scope in sorted(view.required_scopes))
        notes = [f"Needs a token with the scopes {scopes}.", ACTIONS[view.name].note, STORAGES[view.storage.name].note]
        if view.name == "set":
            private = "The key becomes private to this app, also if it was public."
            public = "Without `access_scope` the key becomes **public**, also if it was private."
            notes.append(public if "access_scope" in view.serializer.fields else private)
        if view.storage.always_200:
            notes += ["Whatever this endpoint answers to a POST comes with HTTP status 200."]
        return "\n\n".join(filter(None, notes))

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def get_override_parameters(self) -> list[Any]:
        statuses = [200, 405, 413, 429, 500]
        caching = NO_STORE in _view(self).action_headers
        return [
            _header("X-Request-Id", "Names this request in logs.", response=True),
            _header(
                "X-Request-Id",
                "A name for this request in logs, which comes back; otherwise the service makes one.",
                pattern="^[A-Za-z0-9._-]{1,128}$",
            ),
            _header(
                "X-Result-Detail",
                "On a failure: the field and the rule, for the developer who reads it; not for programs.",
                response=[200, 404, 405, 413, 429],
            ),
            _header("WWW-Authenticate", "With -1, -2 and -3: the challenge of RFC 6750.", response=[200]),
            _header("Retry-After", "With -4: seconds to wait.", response=[200, 429, 500], type=int),
            _header("Allow", "The methods of this path.", response=[405]),
        ] + ([_header(NO_STORE, "`no-store`: no cache keeps the answer.", response=statuses)] if caching else [])

    def get_examples(self) -> list[OpenApiExample]:
        view = _view(self)
        fields = {"request_id": REQUEST_ID, **STORAGES[view.storage.name].fields, **ACTIONS[view.name].request}
        return [OpenApiExample(view.name, fields, request_only=True)]

    def get_response_serializers(self) -> Any:
        view = _view(self)
        name = type(view.serializer).__name__.replace("Params", "Answer")
        # Fields stand in the order in which they were made.
        answer = inline_serializer(name, _envelope(view.results) | deepcopy(dict(ANSWERS[view.name])))
        documented = [self._example(outcome, 200, meaning(outcome, view.name)) for outcome in view.results]
        responses = {200: OpenApiResponse(answer, "Every documented result.", documented)}
        for status, (outcome, text) in STATUSES.items():
            if status in (404, 405) or not view.storage.always_200:
                kind = NoSuchPath if status == 404 else answer
                responses[status] = OpenApiResponse(kind, text, [self._example(outcome, status, text)])
        return responses

    def _example(self, outcome: Outcome, status: int, description: str) -> OpenApiExample:
        view = _view(self)
        value: dict[str, Any] = {"result": view.results[outcome]}
        if status in (200, 500):  # the others are answered before the body is read
            value = {"request_id": REQUEST_ID} | value
        if status != 404:
            value |= ACTIONS[view.name].answer if outcome is Outcome.SUCCESS else view.empty
        summary = f"{view.results[outcome]}: {outcome}"
        return OpenApiExample(outcome.name.lower(), value, summary=summary, description=description)


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.authentication.AccessTokenAuthentication"
    name = "accessToken"

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        return {self.name: sorted(_view(auto_schema).required_scopes)}

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token of the identity provider, for the user whose data it is. Each operation "
            "names the scopes that it needs: `email`, and `user-data-get` or `user-data-set`.\n\n"
            "Where the service was started by `make run`, `make -s token` prints a token: paste it here, without the "
            "word Bearer. This page forgets it when it is closed or loaded again.",
        }


class Params(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.UserDataSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """What the serializer's own fields say, and what they don't: how they go together."""
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call]
        del schema["description"]  # for developers of this service
        fields = schema["properties"]
        if isinstance(self.target, IdentityProviderFields):
            types = {"identity_provider": "string", "identity_providers": "array"}
            schema["anyOf"] = [{"required": [name], "properties": {name: {"type": types[name]}}} for name in types]
        if isinstance(self.target, WalletFields):  # two fields are there to be refused
            schema["properties"] = {name: each for name, each in fields.items() if "identity_provider" not in name}
        return schema


class Result(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.openapi.ResultField"

    def get_name(self) -> str:
        return next(name for table, name in RESULT_NAMES if table == self.target.results)

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        table: Results = self.target.results
        return {
            "type": "integer",
            "enum": [*table.values()],
            "description": "\n".join(f"* `{number}` {each}: {MEANINGS[each]}" for each, number in table.items()),
            "x-enum-varnames": [outcome.name for outcome in table],
            "x-enum-descriptions": [MEANINGS[outcome] for outcome in table],
        }


class Key(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.KeyField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        # C0 and C1 control characters, in the escapes that every dialect of patterns knows.
        no_control = r"^[^\u0000-\u001F\u007F-\u009F]*$"
        return {"type": "string", "minLength": 1, "maxLength": settings.MAX_KEY_CHARS, "pattern": no_control}


class Integer(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.IntegerField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.target.first, "maximum": self.target.last}


class String(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.StringField"
    match_subclasses = True
    priority = -1

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "string"}


class Strings(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.StringListField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "maxItems": settings.MAX_KEYS_PER_REQUEST}


class Anything(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.AnyField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}


class Value(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.ValueField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        # A character has one byte at least, so no more characters than bytes.
        return {"type": "string", "maxLength": settings.MAX_VALUE_BYTES}


def _envelope(results: Results) -> dict[str, Any]:
    request_id = serializers.IntegerField(
        required=False,
        min_value=INT64.start,
        max_value=INT64.stop - 1,
        help_text="The request's own; absent where it carried no valid one.",
    )
    return {"request_id": request_id, "result": ResultField(results)}


def _view(schema: AutoSchema) -> UserDataView:
    return schema.view  # type: ignore[return-value]


def _header(name: str, description: str, *, type: Any = str, **kwargs: Any) -> OpenApiParameter:  # noqa: A002
    return OpenApiParameter(name, type, OpenApiParameter.HEADER, description=description, **kwargs)
