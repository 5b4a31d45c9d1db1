"""Temporary folders of killed processes go; those of live ones, and what is not ours, stay."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hypersecureid.local import environment, temporary

HELD = "from hypersecureid.local.temporary import TemporaryFolder; print(TemporaryFolder().path, flush=True); input()"


def start(where: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD],
        cwd=environment.PROJECT,
        env={"TMPDIR": str(where)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_only_folders_of_killed_processes_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not pytest's own folder: only root's may enter that.
    with tempfile.TemporaryDirectory() as made:
        where = Path(made)
        where.chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", made)
        outside = where / "outside"
        outside.mkdir()
        (where / f"{temporary.PREFIX}link").symlink_to(outside)
        (where / f"{temporary.PREFIX}file").touch()
        killed, left = start(where)
        alive, used = start(where)
        (left / "sockets").mkdir()
        killed.kill()
        killed.communicate()
        before = {path.name for path in where.iterdir()}

        with temporary.folder() as ours:
            now = {path.name for path in where.iterdir()}

        assert now == (before - {left.name}) | {ours.name}
        assert used.exists()
        assert outside.exists()
        assert not ours.exists()
        alive.communicate("\n")
