"""An issuer of JSON Web Tokens: the third party whose HTTP service publishes the keys."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NAME = "https://login.example.com/"

AUDIENCE = "dbos-functions"

ALGORITHMS = ("RS256", "ES256", "ES384", "EdDSA")


@cache
def private_key(algorithm: str) -> Any:
    """The issuer's key for `algorithm`."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


class Issuer:
    """Publishes keys, counts who reads them, and signs."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/jwks.json"
        self.reads = 0
        self.status = 200
        self.hung = threading.Event()
        self.hung.set()
        self.body = b""
        self.publish()

    def publish(self, **algorithms: str) -> None:
        """Publish keys by their ids; one for each algorithm, under its name, by default."""
        published = algorithms or {algorithm: algorithm for algorithm in ALGORITHMS}
        jwks = [_public(kid, algorithm) for kid, algorithm in published.items()]
        self.body = json.dumps({"keys": jwks}).encode()

    @property
    def settings(self) -> dict[str, str]:
        """What the functions have to be told."""
        return {
            "AUTH": "jwt",
            "JWT_ISSUER": NAME,
            "JWT_AUDIENCE": AUDIENCE,
            "JWT_JWKS_URL": self.url,
        }


def token(algorithm: str = "ES256", kid: Any = None, **claims: Any) -> dict[str, str]:
    """The header with a token that is good but for `claims`; None leaves one out."""
    good = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 300}
    stated = {name: value for name, value in (good | claims).items() if value is not None}
    key = private_key(algorithm)
    return bearer(jwt.encode(stated, key, algorithm, headers={"kid": kid or algorithm}))


def bearer(credentials: str) -> dict[str, str]:
    """The header with `credentials`."""
    return {"Authorization": f"Bearer {credentials}"}


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that answers for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.reads += 1
            issuer.hung.wait()
            self.send_response(issuer.status)
            self.end_headers()
            self.wfile.write(issuer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield issuer
        issuer.hung.set()
        server.shutdown()
        thread.join()


def _public(kid: str, algorithm: str) -> dict[str, Any]:
    key = private_key(algorithm).public_key()
    jwk: Any = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {**jwk, "kid": kid, "use": "sig", "alg": algorithm}
