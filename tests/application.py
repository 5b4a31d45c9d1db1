"""The application in this process, on an event loop in a thread of its own; tests call it as ASGI describes."""

import asyncio
import json
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

SECONDS = 30


@dataclass
class Response:
    """An answer; headers are looked up without regard to case."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    def __getitem__(self, name: str) -> str:
        return self.headers[name.lower()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.headers

    def json(self) -> Any:
        return json.loads(self.content)


class Running:
    """The application, started; `restart` makes it anew from the settings as they are then."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="application", daemon=True).start()
        self._start()

    def _start(self) -> None:
        from hypersecureid.asgi import Application

        self.application = Application()
        self.run(self.application.start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the application's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)

    def restart(self) -> None:
        self.run(self.application.close())
        self._start()

    def stop(self) -> None:
        self.run(self.application.close())
        self.loop.call_soon_threadsafe(self.loop.stop)

    def call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
        return self.run(self._call(method, path, body, {"content-length": str(len(body))} | (headers or {})))

    async def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
        sent: list[Any] = []
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if not parts:
                await asyncio.Event().wait()  # the client stays
            return parts.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"testserver")]
            + [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
        }
        await self.application(scope, receive, send)
        start, *rest = sent
        names = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        assert len(names) == len(start["headers"]) or "set-cookie" in names
        return Response(start["status"], names, b"".join(message.get("body", b"") for message in rest))
