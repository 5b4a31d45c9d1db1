"""What the terminal shows while the benchmark runs."""

import time

_began = time.monotonic()


def say(text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)
