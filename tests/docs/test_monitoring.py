"""The alerts and the dashboard name what /metrics has, and the documentation explains both."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from django.conf import settings
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import PROJECT, Server
from tests.docs.pages import table
from userdata import metrics
from userdata.results import Outcome

ALERTS = PROJECT / "deploy/monitoring/alerts.yml"
DASHBOARD = PROJECT / "deploy/monitoring/dashboard.json"
OPERATIONS = PROJECT / "docs/operations.md"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


@pytest.fixture
def samples(server: Server) -> dict[str, list[dict[str, str]]]:
    """The names in /metrics of a server that has answered a request, and the labels of each."""
    server.set()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics", timeout=5).text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_every_metric_of_alerts_and_dashboard_exists(samples: dict[str, Any]) -> None:
    named = {name for each in expressions() for name in re.findall(r"\b(?:userdata_\w+|up)\b", each)}

    assert len(named) > 15
    assert named <= samples.keys() | {"up"}


def test_every_label_of_alerts_and_dashboard_exists(samples: dict[str, list[dict[str, str]]]) -> None:
    of_prometheus = {"job", "instance"}
    for expression in expressions():
        for name, matchers in re.findall(r"(userdata_\w+)\{(.*?)\}", expression):
            for label, operator, value in re.findall(r'(\w+)(=~|!=|=|!~)"(.*?)"', matchers):
                assert label in {each for labels in samples[name] for each in labels} | of_prometheus, expression
                if label == "cause":
                    assert set(value.split("|")) <= metrics.FAILURES.keys()
                if name == "userdata_answers_total" and label == "outcome":
                    assert value in Outcome.__members__
                if name == "userdata_jwks_refreshes_total" and label == "outcome":
                    assert {label: value} in samples[name]
                assert operator == "=~" or not re.search(r"[|.]", value)


def test_every_cause_of_a_failed_statement_has_an_alert() -> None:
    named = {
        cause
        for rule in rules()
        for matched in re.findall(r'cause=~?"(.*?)"', rule["expr"])
        for cause in matched.split("|")
    }

    assert named | {"data"} == metrics.FAILURES.keys()  # what can't be stored is the caller's


def test_brackets_of_expressions_are_closed() -> None:
    for expression in expressions():
        for opened, closed in ("()", "[]", "{}"):
            assert expression.count(opened) == expression.count(closed), expression


def test_every_alert_has_what_a_notification_needs() -> None:
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")


def test_panels_have_ids_and_places_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels():
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not places & cells
        assert grid["x"] + grid["w"] <= 24
        places |= cells

    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_is_explained() -> None:
    assert [row[0].strip("`") for row in table(OPERATIONS, "alert").rows] == [rule["alert"] for rule in rules()]


def test_every_metric_is_explained_and_shown_by_the_server(samples: dict[str, Any]) -> None:
    of_ours = [each for each in vars(metrics).values() if isinstance(each, Counter | Gauge | Histogram)]
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for each in of_ours
        for family in each.describe()
    }

    assert {row[0].strip("`") for row in table(OPERATIONS, "metric").rows} == names
    assert names - {"userdata_answer_seconds"} <= samples.keys()
    assert "userdata_answer_seconds_bucket" in samples


def test_every_metric_is_in_an_alert_or_on_the_dashboard() -> None:
    text = "\n".join(expressions())

    for row in table(OPERATIONS, "metric").rows:
        assert row[0].strip("`") in text


def test_the_version_that_is_told_is_the_project_s() -> None:
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == settings.VERSION
