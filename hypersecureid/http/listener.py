"""A worker's event loop and its connections."""

import asyncio
import signal
import socket
from email.utils import formatdate

from hypersecureid.http.connection import MAX_CONNECTIONS, Connection
from hypersecureid.http.exchange import Application
from userdata import waiting

SHUTDOWN_SECONDS = 8
DATE_SECONDS = 1


class Listener:
    """Serves an application on a listening socket, and has what its connections share."""

    def __init__(self, listening: socket.socket, application: Application) -> None:
        self.application = application
        self.connections: set[Connection] = set()
        self.date = ""
        self._socket = listening

    async def serve(self) -> None:
        """Until SIGTERM; then what is under way is answered."""
        loop = asyncio.get_running_loop()
        waiting.serve_on(loop)
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, told.set)
        self._tell_date(loop)
        server = await loop.create_server(lambda: Connection(self), sock=self._socket, backlog=MAX_CONNECTIONS)
        await told.wait()
        server.close()
        for connection in list(self.connections):
            connection.shutdown()
        end = loop.time() + SHUTDOWN_SECONDS
        while self.connections and loop.time() < end:
            await asyncio.sleep(0.05)

    def _tell_date(self, loop: asyncio.AbstractEventLoop) -> None:
        """The date is the same for many answers, and takes longer to tell than all the rest of a head."""
        self.date = formatdate(usegmt=True)
        loop.call_later(DATE_SECONDS, self._tell_date, loop)
