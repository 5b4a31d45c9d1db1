"""/docs shows the document, and needs nothing from another host."""

import re
from contextlib import closing

import pytest
from django.test import Client


def static(path: str) -> str:
    """A static file, as the service serves it."""
    with closing(Client().get(path)) as response:
        assert response.status_code == 200, path
        return bytes(response.getvalue()).decode("latin-1")


def test_the_page_names_nothing_on_another_host() -> None:
    response = Client().get("/docs")

    html = response.content.decode()
    assert response.status_code == 200
    assert "/static/hypersecureid/docs.js" in html
    assert "//" not in html.replace("<!--", "")
    assert response["Content-Security-Policy"].startswith("default-src 'self';")
    assert "script-src" not in response["Content-Security-Policy"]


def test_its_parts_are_served() -> None:
    parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', Client().get("/docs").content.decode())

    assert len(parts) == 5
    for part in parts:
        assert static(part)


def test_its_style_builds_on_swagger_ui_and_knows_the_dark() -> None:
    style = static("/static/hypersecureid/docs.css")

    [imported] = re.findall(r'@import url\("\.\./([^"]+)"\)', style)
    assert ".swagger-ui" in static(f"/static/{imported}")
    assert "@media (prefers-color-scheme: dark)" in style


def test_a_token_is_not_kept_by_the_browser() -> None:
    assert "persistAuthorization: false" in static("/static/hypersecureid/docs.js")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_reference_is_read_only_and_sets_no_cookie(path: str) -> None:
    assert Client().post(path).status_code == 405
    assert Client().head(path).status_code == 200
    assert not Client().get(path).cookies
