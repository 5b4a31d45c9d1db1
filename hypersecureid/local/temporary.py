"""Folders in the system's temporary directory that do not outlive their process, even when it is killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypersecureid.local import LocalError

PREFIX = "userdata-local-"


class TemporaryFolder:
    """A new folder, locked while its process lives; the next process that makes one removes those that nobody locks."""

    def __init__(self) -> None:
        self._lock: int | None = None
        base = _base()
        sweep(base)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            with suppress(FileNotFoundError):
                self._lock = os.open(self.path, os.O_RDONLY)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                if self.path.exists():
                    return
                os.close(self._lock)  # another process has swept it before it was locked

    def close(self) -> None:
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


@contextmanager
def folder() -> Iterator[Path]:
    made = TemporaryFolder()
    try:
        yield made.path
    finally:
        made.close()


def sweep(base: Path) -> None:
    """Remove what killed processes of this user have left."""
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked by a live process, or gone meanwhile
            left = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(left).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(left)


def _base() -> Path:
    """The temporary directory; for root, one that the user who runs PostgreSQL can reach.

    Raises `LocalError` where there is none.
    """
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return usual
    for base in (usual, Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - mkdtemp makes the name
        if all(folder.stat().st_mode & 0o001 for folder in (base, *base.resolve().parents)):
            return base
    raise LocalError("There is no temporary directory that other users than root can reach")
