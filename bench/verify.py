"""Before a candidate is measured: does it store, and does it refuse whom it must?"""

import http.client

from bench.candidates import Candidate
from bench.client import WrongAnswers, new_mark
from bench.processes import Server
from bench.workload import ROWS


def verify(candidate: Candidate, server: Server) -> None:
    """Raises `WrongAnswers` unless a good request is stored and one with altered credentials is not."""
    user, authorization = candidate.load().users_file.read_text().split("\n", 1)[0].split("\t")
    good, bad = new_mark() + "-good", new_mark() + "-bad"
    answer = _send(candidate, server, user, authorization, good)
    if candidate.load().success not in answer:
        raise WrongAnswers(f"a good request was answered with {answer[:200]}")
    if candidate.stored(good) != 1:
        raise WrongAnswers("a value said to be stored is not in the database")
    answer = _send(candidate, server, user, _altered(authorization), bad)
    if candidate.load().success in answer or candidate.stored(bad):
        raise WrongAnswers("a request with altered credentials was stored")


def verify_rows(candidate: Candidate, mark: str, requests: int) -> None:
    """Raises `WrongAnswers` unless about as many rows changed as `requests` to random keys do."""
    expected = ROWS * (1 - (1 - 1 / ROWS) ** requests)
    found = candidate.stored(mark)
    if found < 0.9 * expected:
        raise WrongAnswers(f"{requests} requests were said to be stored, but only {found} rows changed")


def _altered(authorization: str) -> str:
    """The same with one letter changed, well inside the signature or the password."""
    letter = "A" if authorization[-10] != "A" else "B"
    return authorization[:-10] + letter + authorization[-9:]


def _send(candidate: Candidate, server: Server, user: str, authorization: str, value: str) -> str:
    load = candidate.load()
    path, body = (
        text.replace("{user}", user).replace("{key}", "key-1").replace("{value}", value)
        for text in (load.path, load.body)
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        connection.request(load.method, path, body.encode(), headers)
        response = connection.getresponse()
        return f"{response.status} {response.read().decode(errors='replace')}"
    finally:
        connection.close()
