"""What can be said of the images without building them; `tests/container` builds and runs them."""

import re

import pytest

from tests.project import ROOT

DOCKERFILES = {name: (ROOT / name / "Dockerfile").read_text() for name in ("worker", "functions")}


def test_both_images_have_the_same_bases() -> None:
    """Whoever renews one renews the other."""
    worker, functions = (bases(dockerfile) for dockerfile in DOCKERFILES.values())

    assert worker == functions


@pytest.mark.parametrize("name", DOCKERFILES)
def test_bases_are_pinned_to_the_patch(name: str) -> None:
    """As defaults, which whoever builds can exchange."""
    assert [re.sub("[0-9]+", "N", base) for base in bases(DOCKERFILES[name])] == [
        "python:N.N.N-slim-trixie",
        "ghcr.io/astral-sh/uv:N.N.N",
    ]


def test_only_what_the_images_need_is_sent_to_the_builder() -> None:
    """Whatever lies beside the two deployables cannot get into an image."""
    first, *others = (ROOT / ".dockerignore").read_text().splitlines()

    assert first == "*"
    assert {line for line in others if line.startswith("!")} == {
        *("!pyproject.toml", "!uv.lock", "!functions", "!worker")
    }


def test_the_functions_limit_headers() -> None:
    """uvicorn alone has no limits; a setting cannot choose another protocol."""
    *_, command = DOCKERFILES["functions"].split("\nCMD ")

    assert '"--http", "functions.protocol:LimitedHttp"' in command


def bases(dockerfile: str) -> list[str]:
    """The images that an image is built on."""
    return re.findall(r"^ARG \w+_IMAGE=(\S+)", dockerfile, re.M)
