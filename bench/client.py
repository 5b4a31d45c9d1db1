"""One measurement: wrk in a closed loop, vegeta at a fixed rate, or pgbench on the bare database."""

import base64
import csv
import json
import os
import random
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

import httpx2

from bench.scenarios import KEYS, OWNERS, Workload

FOLDER = Path(__file__).parent
# A run that is bounded by its number of requests gives up after this time.
LONGEST_SECONDS = 3_600
TIMEOUT = "20s"
VEGETA = "github.com/tsenart/vegeta/v12@v12.13.0"
VEGETA_TARGETS = 5_000


class NotRun(Exception):
    """A measurement can't be made; the message says why in one sentence."""


@dataclass(frozen=True)
class Run:
    """What one run of a client saw; latencies are 0 where it does not tell them."""

    requests: int = 0
    # Answers that were no success, and requests that got no answer.
    failures: int = 0
    per_second: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    max_ms: float = 0
    first_failure: str = ""
    # New rows in the last sixth of the time ÷ those in the first sixth.
    steadiness: float = 0
    # Of the worker that drifts most, in parts of its mean, and of the largest.
    memory_drift: float = 0
    memory_mb: float = 0

    @property
    def tail(self) -> float:
        return self.p99_ms / self.p50_ms


def closed_loop(
    url: str,
    workload: Workload,
    tokens: Path,
    *,
    connections: int = 32,
    seconds: int = LONGEST_SECONDS,
    requests: int = 0,
) -> Run:
    """Keep `connections` requests under way until `seconds` are over or `requests` are sent.

    Each takes a user at random or, where their number is given, the next one.
    """
    settings = {
        "BENCH_HOST": urlsplit(url).netloc,
        "BENCH_ACTIONS": workload.actions,
        "BENCH_TOKENS": str(tokens),
        "BENCH_USERS": "{} {}".format(*workload.users),
        "BENCH_KEYS": str(workload.keys),
        "BENCH_KEYS_PER_GET": str(workload.keys_per_get),
        "BENCH_LEAST_BYTES": str(workload.least_bytes),
        "BENCH_MARK": secrets.token_hex(4),
        "BENCH_REQUESTS": str(requests),
    }
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT}"]
    output = _output([program("wrk"), *options, "-s", FOLDER / "wrk.lua", url], settings)
    micros, sent, failures, p50, p99, longest = map(float, _found(r"^RESULT (.*)$", output).split())
    failure = _found(r"^FAILURE (.*)$", output)
    return Run(int(sent), int(failures), sent / micros * 1e6, p50 / 1e3, p99 / 1e3, longest / 1e3, failure)


def fixed_rate(url: str, tokens: Path, vegeta: Path, *, rate: int, seconds: int) -> Run:
    """Send `rate` overwrites in each second, however long the answers take."""
    users = tokens.read_text().splitlines()[:OWNERS]
    targets, results = tokens.with_name("targets.json"), tokens.with_name("results.bin")
    with targets.open("w") as lines:
        for _ in range(VEGETA_TARGETS):
            body = {"value_key": f"key-{random.randint(1, KEYS)}", "value_data": secrets.token_hex(16)}
            encoded = base64.b64encode(json.dumps(body).encode()).decode()
            header = {"Authorization": [f"Bearer {random.choice(users)}"], "Content-Type": ["application/json"]}
            target = {"method": "POST", "url": f"{url}/user-data/set", "header": header, "body": encoded}
            lines.write(json.dumps(target) + "\n")
    options = [f"-targets={targets}", f"-rate={rate}/s", f"-duration={seconds}s", f"-timeout={TIMEOUT}"]
    _output([vegeta, "attack", "-format=json", *options, f"-output={results}"])
    # Of a row: code, latency in nanoseconds, error and body.
    rows = [row[1:3] + row[5:7] for row in csv.reader(_output([vegeta, "encode", "--to=csv", results]).splitlines())]
    failed = [f"{row[0]} {row[2]}" for row in rows if row[0] != "200" or not _succeeded(base64.b64decode(row[3]))]
    latencies = [int(row[1]) / 1e6 for row in rows]
    cuts = quantiles(latencies, n=100)
    return Run(len(rows), len(failed), len(rows) / seconds, cuts[49], cuts[98], max(latencies), "".join(failed[:1]))


def upserts(database: str, pgbench: Path, *, clients: int, seconds: int) -> Run:
    """The service's upsert with nothing in front of the database, a transaction for each."""
    options = ["--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=2", f"--time={seconds}"]
    ranges = [f"--define=users={OWNERS}", f"--define=keys={KEYS}"]
    output = _output([pgbench, *options, *ranges, f"--file={FOLDER / 'peers' / 'pgbench.sql'}", database])
    done, failed = _found(r"actually processed: (\d+)", output), _found(r"failed transactions: (\d+)", output)
    return Run(int(done), int(failed), float(_found(r"tps = ([0-9.]+)", output)))


def check_refusal(url: str, tokens: Path) -> None:
    """Raises `NotRun` unless a good token is accepted and one with an altered signature is refused."""
    with tokens.open() as lines:
        good = next(lines).strip()
    forged = good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:]
    for token, accepted in ((good, True), (forged, False)):
        body = {"value_key": "key-1", "value_data": "checked"}
        answer = httpx2.post(f"{url}/user-data/set", json=body, headers={"Authorization": f"Bearer {token}"})
        if _succeeded(answer.content) != accepted:
            raise NotRun(f"a {'good' if accepted else 'forged'} token got {answer.status_code} {answer.text[:200]}")


def install_vegeta(folder: Path) -> Path:
    """The program, built in `folder` unless it is there. Raises `NotRun`."""
    if not (folder / "vegeta").exists():
        _output([program("go"), "install", VEGETA], {"GOBIN": str(folder)})
    return folder / "vegeta"


def program(name: str) -> Path:
    """The program's path. Raises `NotRun`."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")  # nginx is there
    if found is None:
        raise NotRun(f"{name} is not installed; bench/README.md says how")
    return Path(found)


def _succeeded(body: bytes) -> bool:
    return re.search(rb'"result": ?0[,}]', body) is not None


def _output(command: list[str | Path], settings: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (settings or {}), check=False)
    # Where the requests are counted, wrk ends itself by an interrupt.
    if done.returncode != 0 and not done.stdout:
        raise NotRun(f"{Path(command[0]).name} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise NotRun(f"the client's output has no {pattern!r}: {text.strip()[-300:]}")
    return match[1]
