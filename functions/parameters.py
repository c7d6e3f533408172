"""Read query parameters and headers, strictly: what is unknown or malformed is a 400."""

import math
import re
from collections.abc import Collection
from datetime import datetime

from starlette.requests import Request

from .errors import BadHeader, BadParameter, UnknownParameter

LONGEST = 512
"""Characters of a text; an index of Postgres takes 2,704 bytes, and one may have four."""

NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?")

INTEGER = re.compile(r"[0-9]{1,15}")

PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")


class Query:
    """The query parameters of a request; raises UnknownParameter unless all are `known`."""

    def __init__(self, request: Request, *known: str) -> None:
        self._given = request.query_params
        for parameter in self._given:
            if parameter not in known:
                raise UnknownParameter(parameter=parameter)

    def texts(self, name: str, longest: int = LONGEST) -> list[str]:
        """All values of a parameter that may be repeated; raises BadParameter."""
        values = self._given.getlist(name)
        for value in values:
            if not value.strip() or "\0" in value or len(value) > longest:
                raise BadParameter(name, f"a text of 1 to {longest} characters")
        return values

    def text(self, name: str, longest: int = LONGEST) -> str | None:
        """The value of a parameter that may be given once; raises BadParameter."""
        values = self.texts(name, longest)
        if len(values) > 1:
            raise BadParameter(name, "given once")
        return values[0] if values else None

    def number(self, name: str, most: float, *, least: float = 0) -> float | None:
        """A decimal number from `least` to `most`; raises BadParameter."""
        value = self.text(name)
        if value is None:
            return None
        if not NUMBER.fullmatch(value) or not least <= float(value) <= most:
            raise BadParameter(name, f"a number from {least:g} to {most:.0f}")
        return float(value)

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A whole number from `least` to `most`; raises BadParameter."""
        value = self.text(name)
        if value is None:
            return None
        if not INTEGER.fullmatch(value) or not least <= int(value) <= most:
            raise BadParameter(name, f"a whole number from {least} to {most}")
        return int(value)

    def choice(self, name: str, *choices: str) -> str | None:
        """One of `choices`; raises BadParameter."""
        value = self.text(name)
        if value is not None:
            _check_choice(name, value, choices)
        return value

    def choices(self, name: str, choices: Collection[str]) -> list[str]:
        """Some of `choices`; raises BadParameter."""
        values = self.texts(name)
        for value in values:
            _check_choice(name, value, choices)
        return values

    def time(self, name: str) -> int | None:
        """A time of RFC 3339, as milliseconds of the epoch, rounded up; raises BadParameter."""
        value = self.text(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError
            return math.ceil(moment.timestamp() * 1000)
        except (ValueError, OverflowError) as error:
            raise BadParameter(name, "a time like 2026-11-22T12:00:00Z") from error


def idempotency_key(request: Request) -> str | None:
    """The header `Idempotency-Key`: 1 to 255 printable characters of ASCII; raises BadHeader."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not PRINTABLE.fullmatch(values[0]):
        raise BadHeader(header="Idempotency-Key", wanted="1 to 255 printable characters of ASCII")
    return values[0]


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise BadParameter(name, f"one of {', '.join(choices)}")
