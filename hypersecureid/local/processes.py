"""Child processes that end with this one."""

import subprocess
from signal import Signals


def end_with_this_process(pid: int, number: Signals) -> subprocess.Popen[bytes]:
    """Have a process signalled when this one is gone, however it ended; returns the watcher, to be released.

    The watcher is a shell that waits for the end of a pipe, which the system closes for a killed process too.
    Unlike Linux's parent-death signal this works everywhere, and does not mistake a thread's end for the process's.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r line; kill -s "$1" "$2"', "watch", number.name.removeprefix("SIG"), str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What is typed or sent to the terminal's processes must not end the watcher first.
        start_new_session=True,
    )


def release(watcher: subprocess.Popen[bytes]) -> None:
    """Call off the watcher, before the process id it knows can belong to another."""
    watcher.kill()
    watcher.communicate()


def how_it_ended(code: int) -> str:
    """The words for an exit code as `subprocess` gives it."""
    return f"was killed by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
