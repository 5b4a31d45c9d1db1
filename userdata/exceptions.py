"""What is raised on the way of a request, and the one place that answers it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import structlog
from django.http import HttpResponse
from rest_framework import status
from rest_framework.exceptions import APIException, MethodNotAllowed

from userdata.responses import Answer
from userdata.results import COMMON, Outcome

log = structlog.get_logger(__name__)

RETRY_AFTER = {"Retry-After": "1"}  # in seconds


class Failure(APIException):
    """A request that ends with a documented result other than success.

    `detail` is one short ASCII sentence for the developer who debugs the call: it names the field
    and the rule, and never repeats what the client sent. Why status 200: the published clients
    read the body only when the status is 2xx.
    """

    outcome: ClassVar[Outcome]
    status_code: int = status.HTTP_200_OK

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.reason = detail

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class TokenInvalid(Failure):
    """-1. The challenge tells the client why, by RFC 6750 §3."""

    outcome = Outcome.TOKEN_INVALID

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{self.reason}"'}


class TokenMissing(TokenInvalid):
    """-1, and no `error` in the challenge, since no credentials were sent."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class TokenExpired(TokenInvalid):
    """-2, only ever said of a token that is good in all other ways."""

    outcome = Outcome.TOKEN_EXPIRED


class ScopeMissing(Failure):
    """-3."""

    outcome = Outcome.ACCESS_DENIED

    def __init__(self, required: frozenset[str]) -> None:
        self.scopes = " ".join(sorted(required))
        super().__init__(f"The token needs the scopes {self.scopes}.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scopes}"'}


class ServiceUnavailable(Failure):
    """-4: the database or the key source can't be used now."""

    outcome = Outcome.SERVICE_UNAVAILABLE

    @property
    def headers(self) -> Mapping[str, str]:
        return RETRY_AFTER


class SlowDown(ServiceUnavailable):
    """-4 with status 429."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS


class InvalidParameters(Failure):
    """-5."""

    outcome = Outcome.INVALID_PARAMETERS


class BodyTooLarge(InvalidParameters):
    """-5 with status 413."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class KeyAccessDenied(Failure):
    """-6 of set: another app owns the key."""

    outcome = Outcome.KEY_ACCESS_DENIED


class KeyInvalid(Failure):
    """-7 of set: a string, but not an allowed key."""

    outcome = Outcome.KEY_INVALID


def answer(exception: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answer whatever a view raised; DRF's exception handler."""
    view = context["view"]
    if isinstance(exception, Failure):
        return view.answer(exception.outcome, exception.status_code, exception.reason, exception.headers)  # type: ignore[no-any-return]
    if isinstance(exception, MethodNotAllowed):
        allow = {"Allow": ", ".join(view.allowed_methods)}
        detail = "This path takes POST only."
        return view.answer(Outcome.INVALID_PARAMETERS, exception.status_code, detail, allow)  # type: ignore[no-any-return]
    log.error("unforeseen error", request_id=view.trace_id, path=context["request"].path, exc_info=exception)
    return view.answer(Outcome.SERVICE_UNAVAILABLE, 500, headers=RETRY_AFTER)  # type: ignore[no-any-return]


def not_found(request: object, exception: Exception | None = None) -> HttpResponse:
    """Answer a path that is not served; Django's handler404."""
    return Answer(COMMON[Outcome.INVALID_PARAMETERS], status=404, detail="There is no such path.")


def bad_request(request: object, exception: Exception | None = None) -> HttpResponse:
    """Answer what Django itself refuses, such as a foreign Host; Django's handler400."""
    return Answer(COMMON[Outcome.INVALID_PARAMETERS], status=400, detail="The request is not acceptable.")


def server_error(request: object) -> HttpResponse:
    """Answer an error outside any API view; Django has logged it. Django's handler500."""
    return Answer(COMMON[Outcome.SERVICE_UNAVAILABLE], status=500, headers=RETRY_AFTER)
