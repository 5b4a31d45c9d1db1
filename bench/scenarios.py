"""What is measured, and what is wanted of it: the one table of the benchmark."""

from dataclasses import dataclass

OURS, FASTIFY, PGBENCH = "ours", "Fastify", "pgbench"
PEER = (OURS, FASTIFY)

# Each has a signed token. The first `OWNERS` have keys in every filled table; new keys are spread over all of them, so
# that a minute of growth stays far below the quota of keys per user and app.
USERS = 2_000
OWNERS = 1_000
KEYS = 20
# These have many public keys of another app.
SHARING_USERS = (1_001, 1_010)
SHARED_KEYS = 2_000


@dataclass(frozen=True)
class Rows:
    """A number of keys for each of a range of users; public ones belong to another app than the one that asks."""

    first_user: int
    last_user: int
    keys: int
    public: bool = False


@dataclass(frozen=True)
class Workload:
    """The requests of one client; `actions` are drawn at random by their weight, as in `get=70 overwrite=30`."""

    actions: str
    users: tuple[int, int] = (1, OWNERS)
    keys: int = KEYS
    keys_per_get: int = 1
    # A shorter answer is a failure.
    least_bytes: int = 0


OVERWRITES = Workload("overwrite=1")
ONE_KEY = Workload("overwrite=1", users=(1, 1), keys=1)
NEW_KEYS = Workload("new=1", users=(1, USERS))
HALF_NEW = Workload("new=1 overwrite=1")
GET = Workload("get=1", least_bytes=80)
GET_20 = Workload("get=1", keys_per_get=20, least_bytes=1_200)
MIX = Workload("get=70 overwrite=20 new=5 list=3 delete=2")
SHARED_LIST = Workload("shared=1", users=SHARING_USERS, least_bytes=1_000)


@dataclass(frozen=True)
class Table:
    """What is stored before the first request. Nothing analyzes it but autovacuum, unless it says otherwise."""

    name: str
    rows: tuple[Rows, ...] = ()
    # On an empty table a server starts cold, as after its first installation.
    warm_up: Workload | None = OVERWRITES
    # Made anew for each round; others are made once and kept.
    fresh: bool = False
    autovacuum: bool = True
    analyzed: bool = False
    # It takes minutes to fill; a quick run does without.
    slow: bool = False
    # What our service is started with besides.
    settings: tuple[tuple[str, str], ...] = ()


OWN_ROWS = Rows(1, OWNERS, KEYS)
SHARED_ROWS = Rows(*SHARING_USERS, SHARED_KEYS, public=True)
MILLION_ROWS = Rows(1, 50_000, KEYS)

EMPTY = Table("empty", warm_up=None, fresh=True)
FILLED = Table("filled", (OWN_ROWS,))
GROWING = Table("growing", (OWN_ROWS,), fresh=True)
CHANGING = Table("changing", (OWN_ROWS,), fresh=True)
WATCHED = Table("watched", (OWN_ROWS,), settings=(("LOG_REQUESTS", "true"),))
SHARED = Table("shared", (SHARED_ROWS,), warm_up=SHARED_LIST)
RESTORED = Table("restored", (MILLION_ROWS,), autovacuum=False)
ANALYZED = Table("analyzed", (MILLION_ROWS,), autovacuum=False, analyzed=True)
LARGE = Table("large", (Rows(1, 499_000, KEYS), SHARED_ROWS), slow=True)


@dataclass(frozen=True)
class Target:
    """A bound for a figure of ours or, with `scenario` or `side`, for its ratio to that one's in the same round."""

    title: str
    at_least: float | None = None
    at_most: float | None = None
    # A property of `client.Run`.
    figure: str = "per_second"
    scenario: str = ""
    side: str = ""


@dataclass(frozen=True)
class Scenario:
    """A workload on a table, sent to each of `sides`; in a closed loop unless `rate` is set."""

    name: str
    title: str
    workload: Workload
    table: Table = FILLED
    sides: tuple[str, ...] = (OURS,)
    connections: int = 32
    # Of each measurement, in parts of the run's.
    length: int = 1
    # In parts of the side's requests/s in `SATURATION`.
    rate: float = 0
    every_token_new: bool = False
    # A million requests with more tokens than are remembered, only where it is asked for.
    soak: bool = False
    through_nginx: bool = False
    targets: tuple[Target, ...] = ()

    @property
    def needs(self) -> set[str]:
        """The scenarios without which this one says nothing."""
        return {
            self.name,
            *(target.scenario or self.name for target in self.targets),
            *([SATURATION] * bool(self.rate)),
        }


