"""A worker's memory over a million requests, with more tokens than a bounded cache keeps."""

import threading
import time

from bench.candidates import Ours, Site
from bench.client import send
from bench.plan import Plan
from bench.processes import Server
from bench.progress import say
from bench.samples import Memory

TOKENS = 50_000
EVERY_SECONDS = 2.0
# The server's own helper processes are smaller than any worker.
WORKER_BYTES = 20_000_000


def run(plan: Plan, site: Site) -> list[Memory]:
    """The memory of each worker, again and again until the last request."""
    ours = Ours(site)
    ours.prepare()
    say(f"signing {TOKENS:,} tokens")
    tokens = site.signer.write_users(site.scratch / "soak-tokens.tsv", TOKENS)
    with ours.serve() as server:
        say(f"sending {plan.soak_requests:,} requests")
        watch = _Watch(server)
        watch.start()
        try:
            done = send(
                ours.load(),
                server.url,
                connections=plan.connections,
                tokens_file=tokens,
                requests=plan.soak_requests,
            )
        finally:
            watch.end.set()
            watch.join()
    say(f"{done.requests:,} requests at {done.per_second:,.0f}/s")
    pids = sorted({pid for _, sizes in watch.seen for pid in sizes})
    last = watch.seen[-1][0]
    return [
        Memory(pids.index(pid) + 1, round(done.requests * seconds / last), round(size / 1e6, 2))
        for seconds, sizes in watch.seen
        for pid, size in sizes.items()
    ]


class _Watch(threading.Thread):
    """Looks at the workers' memory until `end` is set; `seen` holds seconds since the start and bytes by process."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.end = threading.Event()
        self.seen: list[tuple[float, dict[int, int]]] = []
        self._server = server

    def run(self) -> None:
        began = time.monotonic()
        while not self.end.is_set():
            sizes = self._server.memory()
            workers = {p: b for p, b in sizes.items() if p != self._server.pid and b > WORKER_BYTES}
            seconds = time.monotonic() - began
            self.seen.append((seconds, workers))
            if len(self.seen) % 30 == 0:
                say("  ".join(f"worker {pid}: {size / 1e6:.1f} MB" for pid, size in sorted(workers.items())))
            self.end.wait(EVERY_SECONDS)
