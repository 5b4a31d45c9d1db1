"""What is done to the site while clients write to it, and what must hold."""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import psutil
import psycopg

from chaos import load, site
from chaos.history import Operation
from chaos.site import Site, execute, signal_server

ANSWER = 3.0  # seconds in which every request is answered
CLIENT = 0.5  # for a client on a busy machine, on top
OURS = "pg_stat_activity WHERE application_name = 'userdata'"


@dataclass(frozen=True)
class Done:
    """When the fault began and was over, by the monotonic clock; what else was seen, and what was wrong."""

    began: float
    healed: float
    note: str = ""
    wrong: Sequence[str] = ()


@dataclass(frozen=True)
class Fault:
    """`back`: seconds until the first success afterwards; `failures`: that clients may see meanwhile, of all kinds,
    only told ones, or none; `check` looks at the history; `once`: a site serves for one run."""

    act: Callable[[Site], Done]
    title: str
    on: Callable[[], AbstractContextManager[Site]] = site.plain
    back: float = 2.0
    failures: str = "told"
    check: Callable[[Sequence[Operation], Done], Sequence[str]] = lambda history, done: ()
    once: bool = False


def kill_database(site: Site, seconds: float) -> Done:
    began = time.monotonic()
    site.kill_database()
    time.sleep(seconds)
    site.database.start()
    return Done(began, time.monotonic())


def stop_immediate(site: Site) -> Done:
    began = time.monotonic()
    site.database.stop(signal.SIGQUIT)
    time.sleep(1)
    site.database.start()
    return Done(began, time.monotonic())


def kill_worker(site: Site) -> Done:
    before = set(site.service.children())
    killed = max(before)
    began = time.monotonic()
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        now = [child for child in site.service.popen.children() if child.pid != killed]
        return len(now) == len(before) and all(_serves(worker) for worker in now)

    _until(20, is_back)
    back = time.monotonic() - began
    wrong = [f"the worker was back after {back:.1f} s"] if back > 2 else []
    return Done(began, began, f"worker back after {back:.1f} s", wrong)


def deploy(site: Site) -> Done:
    assert site.nginx
    told_before = len(site.nginx.errors())
    began = time.monotonic()
    stopping = site.service.stop()
    site.services[0] = site.service.again()
    site.stack.callback(site.service.stop)
    # nginx asks an instance that it found down again after 10 seconds.
    healed = time.monotonic()
    time.sleep(11)
    wrong = [f"it took {stopping:.1f} s to end"] if stopping > 3 else []
    told = Counter(re.sub(r"^.*?\*\d+ |, client: .*$", "", line) for line in site.nginx.errors()[told_before:])
    return Done(began, healed, f"ended in {stopping:.1f} s; nginx told {dict(told)}", wrong)


def freeze_database(site: Site) -> Done:
    before = site.service.memory()
    began = time.monotonic()
    site.signal_database(signal.SIGSTOP)
    try:
        time.sleep(5)
        grown = site.service.memory() - before
    finally:
        site.signal_database(signal.SIGCONT)
    healed = time.monotonic()
    # Also those of which the service has let go, and that the thawing server has not ended yet.
    ((connections,),) = site.execute(f"SELECT count(*) FROM {OURS}")
    wrong = [f"{connections} connections"] if connections > 32 else []
    wrong += [f"memory grew by {grown:.0f} MB"] if grown > 50 else []
    return Done(began, healed, f"{connections} connections, memory {grown:+.0f} MB", wrong)


def lock(site: Site, statement: str) -> Done:
    with psycopg.connect(site.database.url) as holder:
        while holder.execute(statement.encode()).rowcount == 0:
            time.sleep(0.02)  # the row has just been deleted
        began = time.monotonic()
        time.sleep(5)
    return Done(began, time.monotonic())


def others_go_on(history: Sequence[Operation], done: Done) -> Sequence[str]:
    """Of the threads that never write to the locked row, none fails, and they do nearly as much as before."""
    others = [operation for operation in history if operation.thread != load.ALONE]
    failed = sum(not other.acknowledged for other in others)
    # The holder of the lock is there a moment before the clock is read.
    first, began = others[0].start, done.began - 0.1
    kept = load.rate(others, began, done.healed) / load.rate(others, first, began)
    wrong = [f"{failed} failures with other keys"] if failed else []
    if all(operation.acknowledged for operation in history):
        wrong.append("the lock held up nobody")
    return [*wrong, f"other keys kept {kept:.0%} of their rate"] if kept < 0.8 else wrong


