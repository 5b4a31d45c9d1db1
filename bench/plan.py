"""How much is measured, from the command line and the environment."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A run's size. Seconds are of each single measurement."""

    quick: bool
    soak: bool
    # Names of the candidates to measure; empty means all.
    only: frozenset[str]
    rounds: int
    seconds: int
    warm_up_seconds: int
    connections: int
    # The plots, of which a quick run has the first only: candidates by name, how often each point is measured,
    # and the points.
    sweep_seconds: int
    sweep_rounds: int
    swept: Sequence[str]
    connections_swept: Sequence[int]
    workers_swept: Sequence[int]
    value_bytes_swept: Sequence[int]
    # Candidates that also get a new token with every request, and those asked over one connection.
    new_tokens: Sequence[str]
    one_connection: Sequence[str]
    soak_requests: int

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only


def read(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Plan:
    """The plan; an option that is not given comes from the variable of its name in capitals."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the service beside its peers.")
    parser.add_argument("--quick", action="store_true", help="a look within three minutes, for a first impression")
    parser.add_argument("--soak", action="store_true", help="only watch a worker's memory over a million requests")
    parser.add_argument("--only", default="", help="names of candidates, separated by commas: ours,fastify,limit")
    parser.add_argument("--rounds", type=_count, help="how often each candidate is measured")
    parser.add_argument("--seconds", type=_count, help="of each measurement")
    parser.add_argument("--connections", type=_count, default=32, help="requests under way at once")
    parser.add_argument("--requests", type=_count, default=1_000_000, help="of the soak")
    for action in parser._actions:
        value = environment.get(action.dest.upper(), "")
        if value and action.dest != "help":
            action.default = value == "1" if action.const is True else value
    given = parser.parse_args(arguments)
    sizes = _QUICK if given.quick else _FULL
    return Plan(
        quick=given.quick,
        soak=given.soak,
        only=frozenset(filter(None, given.only.split(","))),
        rounds=given.rounds or sizes["rounds"],
        seconds=given.seconds or sizes["seconds"],
        warm_up_seconds=sizes["warm_up_seconds"],
        connections=given.connections,
        sweep_seconds=sizes["sweep_seconds"],
        sweep_rounds=sizes["sweep_rounds"],
        swept=["ours"] if given.quick else ["ours", "fastify", "fastapi"],
        connections_swept=[1, 32, 256] if given.quick else [1, 2, 4, 8, 16, 32, 64, 128, 256],
        workers_swept=[1, 2, 3, 4],
        value_bytes_swept=[10, 100, 1_000, 10_000, 65_536, 262_144],
        new_tokens=["ours"] if given.quick else ["ours", "fastify", "fastapi"],
        one_connection=["ours"] if given.quick else ["ours", "fastify", "fastapi", "django", "kinto", "pocketbase"],
        soak_requests=given.requests,
    )


_FULL = {"rounds": 5, "seconds": 10, "warm_up_seconds": 5, "sweep_seconds": 4, "sweep_rounds": 2}
_QUICK = {"rounds": 2, "seconds": 3, "warm_up_seconds": 2, "sweep_seconds": 2, "sweep_rounds": 1}


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
