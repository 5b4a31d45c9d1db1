"""The endpoints: one class per action."""

import re
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from time import perf_counter
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from userdata import metrics, parsers, serializers
from userdata.authentication import AccessTokenAuthentication
from userdata.exceptions import InvalidParameters, TooManyKeys
from userdata.identity import Principal
from userdata.models import AccessScope
from userdata.permissions import HasRequiredScopes, ProvesOwner
from userdata.request_log import RequestLog
from userdata.responses import Answer, new_trace_id
from userdata.results import Outcome, Results
from userdata.serializers import Params, UserDataSerializer, can_be_key, check_key
from userdata.service import Service
from userdata.storage import Name, Owner, Store
from userdata.storages import BASIC, Storage
from userdata.text import CONTROL, is_unicode
from userdata.throttling import FairUse

Fields = dict[str, Any]

_trace_id = re.compile(r"[A-Za-z0-9._-]{1,128}")


class UserDataView(APIView):
    """What every endpoint of the family does: the checks in the documented order, then its action.

    An ordinary `APIView` but for three things: what waits is awaited, there is one form of request and of answer, so
    nothing is negotiated, and what is wrong with the body is said only when the token has been checked.
    """

    authentication_classes = [AccessTokenAuthentication]
    permission_classes = [HasRequiredScopes, ProvesOwner]
    throttle_classes = [FairUse]
    http_method_names = ["post"]
    default_response_headers: ClassVar[dict[str, str]] = {}

    # Of an action
    name: ClassVar[str]
    required_scopes: frozenset[str]
    empty: ClassVar[Fields] = {}
    """The fields of an answer in which there is nothing; failures have them too."""
    action_headers: ClassVar[dict[str, str]] = {}
    params: type[UserDataSerializer]

    # Of an endpoint: arguments of `as_view`
    storage: Storage = BASIC
    results: Results = {}
    serializer_class: type[UserDataSerializer] = UserDataSerializer
    # One instance of each serves all requests.
    serializer: UserDataSerializer = UserDataSerializer()
    authenticators: Sequence[BaseAuthentication] = ()
    permissions: Sequence[BasePermission] = ()

    body = parsers.Body()
    trace_id = ""
    started = 0.0  # by `perf_counter`
    principal: Principal | None = None

    @classmethod
    def as_view(cls, *, storage: Storage, results: Results, **initkwargs: Any) -> Any:  # type: ignore[override]
        """The view of one endpoint; its fields are those of the storage and of the action."""
        action = initkwargs.get("params", cls.params)
        title = "".join(part.capitalize() for part in f"{storage.name}-{cls.name}-params".split("-"))
        kind = serializers.combined(title, storage.fields, action)
        return super().as_view(
            storage=storage,
            results=results,
            serializer_class=kind,
            serializer=kind(),
            authenticators=[authenticator() for authenticator in cls.authentication_classes],
            permissions=[permission() for permission in cls.permission_classes],
            **initkwargs,
        )

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        self.args, self.kwargs, self.headers = args, kwargs, self.default_response_headers
        self.request = drf_request = self.initialize_request(request, *args, **kwargs)
        try:
            await self.initial(drf_request, *args, **kwargs)
            response = await self.post(drf_request)
        except Exception as exception:  # noqa: BLE001 - DRF's handler answers each
            response = self.handle_exception(exception)
        return self.finalize_response(drf_request, response, *args, **kwargs)  # type: ignore[arg-type]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        self.started = perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        self.trace_id = given if given and _trace_id.fullmatch(given) else new_trace_id()
        drf_request = Request(request, authenticators=self.authenticators)
        drf_request.parser_context = {}  # it holds the request, which only the garbage collector would then find
        return drf_request

    async def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Method, body, token, scopes, throttles."""
        http: Any = request._request
        if http.scope["method"] != "POST":  # methods are case-sensitive, which Django overlooks
            raise MethodNotAllowed(http.method)
        content = await self.service.bodies.read(http.META.get("CONTENT_LENGTH", ""), http.receive)
        self.body = parsers.parsed(content, http.META.get("CONTENT_TYPE", ""))
        await self.perform_authentication(request)
        self.check_permissions(request)
        await self.check_throttles(request)

    def get_permissions(self) -> Sequence[BasePermission]:
        return self.permissions

    async def perform_authentication(self, request: Request) -> None:  # type: ignore[override]
        """`request.user` and `request.auth` by the first authenticator that knows the caller.

        Raises `NotAuthenticated` where none does: there is no endpoint for nobody in particular.
        """
        for authenticator in request.authenticators or ():
            found: Any = authenticator.authenticate(request)
            if isawaitable(found):
                found = await found
            if found is not None:
                request.user, request.auth = found
                self.principal = found[0]
                return
        raise NotAuthenticated

    async def check_throttles(self, request: Request) -> None:  # type: ignore[override]
        """As DRF does it, but for awaiting those that wait."""
        waits: list[float | None] = []
        for throttle in self.get_throttles():
            allowed: Any = throttle.allow_request(request, self)
            if isawaitable(allowed):
                allowed = await allowed
            if not allowed:
                waits.append(throttle.wait())
        if waits:
            longest = max((wait for wait in waits if wait is not None), default=None)
            self.throttled(request, longest)  # type: ignore[arg-type]

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        """Whoever comes so far is authenticated; DRF would ask the authenticators once more."""
        raise PermissionDenied(message, code)

    async def post(self, request: Request) -> HttpResponse:
        if self.body.problem:
            raise InvalidParameters(self.body.problem)
        params: Params = self.serializer.run_validation(self.body.fields)
        principal: Principal = request.user  # type: ignore[assignment]
        owner = self.storage.owner(principal, params)
        outcome, fields = await self.perform(owner, principal.app, params)
        return self.answer(outcome, fields)

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        """Do it; what became of it, and the fields of the answer."""
        raise NotImplementedError

    def answer(
        self,
        outcome: Outcome,
        fields: Fields | None = None,
        status: int = 200,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        if self.storage.always_200 and status != 405:
            status = 200
        answer = Answer(
            self.results[outcome],
            self.body.request_id,
            self.empty if fields is None else fields,
            status=status,
            detail=detail,
            headers={**self.action_headers, **headers} if headers else self.action_headers,
            trace_id=self.trace_id,
        )
        self.record(outcome, status, detail)
        return answer

    def record(self, outcome: Outcome, status: int, detail: str) -> None:
        """What operators see of an answer: its numbers, and its line in the log."""
        seconds = perf_counter() - self.started
        name, http = outcome.name, self.request._request
        metrics.answers(self.storage.name, self.name, name, status).inc()
        metrics.durations(self.storage.name, self.name).observe(seconds)
        log: RequestLog | None = http.scope["service"].request_log  # type: ignore[attr-defined]
        if log is not None:
            log.write(self.trace_id, http.path, status, self.results[outcome], name, seconds, self.principal, detail)

    def authorize(self, principal: Principal) -> None:
        self.storage.authorize(principal, self.required_scopes)

    @property
    def service(self) -> Service:
        service: Service = self.request._request.scope["service"]  # type: ignore[attr-defined]
        return service

    @property
    def store(self) -> Store:
        return self.service.store


class SetValue(UserDataView):
    """Store one value under one of the caller's keys."""

    name = "set"
    required_scopes = frozenset({"email", "user-data-set"})
    params = serializers.SetSharedParams

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        check_key(params["value_key"])
        access_scope = params.get("access_scope")
        if access_scope is None:
            access_scope = self.storage.default_scope
        await self.store.put(owner, app, params["value_key"], params["value_data"], int(access_scope))
        return Outcome.SUCCESS, self.empty