def terminate(site: Site) -> Done:
    began = time.monotonic()
    count = 0
    while time.monotonic() < began + 5:
        count += len(site.execute(f"SELECT pg_terminate_backend(pid) FROM {OURS}"))
        time.sleep(0.5)
    return Done(began, time.monotonic(), f"{count} sessions ended", [] if count else ["no session was ended"])


def take_connections(site: Site) -> Done:
    with ExitStack() as hoard:
        ours = hoard.enter_context(psycopg.connect(site.database.url, autocommit=True))
        began = time.monotonic()
        while ours.execute(f"SELECT count(*) FROM {OURS}".encode()).fetchall() != [(0,)]:
            ours.execute(f"SELECT pg_terminate_backend(pid) FROM {OURS}".encode())
            with suppress(psycopg.OperationalError):
                while True:
                    hoard.enter_context(psycopg.connect(site.database.url))
        time.sleep(5)
    return Done(began, time.monotonic())


def read_only(site: Site) -> Done:
    began = time.monotonic()
    site.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    site.execute("SELECT pg_reload_conf()")
    time.sleep(5)
    site.execute("ALTER SYSTEM RESET default_transaction_read_only")
    site.execute("SELECT pg_reload_conf()")
    return Done(began, time.monotonic())


def failover(site: Site) -> Done:
    assert site.standby
    began = time.monotonic()
    site.kill_database()
    time.sleep(1)
    site.database = site.standby
    site.execute("SELECT pg_promote()")
    return Done(began, time.monotonic())


def failover_from_frozen(site: Site) -> Done:
    """The old primary takes connections, and never answers; it is killed when the new one works."""
    assert site.standby
    began = time.monotonic()
    site.signal_database(signal.SIGSTOP)
    time.sleep(1)
    old, site.database = site.database, site.standby
    site.execute("SELECT pg_promote()")
    promoted = time.monotonic()
    time.sleep(6)
    signal_server(old, signal.SIGKILL)
    old.stop()
    return Done(began, promoted)


def failover_from_cut_off(site: Site) -> Done:
    """The standby gets nothing for 4 s; then the primary is killed, with all that only it has."""
    assert site.standby
    began = time.monotonic()
    (receiver,) = execute(site.standby, "SELECT pid FROM pg_stat_wal_receiver")[0]
    os.kill(receiver, signal.SIGSTOP)
    time.sleep(4)
    site.kill_database()
    os.kill(receiver, signal.SIGKILL)
    # Without its receiver, killed in mid-air, the standby begins anew from its log; it can be promoted then.
    time.sleep(1)
    site.database = site.standby
    _until(20, lambda: _can(lambda: site.execute("SELECT pg_promote()")))
    return Done(began, time.monotonic())


def latency(site: Site) -> Done:
    assert site.toxiproxy
    with site.toxiproxy.toxic("latency", "downstream", latency=300):
        began = time.monotonic()
        # Connections are made anew over the slow way, too.
        site.execute(f"SELECT pg_terminate_backend(pid) FROM {OURS}")
        time.sleep(8)
    return Done(began, time.monotonic())


def slow_but_works(history: Sequence[Operation], done: Done) -> Sequence[str]:
    """Once there are connections again, requests succeed over the slow way."""
    late = [operation for operation in history if done.began + 4 <= operation.start < done.healed - 1]
    failed = sum(not operation.acknowledged for operation in late)
    return [f"{failed} of {len(late)} failed over the slow way"] if failed or not late else []


def blackhole(site: Site) -> Done:
    """What is sent is lost, and nothing is closed."""
    assert site.toxiproxy
    with site.toxiproxy.toxic("timeout", "upstream", "downstream", timeout=0):
        began = time.monotonic()
        time.sleep(5)
    return Done(began, time.monotonic())


def stall(site: Site) -> Done:
    """What is sent arrives when it is over, as TCP sends again what was lost."""
    assert site.toxiproxy
    began = time.monotonic()
    site.toxiproxy.process.popen.suspend()
    time.sleep(5)
    site.toxiproxy.process.popen.resume()
    return Done(began, time.monotonic())


