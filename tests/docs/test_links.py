"""The pages name what is there."""

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.docs.pages import PAGES, prose, tables

MAKEFILE = (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_no_link_is_broken(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", path):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings], target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_target_of_make_exists(page: Path) -> None:
    for target in re.findall(r"`make (?:-s )?([a-z0-9-]+)", page.read_text()):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_readme_maps_files_that_are_there() -> None:
    named = [
        row[0].strip("`") for each in tables(PROJECT / "README.md") if each.columns[0] == "file" for row in each.rows
    ]

    assert len(named) > 20
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_files_of_the_code_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:userdata|hypersecureid|deploy|tests|examples)/[\w./-]*)`", prose(page))

    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set[Path](), {PROJECT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose(page)):
            linked = (page.parent / target).resolve()
            if linked.suffix == ".md" and linked not in reached:
                new.add(linked)

    assert {page for page in PAGES if "docs" in page.parts} - reached == set()
