"""An endpoint is a view of Django REST framework, and its rules hold: what a developer who adds one may rely on.

The views here are routed by this module, which stands in for the project's URL list.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import PermissionDenied as DjangosPermissionDenied
from django.urls import path
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
    ValidationError,
)
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.throttling import BaseThrottle, UserRateThrottle

from tests.application import Response
from tests.endpoints.conftest import Ask, Stored, exact
from tests.endpoints.family import A, B, a
from userdata import results
from userdata.authentication import AccessTokenAuthentication
from userdata.identity import Principal, Verified
from userdata.results import Outcome
from userdata.serializers import Params, SetParams, UserDataSerializer
from userdata.storage import Owner
from userdata.storages import BASIC, USER_ID
from userdata.views import SetValue, UserDataView


class ProbeParams(UserDataSerializer):
    """Stock fields of DRF, and a rule over several of them."""

    colour = serializers.ChoiceField(["red", "green"], required=False)
    count = serializers.IntegerField(default=7, max_value=9)
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)
    names = serializers.DictField(child=serializers.IntegerField(), required=False)

    def validate_count(self, value: int) -> int:
        if value == 5:
            raise ValidationError("Not five.")
        return value

    def validate(self, attrs: Params) -> Params:
        if attrs.get("colour") == "red" and attrs["count"] == 3:
            raise ValidationError("Three may not be red.")
        if attrs["count"] == 2:
            raise ValidationError({"count": ValidationError("must not be two.", "value").detail})
        if attrs["count"] == 1:
            raise ValidationError({})
        return attrs | {"seen_by_validate": True}


class Probe(UserDataView):
    """Keeps what it was asked, and does nothing."""

    name = "probe"
    required_scopes = frozenset({"email"})
    params = ProbeParams
    empty = {"probed": []}
    asked: list[tuple[Any, Any, Params]] = []

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, dict[str, Any]]:
        self.asked.append((self.request.user, self.request.auth, params))
        return Outcome.SUCCESS, {"probed": sorted(params)}


class Never(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 2.2


class NeverAgain(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


class TwiceAnHour(UserRateThrottle):
    rate = "2/hour"


class No(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Raises(BasePermission):
    """Raises what the test has put here."""

    raised: Exception = PermissionDenied()

    def has_permission(self, request: Any, view: Any) -> bool:
        raise self.raised


class Broken(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        return request.no_such_attribute


class BrokenLater(BaseAuthentication):
    async def authenticate(self, request: Any) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return request.no_such_attribute_either


class Knows(BaseAuthentication):
    """An authenticator as DRF has them: not a coroutine; it leaves to others whom it does not know."""

    def authenticate(self, request: Any) -> Any:
        if request.headers.get("X-Known") != "yes":
            return None
        return Principal("known", "app", frozenset({"email"})), "by a header"


def probe(name: str, **changes: Any) -> list[Any]:
    view: Any = type(name, (Probe,), changes)
    return [
        path(f"user-data/{name}", view.as_view(storage=BASIC, results=results.SET)),
        path(f"user-data/by-user-id/{name}", view.as_view(storage=USER_ID, results=results.SET)),
    ]


urlpatterns = [
    *probe("probe"),
    *probe("throttled", throttle_classes=[Never]),
    *probe("throttled-for-ever", throttle_classes=[NeverAgain]),
    *probe("throttled-by-user", throttle_classes=[TwiceAnHour]),
    *probe("forbidden", permission_classes=[No]),
    *probe("authenticated", permission_classes=[IsAuthenticated]),
    *probe("raises", permission_classes=[Raises]),
    *probe("broken", authentication_classes=[Broken]),
    *probe("broken-later", authentication_classes=[BrokenLater]),
    *probe("known", authentication_classes=[Knows]),
    *probe("known-or-token", authentication_classes=[Knows, AccessTokenAuthentication]),
    *probe("nobody", authentication_classes=[]),
    path("user-data/set", SetValue.as_view(storage=BASIC, results=results.SET, params=SetParams)),
]


@pytest.fixture(autouse=True)
def routed(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    Probe.asked.clear()
    yield
    cache.clear()


Both = Callable[..., list[Response]]


@pytest.fixture
def both(ask: Ask) -> Both:
    """Ask the basic view of a name, and the one by user id."""
    return lambda name, *args, **kwargs: [
        ask(below + name, *args, **kwargs) for below in ("/user-data/", "/user-data/by-user-id/")
    ]


def seen(responses: list[Response]) -> list[tuple[int, Any]]:
    return [(response.status_code, exact(response)) for response in responses]


def test_stock_fields_take_what_is_good_and_defaults_count(both: Both) -> None:
    everything = {"colour": "green", "count": 8, "tags": ["a", "b"], "names": {"a": 1}}

    assert seen(both("probe", {})) == [(200, {"result": 0, "probed": ["count", "seen_by_validate"]})] * 2
    assert [params["count"] for _, _, params in Probe.asked] == [7, 7]
    assert (
        seen(both("probe", {"request_id": 7} | everything))
        == [
            (
                200,
                {
                    "request_id": 7,
                    "result": 0,
                    "probed": ["colour", "count", "names", "request_id", "seen_by_validate", "tags"],
                },
            )
        ]
        * 2
    )
    assert Probe.asked[-1][2] == everything | {"request_id": 7, "seen_by_validate": True}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"colour": "a private word"}, "colour is not acceptable."),
        ({"colour": None}, "colour is required."),
        ({"colour": ["red"]}, "colour is not acceptable."),
        ({"count": 10}, "count is not acceptable."),
        ({"count": "a private word"}, "count is not acceptable."),
        ({"count": 5}, "count is not acceptable."),
        ({"tags": ["a", "a private word"]}, "tags is not acceptable."),
        ({"tags": {}}, "tags is not acceptable."),
        ({"names": {"a private word": "x"}}, "names is not acceptable."),
        ({"colour": "red", "count": 3}, "A field is not acceptable."),
        ({"count": 2}, "count must not be two."),
        ({"count": 1}, "A field is not acceptable."),
    ],
    ids=repr,
)
def test_what_a_stock_field_or_validate_refuses_is_invalid_parameters(
    both: Both, body: dict[str, Any], detail: str
) -> None:
    responses = both("probe", {"request_id": 7} | body)

    assert seen(responses) == [(200, {"request_id": 7, "result": -5, "probed": []})] * 2
    for response in responses:
        assert response["X-Result-Detail"] == detail
        assert "private word" not in str(response)
    assert not Probe.asked


def test_one_serializer_serves_all_requests_and_keeps_nothing_of_them(both: Both) -> None:
    both("probe", {"colour": "green", "tags": ["a"]})
    both("probe", {"colour": "a private word"})
    both("probe", {})

    assert sorted(Probe.asked[-1][2]) == ["count", "seen_by_validate"]


@pytest.mark.parametrize(("name", "seconds"), [("throttled", "3"), ("throttled-for-ever", "1")])
def test_a_throttle_asks_callers_to_slow_down(both: Both, name: str, seconds: str) -> None:
    responses = both(name, {"request_id": 7})

    body = {"request_id": 7, "result": -4, "probed": []}
    assert seen(responses) == [(429, body), (200, body)]
    for response in responses:
        assert response["Retry-After"] == seconds
        assert "WWW-Authenticate" not in response
    assert not Probe.asked


def test_a_throttle_comes_behind_the_token_and_before_the_fields(ask: Ask) -> None:
    assert exact(ask("/user-data/throttled", {}, None))["result"] == -1
    assert exact(ask("/user-data/throttled", {}, a(scope="")))["result"] == -3
    assert exact(ask("/user-data/throttled", {"count": "x"}))["result"] == -4


def test_the_throttle_by_user_counts_for_each_user(ask: Ask) -> None:
    path = "/user-data/throttled-by-user"

    answers = [ask(path, {}, bearer) for bearer in (A, B, A, a(sub="u2"))]

    assert [exact(answer)["result"] for answer in answers] == [0, 0, -4, 0]
    assert 3500 < int(answers[2]["Retry-After"]) <= 3600


@pytest.mark.parametrize(
    ("raised", "result", "challenge"),
    [
        pytest.param(PermissionDenied("a private word"), -3, 'Bearer error="insufficient_scope"', id="denied"),
        pytest.param(NotAuthenticated("a private word"), -1, "Bearer", id="not authenticated"),
        pytest.param(
            AuthenticationFailed("a private word"),
            -1,
            'Bearer error="invalid_token", error_description="The token is not accepted."',
            id="failed",
        ),
        pytest.param(DjangosPermissionDenied(), -3, 'Bearer error="insufficient_scope"', id="denied by Django"),
        pytest.param(
            type("NotToday", (PermissionDenied,), {})(), -3, 'Bearer error="insufficient_scope"', id="a kind of denied"
        ),
    ],
)
def test_what_drf_itself_raises_of_a_token_has_its_result(
    both: Both, monkeypatch: pytest.MonkeyPatch, raised: Exception, result: int, challenge: str
) -> None:
    monkeypatch.setattr(Raises, "raised", raised)

    responses = both("raises", {"request_id": 7})

    assert seen(responses) == [(200, {"request_id": 7, "result": result, "probed": []})] * 2
    for response in responses:
        assert response["WWW-Authenticate"] == challenge
        assert "private word" not in str(response)
    assert not Probe.asked


def test_throttled_may_be_raised_anywhere(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Raises, "raised", Throttled(wait=9.5))

    responses = both("raises")

    assert [response.status_code for response in responses] == [429, 200]
    assert [response["Retry-After"] for response in responses] == ["10", "10"]


def test_an_exception_of_drf_that_has_no_result_is_an_unforeseen_error(
    both: Both, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Raises, "raised", APIException("out of order"))

    responses = both("raises")

    assert seen(responses) == [(500, {"result": -4, "probed": []}), (200, {"result": -4, "probed": []})]
    assert "out of order" in caplog.text


def test_a_permission_that_says_no_denies_access(both: Both) -> None:
    responses = both("forbidden", {"request_id": 7})

    assert seen(responses) == [(200, {"request_id": 7, "result": -3, "probed": []})] * 2
    assert all(response["WWW-Authenticate"] == 'Bearer error="insufficient_scope"' for response in responses)


def test_drfs_own_permission_knows_who_is_authenticated(both: Both) -> None:
    assert [exact(response)["result"] for response in both("authenticated", {})] == [0, 0]


@pytest.mark.parametrize(
    ("name", "cause"), [("broken", "no_such_attribute"), ("broken-later", "no_such_attribute_either")]
)
def test_an_error_inside_an_authenticator_is_logged_with_its_cause(
    both: Both, caplog: pytest.LogCaptureFixture, name: str, cause: str
) -> None:
    responses = both(name, {"request_id": 7})

    body = {"request_id": 7, "result": -4, "probed": []}
    assert seen(responses) == [(500, body), (200, body)]
    for response, record in zip(responses, caplog.records, strict=True):
        event: Any = record.msg
        assert event["request_id"] == response["X-Request-Id"]
        assert isinstance(event["exc_info"], AttributeError)
        assert event["exc_info"].name == cause
        assert response["Retry-After"] == "1"


def test_after_authentication_user_is_the_principal_and_auth_what_was_verified(ask: Ask) -> None:
    exact(ask("/user-data/probe", {}))

    ((user, auth, _),) = Probe.asked
    assert isinstance(user, Principal)
    assert isinstance(auth, Verified)
    assert auth.principal is user
    assert (user.sub, user.app, user.email) == ("u1", "a1", "u1@example.com")
    assert user.scopes == {"email", "user-data-set", "user-data-get"}
    assert user.is_authenticated


def test_the_first_authenticator_that_knows_the_caller_counts(ask: Ask) -> None:
    for name, bearer, headers, sub in (
        ("known", None, {"X-Known": "yes"}, "known"),
        ("known-or-token", A, {"X-Known": "yes"}, "known"),
        ("known-or-token", A, {}, "u1"),
    ):
        assert exact(ask(f"/user-data/{name}", {}, bearer, **headers))["result"] == 0
        assert Probe.asked[-1][0].sub == sub
    assert Probe.asked[0][1] == "by a header"


def test_a_caller_whom_no_authenticator_knows_is_not_authenticated(both: Both) -> None:
    for name in ("known", "nobody"):
        responses = both(name, {"request_id": 7})

        assert seen(responses) == [(200, {"request_id": 7, "result": -1, "probed": []})] * 2
        assert all(response["WWW-Authenticate"] == "Bearer" for response in responses)
    assert exact(both("known-or-token", {}, None)[0])["result"] == -1


def test_the_projects_own_view_works_under_another_url_list(ask: Ask, stored: Stored) -> None:
    assert exact(ask("/user-data/set", {"value_key": "k", "value_data": "v"})) == {"result": 0}
    assert stored.get().key == "k"
    assert ask("/user-data/get", {"value_keys": ["k"]}).status_code == 404
