"""A workflow with arguments of many types, which tells what it was given."""

import enum
from typing import Any

from worker import workflow


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@workflow()
def echo(
    must: str,
    preset: str | None = "preset",
    greeting: str = "hello",
    sure: bool | None = None,
    colour: Colour = Colour.RED,
    number: int = 1,
    share: float = 0.5,
    anything: Any = None,
    a_name_that_is_much_longer_than_what_fits_on_the_screen_of_a_phone: str = "",
) -> str:
    """Tell what was given."""
    return f"{must!r} {preset!r} {greeting!r} {sure} {colour.value} {number} {share} {anything}"
