"""The limit: what PostgreSQL does with nothing in front of it, by pgbench and the service's own upsert."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.candidates import Ours
from bench.client import Run
from bench.database import PROGRAMS
from bench.processes import DidNotStart, last_line
from bench.workload import APP, KEYS, USER_ID_SQL, USERS

NAME = "limit"
TITLE = "the limit (pgbench, the upsert alone)"

SCRIPT = f"""\\set user random(1, {USERS})
\\set key random(1, {KEYS})
\\set digits random(100000, 999999)
INSERT INTO {Ours.table} AS v (owner_kind, owner_id, key, value, app, access_scope)
VALUES ('user', {USER_ID_SQL.format(n=":user")}, 'key-' || :key::text,
        'limit-padded-to-the-size-' || :digits::text, '{APP}', 0)
ON CONFLICT (owner_kind, owner_id, key) DO UPDATE
SET value = excluded.value, revision = v.revision + 1, updated_at = now()
WHERE v.app = excluded.app;
"""


def measure(url: str, folder: Path, clients: int, seconds: float) -> Run:
    """Upserts in the database at `url`, each a transaction, prepared; `folder` is for pgbench's own files.

    Raises `DidNotStart`.
    """
    script = folder / "limit.sql"
    script.write_text(SCRIPT)
    log = folder / "limit"
    command: list[str | Path] = [
        PROGRAMS / "pgbench",
        "--no-vacuum",
        "--protocol=prepared",
        f"--client={clients}",
        f"--jobs={min(2, clients)}",
        f"--time={max(1, round(seconds))}",
        f"--file={script}",
        "--log",
        f"--log-prefix={log}",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode != 0:
        raise DidNotStart(f"pgbench failed: {last_line(done.stderr)}")
    per_second = float(_found(r"tps = ([0-9.]+)", done.stdout))
    latencies = _latencies(folder)
    return Run(
        requests=len(latencies),
        seconds=len(latencies) / per_second,
        failures=int(_found(r"number of failed transactions: (\d+)", done.stdout)),
        p50_ms=median(latencies),
        p99_ms=latencies[int(len(latencies) * 0.99)],
        max_ms=latencies[-1],
    )


def _latencies(folder: Path) -> Sequence[float]:
    """The milliseconds of every transaction, sorted, from pgbench's log, which is removed."""
    found = []
    for file in folder.glob("limit.[0-9]*"):
        found += [int(line.split(" ", 3)[2]) / 1e3 for line in file.read_text().splitlines()]
        file.unlink()
    return sorted(found)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise DidNotStart(f"pgbench said something else: {last_line(text)}")
    return match[1]
