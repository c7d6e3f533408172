"""Who may call with `AUTH=jwt`, also while the issuer of the tokens is away."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.testclient import TestClient

from functions import tokens

from .conftest import Serve
from .issuer import ALGORITHMS, AUDIENCE, NAME, Issuer, bearer, issuing, private_key, token

INVALID = 'Bearer realm="dbos-functions", error="invalid_token"'


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Who signs the tokens."""
    with issuing() as running:
        yield running


@pytest.fixture
def functions(serve: Serve, database: str, issuer: Issuer) -> Iterator[TestClient]:
    """The functions for those who have a token."""
    with serve(database, **issuer.settings, ADMINS="carol") as client:
        yield client


def answered(functions: TestClient, headers: dict[str, str]) -> int:
    """The status of a request for what does not exist: 404 for whoever may ask."""
    return functions.get("/status/unknown", headers=headers).status_code


def segments(*parts: object) -> str:
    """A token out of any parts."""
    encoded = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in encoded)


def unsigned(algorithm: str) -> str:
    """A token that says it needs no signature."""
    claims = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 300}
    return segments({"alg": algorithm, "kid": "RS256"}, claims, b"")


def confused() -> str:
    """A token whose secret is the issuer's public key."""
    public = private_key("RS256").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 300}
    head, body = segments({"alg": "HS256", "kid": "RS256"}, claims).split(".")
    signature = jwt.get_algorithm_by_name("HS256").sign(f"{head}.{body}".encode(), pem)
    return f"{head}.{body}.{segments(signature)}"


def signed(**claims: Any) -> str:
    """A token without the header around it."""
    return token(**claims)["Authorization"].removeprefix("Bearer ")


FORGED: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: unsigned("none"),
    "no algorithm either": lambda: unsigned("None"),
    "no signature": lambda: unsigned("RS256"),
    "signed with the public key": confused,
    "signed with another key": lambda: signed(kid="RS256"),
    "half a signature": lambda: signed()[:-8],
    "another payload": lambda: signed().replace(".", ".e30", 1),
    "no dots": lambda: "x",
    "no base64": lambda: "x.y.z",
    "nothing but dots": lambda: "..",
    "not ASCII": lambda: "\x80\xff",
    "a megabyte": lambda: "x" * 1_000_000,
    "nested": lambda: segments(b"[" * 100_000, {}, b""),
    "a long number": lambda: segments(b'{"kid": ' + b"9" * 5000 + b"}", {}, b""),
    "a list of ids": lambda: segments({"alg": "ES256", "kid": ["ES256"]}, {}, b""),
    "a list of algorithms": lambda: segments({"alg": ["ES256"], "kid": "ES256"}, {}, b""),
    "no id": lambda: segments({"alg": "ES256"}, {}, b""),
    "a nested payload": lambda: segments({"alg": "ES256", "kid": "ES256"}, b"[" * 10_000, b""),
    "critical extensions": lambda: segments({"kid": "ES256", "crit": ["x"], "x": 1}, {}, b""),
    "more than 16 KiB": lambda: signed(padding="x" * 16_384),
    "no objects": lambda: segments([], [], b""),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_issuer_lets_in(functions: TestClient, algorithm: str) -> None:
    """Whichever asymmetric algorithm has signed it."""
    headers = token(algorithm)

    assert functions.post("/launch/greeting", headers=headers).status_code == 202


