"""The checker of histories: what it lets pass, and what it catches."""

import pytest

from chaos.checker import check
from chaos.history import REFUSED, Operation

USER, KEY = "user", "key"


def op(
    kind: str, start: float, end: float, value: str | None = None, result: int | None = 0, detail: str = ""
) -> Operation:
    return Operation(kind, USER, KEY, start, end, result, value, detail=detail)  # type: ignore[arg-type]


def kinds(history: list[Operation], final: tuple[str, int] | None) -> list[str]:
    return [problem.kind for problem in check(history, {(USER, KEY): final} if final else {})]


@pytest.mark.parametrize(
    ("history", "final"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([op("set", 0, 1, "a"), op("get", 2, 3, "a")], ("a", 1), id="a set and its read"),
        pytest.param([op("set", 0, 2, "a"), op("set", 1, 3, "b")], ("a", 2), id="sets at once, in the other order"),
        pytest.param([op("set", 0, 9, "a"), op("get", 1, 2, "a"), op("get", 3, 4, "a")], ("a", 1), id="read early"),
        pytest.param(
            [op("set", 0, 1, "a"), op("set", 2, 9, "b"), op("get", 3, 5, "b"), op("get", 4, 6, "a")],
            ("b", 2),
            id="reads at once, of old and new",
        ),
        pytest.param([op("set", 0, 1, "a"), op("delete", 2, 3), op("set", 4, 5, "b")], ("b", 1), id="made anew"),
        pytest.param(
            [op("set", 0, 1, "a"), op("delete", 2, 3), op("delete", 4, 5, result=1)], None, id="deleted twice"
        ),
        pytest.param([op("set", 0, 1, "a"), op("set", 2, 3, "b", -4)], ("a", 1), id="told, not made"),
        pytest.param([op("set", 0, 1, "a"), op("set", 2, 3, "b", -4)], ("b", 2), id="told, made"),
        pytest.param([op("set", 0, 1, "a"), op("delete", 2, 3, result=-4)], None, id="a delete told, made"),
        pytest.param(
            [op("set", 0, 1, "a", None), op("get", 2, 3, None, 1), op("get", 4, 5, "a")],
            ("a", 1),
            id="unanswered, late",
        ),
        pytest.param([op("get", 0, 1, None, -4), op("get", 2, 3, None, 1)], None, id="a get that failed"),
    ],
)
def test_what_can_be_explained_passes(history: list[Operation], final: tuple[str, int] | None) -> None:
    assert kinds(history, final) == []


@pytest.mark.parametrize(
    ("history", "final", "problem"),
    [
        pytest.param([op("set", 0, 1, "a")], None, "lost", id="an acknowledged set is not there"),
        pytest.param(
            [op("set", 0, 1, "a"), op("set", 2, 3, "b")], ("a", 1), "lost", id="an acknowledged set was undone"
        ),
        pytest.param([op("set", 0, 1, "a"), op("set", 2, 3, "b")], ("b", 1), "lost", id="the revision counts too few"),
        pytest.param([op("set", 0, 1, "a")], ("a", 2), "lost", id="a set was made twice"),
        pytest.param(
            [op("set", 0, 1, "a"), op("delete", 2, 3)], ("a", 1), "lost", id="an acknowledged delete was lost"
        ),
        pytest.param([], ("a", 1), "lost", id="a row that nobody wrote"),
        pytest.param([op("set", 0, 1, "a", None, REFUSED)], ("a", 1), "lost", id="a set that was not taken was made"),
        pytest.param(
            [op("set", 0, 1, "a"), op("set", 2, 3, "b"), op("get", 4, 5, "a")], ("b", 2), "stale", id="a stale read"
        ),
        pytest.param(
            [op("set", 0, 1, "a"), op("set", 2, 9, "b"), op("get", 3, 4, "b"), op("get", 5, 6, "a")],
            ("b", 2),
            "stale",
            id="a read goes back behind another",
        ),
        pytest.param([op("set", 0, 1, "a"), op("get", 2, 3, None, 1)], ("a", 1), "stale", id="a set is not seen"),
        pytest.param(
            [op("set", 0, 1, "a"), op("delete", 2, 3), op("get", 4, 5, "a")],
            None,
            "stale",
            id="a deleted value is read",
        ),
        pytest.param(
            [op("set", 0, 1, "a"), op("delete", 2, 3, result=1)], ("a", 1), "stale", id="a delete found nothing"
        ),
        pytest.param([op("delete", 0, 1)], None, "stale", id="a delete found what was not there"),
        pytest.param(
            [op("set", 0, 1, "a"), op("set", 2, 3, "b", -4), op("get", 4, 5, "a"), op("get", 6, 7, "b")],
            ("b", 2),
            "late",
            id="made after a failure was told",
        ),
    ],
)
def test_what_no_order_explains_is_caught(
    history: list[Operation], final: tuple[str, int] | None, problem: str
) -> None:
    assert kinds(history, final) == [problem]


def test_many_failed_writes_of_one_key_are_followed_in_time() -> None:
    history = [op("set", n, n + 0.9, str(n), -4 if n % 3 else 0) for n in range(300)]

    assert kinds(history, ("299", 300)) == []
    assert kinds(history, ("296", 300)) == ["lost"]
