"""The plans that PostgreSQL makes for a session, as it logs them with `debug_print_plan`: those of functions too."""

import re
from dataclasses import dataclass
from pathlib import Path

LOGGED = "-c debug_print_plan=on -c debug_pretty_print=off"  # libpq's `options` for the sessions to look at

_SCAN = re.compile(r"\{(SEQSCAN|\w*INDEX\w*SCAN|BITMAPHEAPSCAN|TID\w*SCAN|SAMPLESCAN) ")
_RECORD = re.compile(r"\n(?=\d{4}-\d\d-\d\d \d\d:)")
_COLUMN_OF_INDEX = re.compile(r":varno -3 :varattno (\d+)")


@dataclass(frozen=True, order=True)
class Scan:
    """One way to the table in a plan, and how many columns of the index its condition names, from the first on."""

    kind: str
    columns: int = 0


class PlanLog:
    """What a server has logged of plans since it was last asked."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0

    def new_plans(self) -> list[str]:
        """As PostgreSQL writes node trees."""
        text = self._log.read_text()
        records = _RECORD.split(text[self._read :])
        self._read = len(text)
        return [" ".join(record.split()) for record in records if "{PLANNEDSTMT" in record]

    def new_scans(self) -> set[Scan]:
        return {scan for plan in self.new_plans() for scan in scans(plan)}


def scans(plan: str) -> set[Scan]:
    return {Scan(match[1], _columns(plan, match.end())) for match in _SCAN.finditer(plan)}


def sort_collations(plan: str) -> list[str]:
    """Of each sort, the collations of its columns by number, 950 being "C"."""
    return [
        re.search(r":collations \(([ \d]*)\)", plan[match.end() :])[1].strip()  # type: ignore[index]
        for match in re.finditer(r"\{(?:INCREMENTAL)?SORT ", plan)
    ]


def _columns(plan: str, scan: int) -> int:
    """Of the index, in the condition of the scan that begins there; 0 unless they are the first ones."""
    start = plan.find(":indexqual (", scan)
    if start < 0:
        return 0
    depth, end = 0, start
    for end in range(start, len(plan)):
        depth += {"(": 1, ")": -1}.get(plan[end], 0)
        if depth == 0 and plan[end] == ")":
            break
    named = {int(column) for column in _COLUMN_OF_INDEX.findall(plan[start:end])}
    return len(named) if named == set(range(1, len(named) + 1)) else 0