def resets(site: Site) -> Done:
    assert site.toxiproxy
    began = time.monotonic()
    while time.monotonic() < began + 5:
        with site.toxiproxy.toxic("reset_peer", "upstream", "downstream", timeout=0):
            time.sleep(0.1)
        time.sleep(0.4)
    return Done(began, time.monotonic())


def _tamper(site: Site, when: str, body: str) -> Done:
    """Break a promise behind the service's back, for one in five of its writes."""
    began = time.monotonic()
    for statement in (
        f"CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF pg_trigger_depth() = 1 AND random() < 0.2 THEN {body}; END IF; RETURN NULL; END $$",
        f"CREATE TRIGGER tamper AFTER {when} ON userdata_storedvalue FOR EACH ROW EXECUTE FUNCTION tamper()",
    ):
        site.execute(statement)
    time.sleep(3)
    site.execute("DROP FUNCTION tamper CASCADE")
    return Done(began, time.monotonic())


def _until(seconds: float, holds: Callable[[], bool]) -> None:
    site.until(seconds, holds, "as before")


def _can(act: Callable[[], object]) -> bool:
    with suppress(psycopg.OperationalError):
        act()
        return True
    return False


def _serves(worker: psutil.Process) -> bool:
    """Has it taken connections of clients? It listens earlier."""
    with suppress(psutil.NoSuchProcess):
        return any(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections("tcp"))
    return False


ROW = f"SELECT FROM userdata_storedvalue WHERE key LIKE '%own-{load.ALONE}' FOR UPDATE"
TABLE = "LOCK TABLE userdata_storedvalue IN ACCESS EXCLUSIVE MODE"

FAULTS = {
    "kill-database": Fault(partial(kill_database, seconds=1), "`kill -9` of PostgreSQL, back after 1 s"),
    "kill-database-5": Fault(partial(kill_database, seconds=5), "`kill -9` of PostgreSQL, back after 5 s"),
    "stop-immediate": Fault(stop_immediate, "PostgreSQL stops at once, recovers after 1 s"),
    "kill-worker": Fault(kill_worker, "`kill -9` of one of two workers", failures="any"),
    "deploy": Fault(deploy, "one of two instances behind nginx is replaced", site.behind_nginx, failures="none"),
    "freeze-database": Fault(freeze_database, "PostgreSQL is frozen for 5 s"),
    "lock-row": Fault(partial(lock, statement=ROW), "a row is locked for 5 s", check=others_go_on),
    "lock-table": Fault(partial(lock, statement=TABLE), "the table is locked for 5 s"),
    "terminate": Fault(terminate, "all sessions are ended each 500 ms for 5 s"),
    "connections-taken": Fault(take_connections, "others have all connections for 5 s"),
    "read-only": Fault(read_only, "the database is read-only for 5 s"),
    "failover": Fault(
        failover,
        "the primary is killed, its synchronous standby promoted after 1 s",
        site.replicated,
        back=5.0,
        once=True,
    ),
    "failover-frozen": Fault(
        failover_from_frozen,
        "the primary is frozen, its synchronous standby promoted after 1 s",
        site.replicated,
        back=5.0,
        once=True,
    ),
    "failover-cut-off": Fault(
        failover_from_cut_off,
        "the standby is cut off for 4 s, then the primary killed and the standby promoted",
        site.replicated,
        back=5.0,
        once=True,
    ),
    "latency": Fault(latency, "300 ms between service and database, for 8 s", site.proxied, check=slow_but_works),
    "blackhole": Fault(blackhole, "packets to and from the database get lost for 5 s", site.proxied),
    "stall": Fault(stall, "the network stands still for 5 s, then delivers", site.proxied),
    "resets": Fault(resets, "connections to the database are reset each 500 ms for 5 s", site.proxied),
}

BROKEN = {
    "a set is undone": partial(_tamper, when="INSERT", body="DELETE FROM userdata_storedvalue WHERE id = NEW.id"),
    "a set is undone by an old value": partial(
        _tamper,
        when="UPDATE",
        body="UPDATE userdata_storedvalue SET value = OLD.value WHERE id = NEW.id",
    ),
    "a delete is undone": partial(_tamper, when="DELETE", body="INSERT INTO userdata_storedvalue SELECT OLD.*"),
}
