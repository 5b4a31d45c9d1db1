"""The figures of the documentation are those of the service."""

from pathlib import Path
from typing import Any

import pytest

from hypersecureid import gunicorn
from tests.conftest import PROJECT
from tests.docs.pages import API
from userdata import parsers, rate_limit, serializers
from userdata.identity import provider
from userdata.storage import deadlines, pool

OPERATIONS = PROJECT / "docs/operations.md"
IDENTITY = PROJECT / "docs/identity.md"


def unwrapped(page: Path) -> str:
    """A page's text, wherever its lines end."""
    return " ".join(page.read_text().split())


@pytest.mark.parametrize(
    ("page", "sentence", "figure"),
    [
        (API / "README.md", "A key has 1 to {} characters", "MAX_KEY_CHARS"),
        (API / "README.md", "A value is text of at most {:,} bytes", "MAX_VALUE_BYTES"),
        (API / "README.md", "Your app can keep up to {:,} keys in each storage", "MAX_KEYS_PER_APP"),
        (API / "storages.md", "An app can keep up to {:,} keys in each storage", "MAX_KEYS_PER_APP"),
        (API / "list-get.md", "an app has at most {:,} keys", "MAX_KEYS_PER_APP"),
        (API / "get.md", "the keys, at most {}", "MAX_KEYS_PER_REQUEST"),
        (API / "get.md", "more than {} keys are asked for", "MAX_KEYS_PER_REQUEST"),
        (API / "delete.md", "the keys, at most {}", "MAX_KEYS_PER_REQUEST"),
        (API / "delete.md", "More than {} keys", "MAX_KEYS_PER_REQUEST"),
        (API / "shared-list-get.md", "integer from 0 to {:,}", serializers.MAX_PAGE_SIZE),
        (API / "shared-list-get.md", "`null` and 0 are {}", serializers.DEFAULT_PAGE_SIZE),
        (OPERATIONS, "| time for a body | {:.0f} seconds |", parsers.BODY_SECONDS),
        (OPERATIONS, "| {} in each worker | status 429", parsers.MAX_LARGE_BODIES),
        (OPERATIONS, "| connections | {:,} in each worker", gunicorn.MAX_CONNECTIONS),
        (OPERATIONS, "closed after {} seconds", gunicorn.keepalive),
        (OPERATIONS, "no sign of life for {} seconds", gunicorn.timeout),
        (OPERATIONS, "needs the database | {:.0f} seconds |", deadlines.ANSWER),
        (OPERATIONS, f"a pool of {{}} to {pool.MAX_CONNECTIONS} connections", pool.MIN_CONNECTIONS),
        (OPERATIONS, "leave room for {} per worker", pool.MAX_CONNECTIONS),
        (PROJECT / "docs/configuration.md", "has up to {} connections to the database", pool.MAX_CONNECTIONS),
        (OPERATIONS, "Redis has {} seconds for all", rate_limit.REDIS_SECONDS),
        (OPERATIONS, "over at most {} connections from each worker", rate_limit.MAX_CONNECTIONS),
        (IDENTITY, "at most once in {:.0f} seconds", provider.COOLDOWN_SECONDS),
        (IDENTITY, "wait up to {:.0f} seconds", provider.WAIT_SECONDS),
        (IDENTITY, "intervals of up to {:.0f} seconds", provider.LONGEST_BACK_OFF_SECONDS),
    ],
)
def test_a_figure_is_that_of_the_service(page: Path, sentence: str, figure: Any, settings: Any) -> None:
    value = getattr(settings, figure) if isinstance(figure, str) else figure

    assert sentence.format(value) in unwrapped(page)


@pytest.mark.parametrize(
    ("page", "sentence", "setting"),
    [
        (API / "README.md", "in UTF-8, at most {} MiB", "MAX_BODY_BYTES"),
        (API / "get.md", "have more than {} MiB together", "MAX_VALUES_BYTES"),
    ],
)
def test_a_figure_in_mebibytes_is_that_of_the_service(page: Path, sentence: str, setting: str, settings: Any) -> None:
    mebibytes, rest = divmod(getattr(settings, setting), 2**20)

    assert rest == 0
    assert sentence.format(mebibytes) in unwrapped(page)