class ReadView(UserDataView):
    """Reads stay out of caches."""

    required_scopes = frozenset({"email", "user-data-get"})
    action_headers = {"Cache-Control": "no-store"}

    def found(self, fields: Fields) -> tuple[Outcome, Fields]:
        """Success if there is anything in the fields; else the endpoint's word for nothing, if it has one."""
        nothing = Outcome.NOT_FOUND in self.results and not any(fields.values())
        return (Outcome.NOT_FOUND if nothing else Outcome.SUCCESS), fields


class GetValues(ReadView):
    """Read the values of keys: the app's own, and those that other apps of the user share."""

    name = "get"
    empty = {"values": []}
    params = serializers.KeysParams

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        if len(params["value_keys"]) > settings.MAX_KEYS_PER_REQUEST:
            raise TooManyKeys(f"value_keys may have at most {settings.MAX_KEYS_PER_REQUEST} elements.")
        asked = list(dict.fromkeys(params["value_keys"]))
        wanted = {key: name for key in asked if (name := _name(key))}
        values = await self.store.get(owner, app, list(wanted.values())) if wanted else {}
        pairs = [{"value_key": key, "value_data": values[nth]} for nth, key in enumerate(wanted) if nth in values]
        return self.found({"values": pairs})


class ListKeys(ReadView):
    """List the app's own keys, split by access scope."""

    name = "list-get"
    empty = {"keys_private": [], "keys_public": []}
    params = serializers.ListParams

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        keys: dict[int, list[str]] = {AccessScope.PRIVATE: [], AccessScope.PUBLIC: []}
        for key, access_scope in await self.store.list(owner, app):
            keys[access_scope].append(key)
        return self.found({"keys_private": keys[AccessScope.PRIVATE], "keys_public": keys[AccessScope.PUBLIC]})


