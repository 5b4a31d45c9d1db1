"""What clients asked, when, and what they were told."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["set", "get", "delete"]

TOLD = -4
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request: times are monotonic; `result` is None where no answer came, `value` what a get or a set is about."""

    kind: Kind
    user: str
    key: str
    start: float
    end: float
    result: int | None
    value: str | None = None
    thread: int = 0
    detail: str = ""

    def __str__(self) -> str:
        told = "no answer" if self.result is None else self.result
        return f"{self.start:.3f}–{self.end:.3f} {self.kind} {self.value}: {told} {self.detail}".rstrip()

    @property
    def acknowledged(self) -> bool:
        return self.result in (0, 1)

    @property
    def uncertain(self) -> bool:
        """A write that may or may not have landed."""
        return self.kind != "get" and (self.result == TOLD or (self.result is None and self.detail != REFUSED))


def write(path: Path, operations: Iterable[Operation]) -> None:
    with path.open("w") as lines:
        lines.writelines(json.dumps(asdict(operation)) + "\n" for operation in operations)


def read(paths: Iterable[Path]) -> Iterator[Operation]:
    for path in paths:
        with path.open() as lines:
            for line in lines:
                yield Operation(**json.loads(line))
