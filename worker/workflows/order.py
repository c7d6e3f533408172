"""An order: reserve stock, wait for the payment, ship; undo what was done if that fails.

Each step stands for a call to another system. DBOS may run a step again after a crash, so
every call carries the order's id as its idempotency key. All is `async`, since orders wait: a
worker holds thousands that wait for their payment, and no thread for any of them.
"""

import asyncio
from typing import Annotated, Literal

from dbos import DBOS
from pydantic import Field
from typing_extensions import TypedDict

from worker import PublicError, workflow

STOCK = 100

LONGEST_TIMEOUT_SECONDS = 30 * 24 * 3600
"""Orders that wait hold places of their queue, so none may wait for ever."""


class OutOfStock(PublicError):
    """There is not enough in stock; trying again would not help. Callers read its message."""


class Order(TypedDict):
    """How an order ended."""

    state: Literal["shipped", "cancelled", "expired"]
    tracking: str | None


class Payment(TypedDict):
    """What the signal `payment` tells."""

    paid: bool


def may_succeed_later(error: BaseException) -> bool:
    """Whether a step is worth another attempt."""
    return not isinstance(error, OutOfStock)


@DBOS.step(name="reserve", retries_allowed=True, max_attempts=5, should_retry=may_succeed_later)
async def reserve(order_id: str, item: str, quantity: int) -> None:
    """Ask the warehouse to hold `quantity` of `item` for this order."""
    if quantity > STOCK:
        raise OutOfStock(f"{quantity} of {item} ordered, {STOCK} in stock")
    await asyncio.sleep(1)


@DBOS.step(name="release", retries_allowed=True, max_attempts=5)
async def release(order_id: str) -> None:
    """Undo `reserve`."""
    await asyncio.sleep(1)


@DBOS.step(name="ship", retries_allowed=True, max_attempts=5)
async def ship(order_id: str) -> str:
    """Ask the carrier for a parcel; returns its tracking number."""
    await asyncio.sleep(1)
    return f"PARCEL-{order_id[:8]}"


@DBOS.step(name="refund", retries_allowed=True, max_attempts=5)
async def refund(order_id: str) -> None:
    """Give the money back."""
    await asyncio.sleep(1)


async def progress(done: int, message: str) -> None:
    """Tell whoever follows the order."""
    await DBOS.set_event_async("progress", {"done": done, "total": 3, "message": message})


@workflow(queue="order_queue", signals={"payment": Payment})
async def order(
    item: str = "book",
    quantity: Annotated[int, Field(ge=1)] = 1,
    payment_timeout: Annotated[
        float, Field(gt=0, le=LONGEST_TIMEOUT_SECONDS, description="seconds")
    ] = 60.0,
) -> Order:
    """Sell an item: reserve it, wait for the signal `payment`, ship it.

    The payment is `{"paid": true}`. Any other cancels the order, none within `payment_timeout`
    lets it expire; either way the stock is released.
    """
    order_id = DBOS.workflow_id
    assert order_id is not None  # It is set in every workflow.

    await reserve(order_id, item, quantity)
    await progress(1, f"{quantity} of {item} reserved, waiting for the payment")

    payment = await DBOS.recv_async("payment", timeout_seconds=payment_timeout)
    if payment == {"paid": True}:
        await progress(2, "paid, shipping")
        tracking = await ship_or_undo(order_id)
        await progress(3, f"shipped as {tracking}")
        return {"state": "shipped", "tracking": tracking}

    state: Literal["cancelled", "expired"] = "expired" if payment is None else "cancelled"
    await progress(2, f"{state}, releasing the stock")
    await release(order_id)
    await progress(3, f"{state}, stock released")
    return {"state": state, "tracking": None}


async def ship_or_undo(order_id: str) -> str:
    """Ship; if that fails for good, undo the steps before it, last one first, and fail."""
    try:
        return await ship(order_id)
    except Exception:
        await refund(order_id)
        await release(order_id)
        raise
