"""The time limits between a request and the database: they leave an answer within three seconds."""

from userdata.storage import deadlines


def test_a_caller_is_told_within_three_seconds_whatever_the_database_does() -> None:
    assert deadlines.QUEUE + deadlines.CONNECTION + deadlines.RESPONSE <= deadlines.REQUEST
    assert deadlines.REQUEST <= 2.8  # the rest is the application's own


def test_a_statement_has_begun_and_ended_before_its_caller_is_told() -> None:
    """A whole STATEMENT before, as test_lateness shows; so there has to be time to get to the server before that."""
    assert deadlines.RESPONSE - deadlines.STATEMENT >= 0.5
    assert deadlines.STATEMENT >= 1


def test_a_lock_is_waited_for_several_times_within_a_request() -> None:
    assert 3 * deadlines.LOCK <= deadlines.REQUEST - deadlines.STATEMENT


def test_attempts_to_connect_end_and_begin_again_soon() -> None:
    """Service resumes within three seconds after the database does."""
    assert 0 < deadlines.RECONNECT <= 1
    assert 1 <= deadlines.CONNECT <= 3
    assert deadlines.LOCKED <= 3
