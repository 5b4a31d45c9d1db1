"""The application: the API goes through a lean handler, pages through Django's own.

It starts and ends, with the worker, what the requests of the worker share.
"""

import os
import warnings
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
_pages = get_asgi_application()
# WhiteNoise reads its files by a plain iterator; they are small.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from corsheaders.middleware import CorsMiddleware  # noqa: E402 - the settings come first
from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.handlers.asgi import ASGIHandler, ASGIRequest  # noqa: E402
from django.core.handlers.exception import convert_exception_to_response  # noqa: E402
from django.http.response import HttpResponseBase  # noqa: E402
from django.urls import ResolverMatch, resolve  # noqa: E402

from hypersecureid.checks import require_safe_settings  # noqa: E402
from userdata.exceptions import Failure, bad_request  # noqa: E402
from userdata.responses import Answer  # noqa: E402
from userdata.results import COMMON  # noqa: E402
from userdata.service import Service  # noqa: E402

# As ASGI describes them; its types differ from framework to framework.
Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# What needs no middleware: the API, and what monitors ask, by whatever host name they know.
LEAN = ("/user-data/", "/livez", "/readyz", "/metrics")

# What the middleware of pages adds to theirs.
SECURITY_HEADERS = [(b"X-Content-Type-Options", b"nosniff"), (b"X-Frame-Options", b"DENY")]


class ApiRequest(ASGIRequest):
    """A request whose body is read when the view comes to it."""

    def __init__(self, scope: Scope, receive: Any) -> None:
        super().__init__(scope, body_file=receive)
        self.receive: Receive = receive

    def close(self) -> None:
        """There is no file to close."""


class Preflight(CorsMiddleware):
    def check_preflight(self, request: Any) -> HttpResponseBase | None:
        response = super().check_preflight(request)
        if response is not None:
            del response["Content-Type"]  # of nothing
        return response


class ApiHandler(ASGIHandler):
    """Django's handler without threads, signals and the middleware of pages, none of which the API needs."""

    request_class = ApiRequest

    def load_middleware(self, is_async: bool = False) -> None:
        view: Any = convert_exception_to_response(self._call_view)
        self._view, self._view_for_browsers = view, convert_exception_to_response(Preflight(view))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        request, _ = self.create_request(scope, receive)
        if request is None:  # the query is not in UTF-8
            await self.send_response(bad_request(scope), send)
            return
        # CORS headers are for the requests that a web page makes: only those carry an Origin.
        view: Any = self._view_for_browsers if "HTTP_ORIGIN" in request.META else self._view
        await self.send_response(await view(request), send)

    async def _call_view(self, request: Any) -> HttpResponseBase:
        match = request.resolver_match = _resolved(request.path_info, settings.ROOT_URLCONF)
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        return response

    async def send_response(self, response: Any, send: Any) -> None:
        """Answers here are neither streamed nor carry cookies."""
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        headers += SECURITY_HEADERS
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})


@lru_cache(maxsize=64)
def _resolved(path: str, urlconf: str) -> ResolverMatch:
    """Paths here have no variable parts; what is not found is not kept."""
    return resolve(path, urlconf)


class Application:
    """The ASGI application of one worker."""

    def __init__(self) -> None:
        require_safe_settings()
        self._api = ApiHandler()
        self._service: Service | None = None
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if self._service is None:  # under a server that does not know lifespan
            await self.start()
        scope["service"] = self._service
        names = {name for name, _ in scope["headers"]}
        if b"upgrade" in names:
            receive, send = _without_upgrade(receive, has_chunks=b"transfer-encoding" in names), _closing(send)
        elif self._is_ending:
            send = _closing(send)
        if scope["path"].startswith(LEAN):
            await self._api(scope, receive, send)
        else:
            await self._page(scope, receive, send)

    async def start(self) -> None:
        self._service = Service.from_settings()
        await self._service.start()

    def end_connections(self) -> None:
        """From now on each connection is closed by an answer, which tells its peer not to use it again."""
        self._is_ending = True

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()
            self._service = None

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan."""
        await receive()
        try:
            await self.start()
        except (ImproperlyConfigured, ValueError) as problem:
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Django's handler would read a body without any limit, so it is given one that is read already."""
        length = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-length"), "")
        try:
            body = await scope["service"].bodies.read(length, receive)
        except Failure as failure:
            response = Answer(COMMON[failure.outcome], status=max(400, failure.status_code), detail=failure.reason)
            await self._api.send_response(response, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def read_already() -> Any:
            return messages.pop() if messages else await receive()

        await _pages(scope, read_already, send)


def _without_upgrade(receive: Receive, *, has_chunks: bool) -> Receive:
    """For a request that asks for another protocol, and is answered in HTTP/1.1.

    uvicorn's parser drops the body of such a request, and takes what comes of it later for the next request. That a
    body with a length was dropped is seen by its length; one in chunks just seems empty.
    """

    async def receive_unless_dropped() -> Any:
        message = await receive()
        return message if message.get("body") or message.get("more_body") else {"type": "http.disconnect"}

    return receive_unless_dropped if has_chunks else receive


def _closing(send: Send) -> Send:
    """Close the connection with the answer."""

    async def send_and_close(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return send_and_close


application = Application()
