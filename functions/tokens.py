"""JSON Web Tokens (RFC 7519), and the keys that their issuer signs them with."""

import asyncio
import logging
import math
import time
from contextlib import suppress
from functools import cache
from typing import Any

import jwt

from .errors import BadCredentials, KeysUnavailable
from .settings import settings

logger = logging.getLogger(__name__)

ALGORITHMS = [f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)]
ALGORITHMS += ["EdDSA"]
"""Only asymmetric ones: whoever can check a token must not be able to make one."""

REQUIRED = ["exp", "iss", "aud", "sub"]

LEEWAY = 10.0
"""Seconds that the issuer's clock may be off."""

TIMEOUT = 2.0
"""Seconds to wait for the issuer, so that enough is left for the database."""

KEPT = 300.0
"""Seconds until the keys are read again."""

PAUSE = 10.0
"""Seconds at least between two early reads, whatever callers send."""


async def claims(token: str) -> dict[str, Any]:
    """What the issuer says of the caller; raises BadCredentials, KeysUnavailable."""
    try:
        key = await keys().find(jwt.get_unverified_header(token).get("kid"))
        return jwt.decode(
            token,
            key,
            ALGORITHMS,
            audience=settings().jwt_audience,
            issuer=settings().jwt_issuer,
            leeway=LEEWAY,
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
        raise BadCredentials from error


class Keys:
    """The keys at a URL (RFC 7517), which stay usable while it cannot be reached.

    `jwt.PyJWKClient` alone would fail then, and ask again for every token.
    """

    def __init__(self, url: str) -> None:
        self._issuer = jwt.PyJWKClient(
            url, cache_jwk_set=False, headers={"User-Agent": "dbos-functions"}, timeout=TIMEOUT
        )
        self._keys: dict[str, jwt.PyJWK] = {}
        self._reading: asyncio.Task[None] | None = None
        self._heard = False
        self._read_at = self._early_at = -math.inf

    async def find(self, kid: str | None) -> jwt.PyJWK:
        """The key `kid`, which may be new; raises BadCredentials, KeysUnavailable."""
        due = self._is_due(kid)
        if due:
            self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        if self._reading and (due or kid not in self._keys):
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT):
                    await asyncio.shield(self._reading)
        if kid in self._keys:
            return self._keys[kid]
        raise BadCredentials if self._heard else KeysUnavailable

    def _is_due(self, kid: str | None) -> bool:
        """Whether this call has to read the keys: they are old, or one is missing."""
        now = time.monotonic()
        if self._reading and not self._reading.done() and now - self._read_at < PAUSE:
            return False
        if now - self._read_at < KEPT:
            if kid in self._keys or now - self._early_at < PAUSE:
                return False
            self._early_at = now
        self._read_at = now
        return True

    def _read(self) -> None:
        self._heard = False
        try:
            self._keys = {str(key.key_id): key for key in self._issuer.get_signing_keys()}
            self._heard = True
        except Exception as error:  # Whatever the issuer answers, the keys we have must do.
            logger.warning("JWT_JWKS_URL cannot be read: %s", type(error).__name__)


@cache
def keys() -> Keys:
    """The keys of this instance."""
    return Keys(settings().jwt_jwks_url)
