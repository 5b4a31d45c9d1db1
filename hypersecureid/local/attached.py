"""`make manage` and `make psql`: at the database of this folder's `make run`, or at the one that DATABASE_URL names.

CMD in the environment holds the arguments of `manage.py`, quoted as for a shell.
"""

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, NoReturn

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hypersecureid.local import environment
from hypersecureid.local.programs import BINARIES

URL_FILE = environment.STATE / "database_url"


@contextmanager
def published(url: str) -> Iterator[None]:
    """Let `make manage` and `make psql` find the database for as long as this lasts; the first run of a folder wins."""
    URL_FILE.parent.mkdir(parents=True, exist_ok=True)
    URL_FILE.touch(0o600)
    with URL_FILE.open("r+") as file:
        if first := _lock(file, fcntl.LOCK_EX):
            file.truncate()
            file.write(url)
            file.flush()
        try:
            yield
        finally:
            if first:
                URL_FILE.unlink(missing_ok=True)


def manage() -> NoReturn:
    url = _url()
    environment.complete()
    if not environment.is_set("DATABASE_URL"):
        os.environ["DATABASE_URL"] = url
    os.chdir(environment.PROJECT)
    arguments = shlex.split(os.environ.get("CMD", ""))
    os.execv(sys.executable, [sys.executable, "manage.py", *arguments])  # noqa: S606 - no shell is wanted


def psql() -> NoReturn:
    options = conninfo_to_dict(_url())
    if password := options.pop("password", None):
        os.environ["PGPASSWORD"] = str(password)  # arguments can be seen by other users
    os.execv(BINARIES / "psql", ["psql", make_conninfo("", **options)])  # noqa: S606 - no shell is wanted


def _url() -> str:
    if url := environment.value("DATABASE_URL"):
        return url
    with suppress(FileNotFoundError), URL_FILE.open() as file:
        if not _lock(file, fcntl.LOCK_SH):  # else nobody holds it: it is left from a run that was killed
            return file.read()
    sys.exit("No `make run` is running here; start one, or set DATABASE_URL.")


def _lock(file: IO[str], kind: int) -> bool:
    """Whether the file could be locked; the system lets go of a lock when its process ends, however it ends."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    try:
        {"manage": manage, "psql": psql}[sys.argv[1]]()
    except ProgrammingError:
        sys.exit("DATABASE_URL is not a URL that psql understands.")
    except (OSError, ValueError) as problem:
        sys.exit(f"{str(problem).rstrip('.')}.")