def test_the_longest_name_fits_into_the_index_of_callers(functions: TestClient) -> None:
    """255 characters of four bytes; a longer one is a token that is refused."""
    name = "".join(chr(0x1F600 + number % 79) for number in range(255))

    assert functions.post("/launch/greeting", headers=token(sub=name)).status_code == 202


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"nbf": 2**40},
        {"iss": "https://login.example.com"},
        {"iss": None},
        {"aud": "another"},
        {"aud": []},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": " "},
        {"sub": "nul\0"},
        {"sub": "\ud800"},
        {"sub": "x" * 256},
        {"kid": "unknown"},
    ],
)
def test_a_token_with_other_claims_is_refused(
    functions: TestClient, claims: dict[str, Any]
) -> None:
    """401 says only that."""
    answer = functions.get("/status/unknown", headers=token(**claims))

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == INVALID
    assert answer.json()["detail"] == "The credentials are not accepted."


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_is_refused(functions: TestClient, kind: str) -> None:
    """401, whatever garbage it is."""
    headers: Any = {"Authorization": f"Bearer {FORGED[kind]()}".encode("latin-1")}

    answer = functions.get("/status/unknown", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == INVALID


def test_without_a_token_nobody_asks_the_issuer(functions: TestClient, issuer: Issuer) -> None:
    """401 without an error, as RFC 6750 wants it; an API key is no token."""
    answer = functions.get("/status/unknown", headers={"X-API-Key": "key"})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="dbos-functions"'
    assert issuer.reads == 0


def test_roles_and_admins_count(functions: TestClient, database: str) -> None:
    """`admin` comes from the token or from ADMINS; what is no list of roles is none."""
    url = functions.post("/launch/greeting", headers=token()).headers["Location"]

    def seen_by(**claims: Any) -> int:
        return functions.get(url, headers=token(**claims)).status_code

    assert seen_by() == 200
    assert seen_by(sub="bob") == 404
    assert seen_by(sub="bob", roles="admin") == 404
    assert seen_by(sub="bob", roles=[["admin"], None]) == 404
    assert seen_by(sub="bob", roles=["admin"]) == 200
    assert seen_by(sub="carol") == 200


def test_the_workflow_knows_the_roles(functions: TestClient, database: str) -> None:
    """All those of the token."""
    functions.post("/launch/greeting", headers=token(sub="carol", roles=["clerk"]))

    with psycopg.connect(database) as connection:
        query = "select authenticated_user, authenticated_roles from dbos.workflow_status"
        assert connection.execute(query).fetchall() == [("carol", '["clerk", "admin"]')]


def test_concurrent_callers_share_one_reading(functions: TestClient, issuer: Issuer) -> None:
    """Also the first ones of an instance."""
    issuer.hung.clear()
    with ThreadPoolExecutor(8) as callers:
        answers = [callers.submit(answered, functions, token()) for _ in range(8)]
        issuer.hung.set()

    assert {answer.result() for answer in answers} == {404}
    assert issuer.reads == 1


def test_a_new_key_is_found_at_once(functions: TestClient, issuer: Issuer) -> None:
    """And one that the issuer has withdrawn is refused from then on."""
    issuer.publish(old="ES256")
    before = answered(functions, token("ES256", kid="old"))
    issuer.publish(new="ES384")

    assert before == 404
    assert answered(functions, token("ES384", kid="new")) == 404
    assert answered(functions, token("ES256", kid="old")) == 401


def test_unknown_keys_cause_one_reading(functions: TestClient, issuer: Issuer) -> None:
    """However many come, until PAUSE is over."""
    answered(functions, token())
    with ThreadPoolExecutor(8) as callers:
        flood = [callers.submit(answered, functions, token(kid=f"key {n}")) for n in range(40)]

    assert {answer.result() for answer in flood} == {401}
    assert issuer.reads == 2


def test_unknown_keys_are_looked_for_again_after_the_pause(
    functions: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is refused for good."""
    answered(functions, token())
    early = answered(functions, token(kid="new"))
    issuer.publish(new="ES256")
    too_early = answered(functions, token(kid="new"))
    monkeypatch.setattr(tokens, "PAUSE", 0)

    assert (early, too_early) == (401, 401)
    assert answered(functions, token(kid="new")) == 404


def test_known_keys_are_usable_while_the_issuer_is_away(
    functions: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others cannot be told from forged ones meanwhile: 503."""
    first = answered(functions, token())
    issuer.status = 500
    monkeypatch.setattr(tokens, "KEPT", 0)

    assert (first, answered(functions, token())) == (404, 404)
    assert answered(functions, token(kid="new")) == 503
    assert issuer.reads == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (200, b'{"keys": []}'),
        (200, b'{"keys": {"a": 1}}'),
        (200, b'{"keys": [1, {}, {"kty": "oct", "k": "c2VjcmV0"}]}'),
    ],
)
def test_an_issuer_without_keys_is_away(
    functions: TestClient, issuer: Issuer, status: int, body: bytes
) -> None:
    """503 says when to come back, and the next one finds the keys."""
    good = issuer.body
    issuer.status, issuer.body = status, body

    answer = functions.get("/status/unknown", headers=token())
    issuer.status, issuer.body = 200, good

    assert answer.status_code == answer.json()["status"] == 503
    assert answer.headers["Retry-After"] == "5"
    assert answered(functions, token()) == 404


def test_an_issuer_that_hangs_is_away(
    functions: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 in time, and it is asked no more often."""
    monkeypatch.setattr(tokens, "TIMEOUT", 0.1)
    issuer.hung.clear()

    answers = [answered(functions, token()) for _ in range(5)]

    assert answers == [503] * 5
    assert issuer.reads <= 2


def test_an_issuer_that_nobody_runs_is_away(serve: Serve, database: str) -> None:
    """503: the connection is refused."""
    with issuing() as issuer:
        settings = issuer.settings
    with serve(database, **settings) as functions:
        assert answered(functions, token()) == 503


def test_tokens_are_neither_logged_nor_answered(
    functions: TestClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither good nor bad ones; what the issuer's failure was is logged."""
    caplog.set_level("DEBUG")
    issuer.status = 500
    headers = [token(), token(exp=1), token(kid="secret"), bearer("secret")]

    answers = [functions.get("/status/unknown", headers=header) for header in headers]

    told = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert "JWT_JWKS_URL cannot be read" in caplog.text
    assert "secret" not in told
    assert not any(header["Authorization"].split()[1] in told for header in headers)
