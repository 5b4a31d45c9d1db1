"""One connection: its requests are answered in order, in the thread that reads them, and none of them for ever."""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Protocol

from hypersecureid.http.exchange import Application, Exchange, Response
from hypersecureid.http.reader import RequestReader
from userdata import waiting

MAX_CONNECTIONS = 2048  # in each worker
HEAD_SECONDS = 10
BODY_SECONDS = 60
# Longer than proxies keep a connection: it is for them to end it, who know whether a request is on its way.
IDLE_SECONDS = 90
LINGER_SECONDS = 2
TICK_SECONDS = 2

_STATUS_LINES = {int(status): f"HTTP/1.1 {status:d} {status.phrase}\r\n" for status in HTTPStatus}


class Site(Protocol):
    """What all connections share. `date`: now, for a header."""

    application: Application
    connections: set["Connection"]
    date: str


class Connection(asyncio.Protocol):
    """What asyncio calls when something happens on a connection."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._answering: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._read_paused = False
        self._write_paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        host, port, *_ = transport.get_extra_info("sockname")
        client, *_ = transport.get_extra_info("peername")
        basis = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": client,
            "wsgi.url_scheme": "http",
        }
        self._reader = RequestReader(self, basis)
        self._expire_in(HEAD_SECONDS)
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        if len(self._site.connections) >= MAX_CONNECTIONS:
            self._make_room()
        self._site.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._reader.is_between_requests():
            self._expire_in(HEAD_SECONDS)
        self._reader.feed(data)
        self._next()

    def eof_received(self) -> bool:
        """The client sends nothing more; it may still read."""
        self._reader.end()
        return self._is_busy()

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.connections.discard(self)
        self._timer.cancel()
        self._queue.clear()
        self._reader.end()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._next()

    def shutdown(self) -> None:
        """End when all is answered that came."""
        self._reader.ended = True
        if not self._is_busy():
            self._transport.close()

    def is_idle(self) -> bool:
        return self._reader.is_between_requests() and not self._reader.ended and not self._is_busy()

    def _is_busy(self) -> bool:
        return self._answering is not None or bool(self._queue)

    def _make_room(self) -> None:
        """Close what has been idle for longest; where nothing is idle, this one."""
        idle = [connection for connection in self._site.connections if connection.is_idle()]
        if idle:
            min(idle, key=lambda connection: connection._since)._transport.close()
        else:
            self._reader.refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    # --- Time -------------------------------------------------------------------------------------

    def _expire_in(self, seconds: float) -> None:
        self._since = self._loop.time()
        self._patience = seconds

    def _tick(self) -> None:
        """Look whether the client takes too long. A timer for each request would cost more than this."""
        if self._loop.time() - self._since >= self._patience:
            if self._answering is None:
                self._transport.abort()
                return
            if not self._answering.complete:
                self._reader.end()
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    # --- What the reader calls --------------------------------------------------------------------

    def take(self, exchange: Exchange) -> None:
        self._queue.append(exchange)

    def refuse(self, status: HTTPStatus) -> None:
        self._queue.append(Exchange(self, {}, refusal=status))
        self._next()

    def go_on(self, exchange: Exchange) -> None:
        if exchange.environ.pop("HTTP_EXPECT", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._pace()

    def _pace(self) -> None:
        """Read no more than can be worked on."""
        receiving = self._reader.receiving
        enough = bool(self._queue) or (receiving is not None and receiving.is_full())
        if enough is not self._read_paused and not self._transport.is_closing():
            self._read_paused = enough
            if enough:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # --- Answers ----------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin to answer the next request where it is its turn."""
        if self._queue and self._answering is None and not self._write_paused:
            exchange = self._answering = self._queue.popleft()
            self._expire_in(BODY_SECONDS)
            if exchange.refusal:
                self._send(exchange, (exchange.refusal, [("Content-Length", "0")], b""))
            else:
                waiting.run(self._answer, exchange)
        self._pace()

    def _answer(self, exchange: Exchange) -> None:
        try:
            response = self._site.application(exchange.environ)
        except BaseException:
            self._transport.abort()
            raise
        exchange.environ.clear()  # it holds the exchange, so one would keep the other
        self._send(exchange, response)

    def _send(self, exchange: Exchange, response: Response) -> None:
        self._answering = None
        if self._transport.is_closing():
            return
        unread = not exchange.complete or exchange.cut
        if unread:
            self._reader.end()
        last = self._reader.ended and not self._queue
        status, headers, body = response
        lines = [_STATUS_LINES[status]]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        lines += f"Date: {self._site.date}\r\n", "Connection: close\r\n\r\n" if last else "\r\n"
        self._transport.write("".join(lines).encode("latin-1") + body)
        if last and unread:
            self._linger()
        elif last:
            self._transport.close()
        else:
            self._expire_in(IDLE_SECONDS if self._reader.is_between_requests() else HEAD_SECONDS)
            if self._queue:
                self._loop.call_soon(self._next)

    def _linger(self) -> None:
        """Let the client read its answer first: closed while it sends, the connection would lose it."""
        self._transport.write_eof()
        self._pace()
        self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.abort)
