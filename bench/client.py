"""The client: one run of wrk against one server."""

import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench import install
from bench.workload import KEYS, VALUE_BYTES, Load

SCRIPT = Path(__file__).with_name("wrk.lua")
# A run that is bounded by a number of requests gives up after this time.
LONGEST_SECONDS = 3_600
# Under load Kinto now and then answers a write with a conflict of its own making; the table shows how often.
FEW_FAILURES = 5


class WrongAnswers(Exception):
    """The server answered, but not what it should; the message quotes the first such answer."""


@dataclass(frozen=True)
class Run:
    """What one run of the client saw."""

    requests: int
    seconds: float
    # Answers that were no success, and requests that got no answer.
    failures: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_second(self) -> float:
        return (self.requests - self.failures) / self.seconds


def new_mark() -> str:
    """What the values of one run begin with, so that its rows can be told from all others."""
    return secrets.token_hex(2)


def send(
    load: Load,
    url: str,
    *,
    connections: int,
    seconds: float = LONGEST_SECONDS,
    mark: str = "mark",
    value_bytes: int = VALUE_BYTES,
    tokens_file: Path | None = None,
    once: bool = False,
    requests: int = 0,
) -> Run:
    """Keep `connections` requests under way until `seconds` are over or `requests` are sent.

    A `tokens_file` takes the place of the load's users; with `once`, each of its lines is used one time at most,
    and the run ends with the last.
    Raises `WrongAnswers` where more than a few requests, and more than one in a thousand, failed.
    """
    settings = {
        "BENCH_METHOD": load.method,
        "BENCH_PATH": load.path,
        "BENCH_BODY": load.body,
        "BENCH_SUCCESS": load.success,
        "BENCH_USERS": str(tokens_file or load.users_file),
        "BENCH_EVERY_KEY": "0" if tokens_file else "1",
        "BENCH_KEYS": str(KEYS),
        "BENCH_MARK": mark,
        "BENCH_VALUE_BYTES": str(value_bytes),
        "BENCH_SEED": str(secrets.randbelow(2**31)),
        "BENCH_ONCE": "1" if once else "0",
        "BENCH_REQUESTS": str(requests),
    }
    wrk = install.program("wrk", "wrk")
    arguments = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout=20s", "-s", str(SCRIPT), url]
    done = subprocess.run([wrk, *arguments], capture_output=True, text=True, env=os.environ | settings, check=False)
    return _read(done.stdout, done.stderr)


def _read(output: str, errors: str) -> Run:
    lines = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in output.splitlines() if " " in line.strip()}
    if "RESULT" not in lines:
        raise WrongAnswers(f"wrk ended without a result: {errors.strip() or output.strip()}")
    micros, requests, refused, broken, p50, p99, longest = (float(part) for part in lines["RESULT"].split())
    run = Run(
        requests=int(requests),
        seconds=micros / 1e6,
        failures=int(refused + broken),
        p50_ms=p50 / 1e3,
        p99_ms=p99 / 1e3,
        max_ms=longest / 1e3,
    )
    if run.requests == 0 or run.failures > max(FEW_FAILURES, run.requests / 1000):
        example = lines.get("REFUSAL", "").strip() or "no answer"
        raise WrongAnswers(f"{run.failures} of {run.requests} requests failed; the first: {example}")
    return run