def over_fastify(at_least: float) -> Target:
    return Target("÷ Fastify", at_least=at_least, side=FASTIFY)


def over_pgbench(at_least: float) -> Target:
    return Target("÷ pgbench's upserts, 32 clients", at_least=at_least, scenario=SATURATION, side=PGBENCH)


def over(scenario: str, at_least: float, title: str) -> Target:
    return Target(f"÷ {title}", at_least=at_least, scenario=scenario)


SATURATION = "overwrites"
TAIL = Target("p99 ÷ p50", at_most=3, figure="tail")
STEADINESS = Target("last sixth ÷ first sixth of the time", at_least=0.9, figure="steadiness")
LATENCY = Target("p50 ÷ Fastify's", at_most=1.25, figure="p50_ms", side=FASTIFY)

DRIFT = Target("drift of a worker's memory over the last half", at_most=0.05, figure="memory_drift")
MEMORY = Target("MB of a worker at its largest", at_most=150, figure="memory_mb")

# fmt: off
SCENARIOS = (
    Scenario(SATURATION, "overwrites, 32 connections", OVERWRITES, sides=(*PEER, PGBENCH),
             targets=(over_fastify(1.4), over_pgbench(0.33), TAIL)),
    Scenario("overwrites-256", "overwrites, 256 connections", OVERWRITES, sides=PEER, connections=256,
             targets=(over_fastify(2.2), over_pgbench(0.5))),
    Scenario("one-connection", "overwrites, one connection", OVERWRITES, sides=PEER, connections=1,
             targets=(LATENCY,)),
    Scenario("hot-key", "overwrites of one key", ONE_KEY,
             targets=(over(SATURATION, 0.8, "overwrites of many keys"),)),
    Scenario("new-tokens", "overwrites, every token new", OVERWRITES, every_token_new=True,
             targets=(over(SATURATION, 0.6, "tokens seen before"),)),
    Scenario("large-table", "overwrites, 10 million rows", OVERWRITES, LARGE,
             targets=(over(SATURATION, 0.9, "20 thousand rows"),)),
    Scenario("shared-list-large", "shared-list-get of 100 out of 2,000, 10 million rows", SHARED_LIST, LARGE,
             targets=(over("shared-list", 0.9, "20 thousand rows"),)),
    Scenario("shared-list", "shared-list-get of 100 out of 2,000, 20 thousand rows", SHARED_LIST, SHARED),
    Scenario("get", "get of one key, 32 connections", GET, sides=PEER, targets=(over_fastify(1.25),)),
    Scenario("get-256", "get of one key, 256 connections", GET, sides=PEER, connections=256,
             targets=(over_fastify(2),)),
    Scenario("get-20", "get of 20 keys", GET_20, targets=(over("get", 0.6, "get of one key"),)),
    Scenario("rate-50", "overwrites at a fixed 50 % of saturation", OVERWRITES, sides=PEER, rate=0.5),
    Scenario("rate-80", "overwrites at a fixed 80 % of saturation", OVERWRITES, sides=PEER, rate=0.8),
    Scenario("watched", "overwrites with a request log", OVERWRITES,
             WATCHED, targets=(over(SATURATION, 0.9, "without"),)),
    Scenario("nginx", "overwrites through nginx", OVERWRITES, through_nginx=True),
    Scenario("growth", "new keys only, from an empty database", NEW_KEYS, EMPTY, PEER, length=6,
             targets=(over_fastify(1.25), STEADINESS)),
    Scenario("half-new", "half new keys, half overwrites", HALF_NEW, GROWING, PEER, targets=(over_fastify(1.25),)),
    Scenario("mix", "70 % get, 20 % overwrite, 5 % new key, 3 % list, 2 % delete", MIX, CHANGING, PEER,
             targets=(over_fastify(1.25),)),
    Scenario("restored", "overwrites, 1 million rows restored without statistics", OVERWRITES, RESTORED,
             targets=(over("restored-analyzed", 0.9, "with statistics"),)),
    Scenario("restored-analyzed", "overwrites, 1 million rows with statistics", OVERWRITES, ANALYZED),
    Scenario("soak", "a million overwrites", OVERWRITES, soak=True, targets=(DRIFT, MEMORY)),
)
# fmt: on
