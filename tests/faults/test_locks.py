"""Another transaction, as an operator's, that keeps a row or the table locked."""

import threading
import time
from functools import partial

import psycopg

from tests.faults.site import BACK_WITHIN, TOLD_WITHIN, Answer, Site, assert_told, meanwhile


def test_a_locked_row_holds_up_its_own_key_alone(site: Site) -> None:
    assert site.put("locked", "before").result == 0

    def write(key: str, over: threading.Event) -> list[Answer]:
        answers = []
        while not over.wait(0.02):
            answers.append(site.put(key))
        return answers

    keys = ["locked"] * 4 + [f"other {number}" for number in range(8)]
    with psycopg.connect(site.postgres.url) as holder:
        holder.execute("SELECT FROM userdata_storedvalue WHERE key = 'locked' FOR UPDATE")
        with meanwhile([partial(write, key) for key in keys]) as writers:
            time.sleep(3)

    others = []
    for key, writer in zip(keys, writers, strict=True):
        answers = writer.result()
        if key == "locked":
            assert len(answers) >= 2
            for answer in answers[:-1]:  # the lock may be gone before the last
                assert_told(answer)
        else:
            assert len(answers) >= 20
            assert {answer.result for answer in answers} == {0}
            others += [answer.seconds for answer in answers]
    assert max(others) < TOLD_WITHIN
    assert sorted(others)[len(others) * 9 // 10] < 0.5
    deadline = time.monotonic() + BACK_WITHIN
    while site.put("locked", "after").result != 0:
        assert time.monotonic() < deadline
    value, revision = site.rows()["locked"]
    assert value == "after"
    assert revision <= 6  # before, after, and what came last of the four
    site.assert_back()


def test_a_locked_table_is_told_to_all(site: Site) -> None:
    with psycopg.connect(site.postgres.url) as holder:
        holder.execute("LOCK TABLE userdata_storedvalue IN ACCESS EXCLUSIVE MODE")
        for answer in site.put_at_once(100):
            assert_told(answer)
        site.assert_all_told()

    assert site.rows() == {}
    site.assert_back()
