import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.copies import Copy, Run


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    if not all(map(shutil.which, ["make", "bash", "curl", "ps", "openssl"])):
        pytest.skip("needs make, bash, curl, ps and openssl")


@pytest.fixture(scope="module")
def copy() -> Iterator[Callable[..., Copy]]:
    """Make a copy, for root or for another user."""
    made: list[Copy] = []

    def copy(**runs_as: Any) -> Copy:
        made.append(Copy(Path(tempfile.mkdtemp(prefix="userdata-tests-")), runs_as))
        made[-1].make()
        return made[-1]

    yield copy
    for each in made:
        each.remove()


@pytest.fixture(scope="module")
def clone(copy: Callable[..., Copy]) -> Copy:
    """The copy that most tests use, one after the other: what one leaves is what the next finds."""
    return copy()


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    """Start `make run`; whatever a failed test leaves of it is killed."""
    runs: list[Run] = []

    def run(copy: Copy, **settings: Any) -> Run:
        runs.append(Run(copy, **settings))
        return runs[-1]

    yield run
    for started in runs:
        started.kill()
