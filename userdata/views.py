"""The endpoints: one class per action."""

import re
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from userdata import metrics, parsers, results, store
from userdata.authentication import AccessTokenAuthentication, Principal
from userdata.models import AccessScope, OwnerKind
from userdata.permissions import HasRequiredScopes
from userdata.responses import Answer
from userdata.results import Outcome
from userdata.serializers import Params, SetParams, UserDataSerializer

_trace_id = re.compile(r"[A-Za-z0-9._-]{1,128}")


class UserDataView(APIView):
    """What every endpoint of the family does: the checks in the documented order, then its action."""

    authentication_classes = [AccessTokenAuthentication]
    authenticators = [AccessTokenAuthentication()]
    permission_classes = [HasRequiredScopes]
    http_method_names = ["post"]

    required_scopes: ClassVar[frozenset[str]]
    serializer_class: ClassVar[type[UserDataSerializer]]
    results: ClassVar[Mapping[Outcome, int]]

    default_response_headers: ClassVar[dict[str, str]] = {}

    body = parsers.Body({})
    trace_id = ""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        self.trace_id = given if _trace_id.fullmatch(given) else token_hex(16)
        return Request(request, authenticators=self.authenticators)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Method, body, token, scopes. There is one form of answer, so nothing is negotiated."""
        if request.META["REQUEST_METHOD"] != "POST":  # methods are case-sensitive, which Django overlooks
            self.http_method_not_allowed(request)
        self.body = parsers.read(request._request)
        self.perform_authentication(request)
        self.check_permissions(request)

    def post(self, request: Request) -> HttpResponse:
        params = self.serializer_class.parse(self.body)
        principal: Principal = request.user  # type: ignore[assignment]
        return self.answer(self.perform(principal, params))

    def perform(self, principal: Principal, params: Params) -> Outcome:
        raise NotImplementedError

    def answer(
        self, outcome: Outcome, status: int = 200, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        metrics.ANSWERS.labels(type(self).__name__, outcome.name).inc()
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
