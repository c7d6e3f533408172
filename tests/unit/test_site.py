"""The site of local_dev, which is for this machine alone."""

import pytest
from starlette.testclient import TestClient

from local_dev.site import app

FOREIGN = [
    "rebound.example.com",
    "rebound.example.com:8080",
    "127.0.0.1.nip.io:8080",
    "localhost.example.com",
    "evil@127.0.0.1",
    "127.0.0.1:8080@evil.example.com",
    "127.0.0.1:80:80",
    "0.0.0.0:8080",
    "::1",
    "",
]
"""Some lead to this machine, for a browser that has asked the right name server."""


def served(host: str) -> TestClient:
    """The site, for somebody who calls it by this host."""
    return TestClient(app, "http://127.0.0.1:8080", headers={"Host": host})


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/page.js"),
        ("GET", "/list"),
        ("POST", "/launch/greeting"),
        ("GET", "/local_dev"),
        ("POST", "/local_dev/kill"),
        ("GET", "/docs/"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
    ],
)
def test_a_page_whose_host_leads_here_is_answered_nothing(
    host: str, method: str, path: str
) -> None:
    """Neither the page nor a function: 403 as a problem that says by which names it goes."""
    answer = served(host).request(method, path)

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:dbos-functions:problem:foreign-host"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"]
)
def test_this_machine_is_answered(host: str) -> None:
    """By each of its names, at any port, since a port may be forwarded."""
    answer = served(host).get("/")

    assert answer.status_code == 200
    assert "<title>dbos-functions</title>" in answer.text


def test_a_second_host_does_not_hide_the_first() -> None:
    """All have to be names of this machine."""
    hosts = [("Host", "127.0.0.1"), ("Host", "rebound.example.com")]

    answer = TestClient(app, "http://127.0.0.1:8080").get("/", headers=hosts)

    assert answer.status_code == 403
