"""What is raised on the way of a request, and the one place that answers it."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import structlog
from django.core.exceptions import DisallowedHost
from django.core.exceptions import PermissionDenied as DjangosPermissionDenied
from django.http import HttpResponse
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    NotAuthenticated,
    ParseError,
    PermissionDenied,
    Throttled,
    UnsupportedMediaType,
    ValidationError,
)

from userdata import identity, metrics, storage
from userdata.responses import Answer
from userdata.results import COMMON, Outcome

log = structlog.get_logger(__name__)

RETRY_AFTER = {"Retry-After": "1"}  # in seconds


class Failure(APIException):
    """A request that ends with a documented result other than success.

    `detail` is one short ASCII sentence for the developer who debugs the call: it names the field and the rule, and
    never repeats what the client sent. Why status 200: the published clients read the body only when the status is
    2xx.
    """

    outcome: ClassVar[Outcome]
    status_code: int = status.HTTP_200_OK

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.reason = detail


class TokenMissing(Failure):
    outcome = Outcome.TOKEN_INVALID


class TokenInvalid(Failure):
    outcome = Outcome.TOKEN_INVALID


class AccessDenied(Failure):
    """The token is good, and lacks scopes or what they stand for."""

    outcome = Outcome.ACCESS_DENIED

    def __init__(self, detail: str, scopes: frozenset[str]) -> None:
        """`scopes`: what the endpoint wants."""
        super().__init__(detail)
        self.scopes = " ".join(sorted(scopes))


class SlowDown(Failure):
    outcome = Outcome.SERVICE_UNAVAILABLE
    status_code = status.HTTP_429_TOO_MANY_REQUESTS


class InvalidParameters(Failure):
    outcome = Outcome.INVALID_PARAMETERS


class BodyTooLarge(InvalidParameters):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class KeyInvalid(Failure):
    outcome = Outcome.KEY_INVALID


class TooManyKeys(Failure):
    outcome = Outcome.KEYS_SIZE_LIMIT_REACHED


class IdentityProviderNotFound(Failure):
    outcome = Outcome.IDENTITY_PROVIDER_NOT_FOUND


class WalletNotExists(Failure):
    outcome = Outcome.WALLET_NOT_EXISTS


# What others raise: the rooms, whose sentences are fit for callers, and DRF's own classes, whose words are not.
OUTCOMES: Mapping[type[Exception], Outcome] = {
    identity.TokenInvalid: Outcome.TOKEN_INVALID,
    identity.TokenExpired: Outcome.TOKEN_EXPIRED,
    identity.KeysUnavailable: Outcome.SERVICE_UNAVAILABLE,
    storage.StoreUnavailable: Outcome.SERVICE_UNAVAILABLE,
    storage.OwnedByAnotherApp: Outcome.KEY_ACCESS_DENIED,
    storage.QuotaReached: Outcome.INVALID_PARAMETERS,
    storage.NotStorable: Outcome.INVALID_PARAMETERS,
    storage.TooMuchData: Outcome.KEYS_SIZE_LIMIT_REACHED,
}
FRAMEWORK: Mapping[type[Exception], tuple[Outcome, int, str]] = {
    MethodNotAllowed: (Outcome.INVALID_PARAMETERS, 405, "This path takes POST only."),
    NotAuthenticated: (Outcome.TOKEN_INVALID, 200, "There is no token."),
    AuthenticationFailed: (Outcome.TOKEN_INVALID, 200, "The token is not accepted."),
    PermissionDenied: (Outcome.ACCESS_DENIED, 200, "The token does not permit this."),
    DjangosPermissionDenied: (Outcome.ACCESS_DENIED, 200, "The token does not permit this."),
    Throttled: (Outcome.SERVICE_UNAVAILABLE, 429, "Too many requests; send again later."),
    ParseError: (Outcome.INVALID_PARAMETERS, 200, "The body must be JSON."),
    UnsupportedMediaType: (Outcome.INVALID_PARAMETERS, 200, "Content-Type must be application/json."),
}

# What a field of a serializer can find: how the sentence about it goes on behind the field's name. Of any other code,
# as a stock field of DRF has, the words are not repeated, since they may quote what the client sent.
SENTENCES = frozenset({"type", "range", "value", "misplaced"})


def answer(exception: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answer whatever a view raised; DRF's exception handler."""
    view = context["view"]
    headers: dict[str, str] = {}
    if isinstance(exception, Failure):
        outcome, status_code, detail = exception.outcome, exception.status_code, exception.reason
    elif type(exception) in OUTCOMES:
        outcome, status_code, detail = OUTCOMES[type(exception)], 200, str(exception)
    elif isinstance(exception, ValidationError):
        outcome, status_code, detail = Outcome.INVALID_PARAMETERS, 200, _first_problem(exception.detail)
    elif told := next((told for kind, told in FRAMEWORK.items() if isinstance(exception, kind)), None):
        outcome, status_code, detail = told
    else:
        outcome, status_code, detail = Outcome.SERVICE_UNAVAILABLE, 500, ""
        metrics.ERRORS.inc()
        log.error("unforeseen error", request_id=view.trace_id, path=view.request.path, exc_info=exception)
    if status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    if outcome is Outcome.SERVICE_UNAVAILABLE:
        wait = getattr(exception, "wait", None)
        headers |= {"Retry-After": str(max(1, round(wait)))} if wait else RETRY_AFTER
    elif challenge := _challenge(outcome, exception, detail):
        headers["WWW-Authenticate"] = challenge
    return view.answer(outcome, None, status_code, detail, headers)  # type: ignore[no-any-return]


def _challenge(outcome: Outcome, exception: Exception, detail: str) -> str:
    """RFC 6750 §3: why the token did not do; no `error` where no credentials were sent."""
    if outcome is Outcome.ACCESS_DENIED:
        scopes = getattr(exception, "scopes", "")
        return f'Bearer error="insufficient_scope", scope="{scopes}"' if scopes else 'Bearer error="insufficient_scope"'
    if outcome not in (Outcome.TOKEN_INVALID, Outcome.TOKEN_EXPIRED):
        return ""
    if isinstance(exception, TokenMissing | NotAuthenticated):
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{detail}"'


def _first_problem(detail: Any) -> str:
    field, problem = next(_problems(detail, ""), ("", ErrorDetail("", "invalid")))
    sentence = "is required." if problem.code in {"required", "null"} else "is not acceptable."
    return f"{field or 'A field'} {problem if problem.code in SENTENCES else sentence}"


def _problems(detail: Any, field: str) -> Iterator[tuple[str, ErrorDetail]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _problems(inner, field or (name if name != "non_field_errors" else ""))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _problems(inner, field)
    else:
        yield field, detail


def not_found(request: object, exception: Exception | None = None) -> HttpResponse:
    """Answer a path that is not served; Django's handler404."""
    return Answer(COMMON[Outcome.INVALID_PARAMETERS], status=404, detail="There is no such path.")


def bad_request(request: object, exception: Exception | None = None) -> HttpResponse:
    """Answer what Django itself refuses, such as a foreign Host; Django's handler400."""
    detail = "The request is not acceptable."
    if isinstance(exception, DisallowedHost):
        detail = "The host name is not among ALLOWED_HOSTS."
    return Answer(COMMON[Outcome.INVALID_PARAMETERS], status=400, detail=detail)


def server_error(request: object) -> HttpResponse:
    """Answer an error outside any API view; Django has logged it. Django's handler500."""
    return Answer(COMMON[Outcome.SERVICE_UNAVAILABLE], status=500, headers=RETRY_AFTER)