class ListSharedKeys(ReadView):
    """List the public keys of the user's other apps, page by page."""

    name = "shared-list-get"
    empty = {"keys_shared": [], "next_search_id": ""}
    params = serializers.ListSharedParams

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        after = params.get("search_id") or ""
        page_size = params.get("page_size") or serializers.DEFAULT_PAGE_SIZE
        page = await self.store.list_shared(owner, app, after, page_size)
        # A full page always has a next one, which may be empty: clients go on for as long as pages are full.
        next_search_id = serializers.PlaceField.written(page[-1][1]) if len(page) == page_size else ""
        fields = {
            "keys_shared": [f"{_written(other)}/{key}" for other, key in page],
            "next_search_id": next_search_id,
        }
        return (Outcome.SUCCESS, fields) if after else self.found(fields)


class DeleteKeys(UserDataView):
    """Delete some of the app's own keys."""

    name = "delete"
    required_scopes = frozenset({"email", "user-data-set"})
    empty = {"keys_delete_results": []}
    params = serializers.KeysParams

    async def perform(self, owner: Owner, app: str, params: Params) -> tuple[Outcome, Fields]:
        if len(params["value_keys"]) > settings.MAX_KEYS_PER_REQUEST:
            raise InvalidParameters(f"value_keys may have at most {settings.MAX_KEYS_PER_REQUEST} elements.")
        asked = list(dict.fromkeys(params["value_keys"]))
        keys = [key for key in asked if can_be_key(key)]
        deleted = await self.store.delete(owner, app, keys) if keys else set()
        fields = {"keys_delete_results": [{"value_key": key, "is_deleted": key in deleted} for key in asked]}
        return (Outcome.SUCCESS if deleted else Outcome.NOT_FOUND), fields


def _name(asked: str) -> Name | None:
    """What a name that was asked for can mean: an own key, or `app/key`; None where it can be neither."""
    own = asked if can_be_key(asked) else ""
    written, slash, key = asked.partition("/")
    if not slash:
        return Name(own) if own else None
    app = written.replace("%2F", "/").replace("%25", "%")
    if _written(app) != written or CONTROL.search(app) or not is_unicode(app) or not can_be_key(key):
        return Name(own) if own else None
    return Name(own, app, key)


def _written(app: str) -> str:
    """An app in front of a key; only a key may hold a slash."""
    return app.replace("%", "%25").replace("/", "%2F")
