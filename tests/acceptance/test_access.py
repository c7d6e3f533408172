"""One function alone, for those who have a key and for the pages of one origin."""

import hashlib
import json
from pathlib import Path

from tests.processes import one, serve

PAGE = {"Origin": "https://app.example.com"}


def test_a_function_alone_has_a_policy_of_its_own(root: Path, environ: dict[str, str]) -> None:
    """Credentials and CORS need nothing around it."""
    digest = hashlib.sha256(b"key").hexdigest()
    access = {
        "AUTH": "api_key",
        "API_KEYS": json.dumps({"alice": digest}),
        "CORS_ORIGINS": PAGE["Origin"],
    }

    with serve(one("launch"), root, environ | access) as launch:
        preflight = launch.options(
            "/greeting", headers=PAGE | {"Access-Control-Request-Method": "POST"}
        )
        refused = launch.post("/greeting", headers=PAGE)
        accepted = launch.post("/greeting", headers=PAGE | {"Authorization": "Bearer key"})

    answers = (preflight, refused, accepted)
    assert [answer.status_code for answer in answers] == [200, 401, 202]
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {PAGE["Origin"]}
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="dbos-functions"'
