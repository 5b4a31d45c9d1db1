"""The endpoints: one class per action."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from userdata import metrics, parsers, results, store
from userdata.authentication import AccessTokenAuthentication, Principal
from userdata.models import AccessScope, OwnerKind
from userdata.permissions import HasRequiredScopes
from userdata.responses import Answer, new_trace_id
from userdata.results import Outcome
from userdata.serializers import Params, SetParams, UserDataSerializer

_trace_id = re.compile(r"[A-Za-z0-9._-]{1,128}")


class ApiRequest(Request):
    """DRF's request, which finds out once who calls."""

    authentication = AccessTokenAuthentication()

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        # What DRF's parsers would be given holds the request, which would be garbage only for the collector to find.
        self.parser_context = {}

    @cached_property
    def user(self) -> Principal:  # type: ignore[override]
        principal, _ = self.authentication.authenticate(self)
        return principal


class UserDataView(APIView):
    """What every endpoint of the family does: the checks in the documented order, then its action."""

    authentication_classes = [AccessTokenAuthentication]
    permission_classes = [HasRequiredScopes]
    http_method_names = ["post"]

    required_scopes: ClassVar[frozenset[str]]
    serializer_class: ClassVar[type[UserDataSerializer]]
    results: ClassVar[Mapping[Outcome, int]]

    default_response_headers: ClassVar[dict[str, str]] = {}

    body = parsers.Body({})
    trace_id = ""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        self.trace_id = given if _trace_id.fullmatch(given) else new_trace_id()
        return ApiRequest(request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Method, body, token, scopes. There is one form of answer, so nothing is negotiated."""
        if request._request.META["REQUEST_METHOD"] != "POST":  # methods are case-sensitive, which Django overlooks
            self.http_method_not_allowed(request)
        self.body = parsers.read(request._request)
        self.perform_authentication(request)
        self.check_permissions(request)

    def post(self, request: ApiRequest) -> HttpResponse:
        params = self.serializer_class.parse(self.body)
        return self.answer(self.perform(request.user, params))

    def perform(self, principal: Principal, params: Params) -> Outcome:
        raise NotImplementedError

    def answer(
        self, outcome: Outcome, status: int = 200, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        metrics.answers(type(self).__name__, outcome.name).inc()
        return Answer(
            self.results[outcome],
            self.body.request_id,
            status=status,
            detail=detail,
            headers=headers,
            trace_id=self.trace_id,
        )


class SetValue(UserDataView):
    """Store one value under one of the caller's keys."""

    required_scopes = frozenset({"email", "user-data-set"})
    serializer_class = SetParams
    results = results.SET

    def perform(self, principal: Principal, params: Params) -> Outcome:
        owner = store.Owner(OwnerKind.USER, principal.sub)
        store.put(store.Write(owner, params["value_key"], params["value_data"], principal.app, AccessScope.PRIVATE))
        return Outcome.SUCCESS
