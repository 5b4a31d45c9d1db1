"""The OpenAPI document, drawn from what a view says of itself: its fields, scopes and results.

Loaded when the document is first asked for: no request to the API needs it.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from userdata.results import Outcome
from userdata.serializers import Int64Field
from userdata.views import UserDataView

# What each outcome tells the developer of an app.
MEANINGS: Mapping[Outcome, str] = {
    Outcome.SUCCESS: "The value is committed to disk.",
    Outcome.TOKEN_INVALID: "There is no token, or it is not one that this service accepts.",
    Outcome.TOKEN_EXPIRED: "The token was good, and its time is over: get a fresh one and send the request again.",
    Outcome.ACCESS_DENIED: "The token is good and lacks a scope.",
    Outcome.SERVICE_UNAVAILABLE: "Nothing is wrong with the request: send it again after the seconds in Retry-After.",
    Outcome.INVALID_PARAMETERS: "The body, a field or a limit is wrong; X-Result-Detail says which.",
    Outcome.KEY_ACCESS_DENIED: "The user has this key, and another app set it first.",
    Outcome.KEY_INVALID: "value_key is no allowed key; X-Result-Detail names the rule.",
}

# HTTP statuses other than 200, and the outcome that goes with each.
STATUSES: Mapping[int, tuple[Outcome, str]] = {
    404: (Outcome.INVALID_PARAMETERS, "Nothing is served on this path. A trailing slash makes another path."),
    405: (Outcome.INVALID_PARAMETERS, "The path takes another method, which Allow names."),
    413: (Outcome.INVALID_PARAMETERS, "The body is over the limit."),
    429: (Outcome.SERVICE_UNAVAILABLE, "The caller is asked to slow down."),
    500: (Outcome.SERVICE_UNAVAILABLE, "An unforeseen error. Its cause is in the service's log under X-Request-Id."),
}

REQUEST_ID = 7  # of the examples


class EndpointSchema(AutoSchema):
    """Describes one `UserDataView`."""

    def get_operation_id(self) -> str:
        return "_".join(part.replace("-", "_") for part in self._tokenize_path())

    def get_summary(self) -> str:
        return str(super().get_description())

    def get_description(self) -> str:  # type: ignore[override]
        scopes = " and ".join(f"`{scope}`" for scope in sorted(_view(self).required_scopes))
        return (
            f"Needs a token with the scopes {scopes}.\n\n"
            "Every documented result comes with HTTP status 200: look at `result`, not at the status.\n\n"
            f"A body may have at most {settings.MAX_BODY_BYTES} bytes. Unknown fields are ignored."
        )

    def get_override_parameters(self) -> list[Any]:
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
            _header("WWW-Authenticate", "On a failure of the token: the challenge of RFC 6750.", response=[200]),
            _header("Retry-After", "With -4: seconds to wait.", response=[200, 429, 500], type=int),
            _header("Allow", "The methods of this path.", response=[405]),
        ]

    def get_examples(self) -> list[OpenApiExample]:
        value = {"request_id": REQUEST_ID, "value_key": "theme", "value_data": "dark"}
        return [OpenApiExample("Set a value", value, request_only=True)]

    def get_response_serializers(self) -> Any:
        numbers = _view(self).results
        answer = inline_serializer(
            _view(self).serializer_class.__name__.replace("Params", "Answer"),
            {
                "request_id": Int64Field(
                    required=False, help_text="The request's own; absent where it carried no valid one."
                ),
                "result": serializers.ChoiceField(
                    [(number, f"{outcome}. {MEANINGS[outcome]}") for outcome, number in numbers.items()]
                ),
            },
        )
        documented = OpenApiResponse(
            answer,
            "Every documented result: 0 for success, below 0 for failures.",
            [_example(outcome, {"request_id": REQUEST_ID, "result": number}) for outcome, number in numbers.items()],
        )
        others = {
            status: OpenApiResponse(answer, description, [_example(outcome, {"result": numbers[outcome]})])
            for status, (outcome, description) in STATUSES.items()
        }
        return {200: documented} | others


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
            "description": "An access token of the identity provider, for the user whose data it is. "
            "Each operation names its scopes; `/user-data/set` needs `email` and `user-data-set`.",
        }


class Key(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.KeyField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        # C0 and C1 control characters, in the escapes that every dialect of patterns knows.
        no_control = r"^[^\u0000-\u001F\u007F-\u009F]*$"
        return {"type": "string", "minLength": 1, "maxLength": settings.MAX_KEY_CHARS, "pattern": no_control}


class Value(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "userdata.serializers.ValueField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        # A character has one byte at least, so no more characters than bytes.
        return {"type": "string", "maxLength": settings.MAX_VALUE_BYTES}


def _view(schema: AutoSchema) -> UserDataView:
    return schema.view  # type: ignore[return-value]


def _header(name: str, description: str, *, type: Any = str, **kwargs: Any) -> OpenApiParameter:  # noqa: A002
    return OpenApiParameter(name, type, OpenApiParameter.HEADER, description=description, **kwargs)


def _example(outcome: Outcome, value: dict[str, int]) -> OpenApiExample:
    return OpenApiExample(
        outcome.name.lower(), value, summary=f"{value['result']}: {outcome}", description=MEANINGS[outcome]
    )
