"""What workflows tell others, and are told: events, streams, messages, signals."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

from dbos import DBOS
from typing_extensions import is_typeddict

from .children import executed, in_portable_json
from .declarations import DECLARATION
from .errors import UnfitSignal
from .values import Form, jsonable, told

Function = Callable[..., Any]


def plain_events(set_event: Function) -> Function:
    """Make of `set_event` one that stores a value by its own type, for whoever reads it."""
    return _plain_value(set_event, "the event")


def plain_streams(write_stream: Function) -> Function:
    """Make of `write_stream` one that does so, too."""
    return _plain_value(write_stream, "a value of the stream")


def _plain_value(tell: Function, what: str) -> Function:
    @functools.wraps(tell)
    def tell_plain(dbos: DBOS, ctx: Any, key: str, value: Any, **options: Any) -> Any:
        if in_portable_json(dbos, options["serialization_type"]):
            value = jsonable(value, f"{what} {key!r}")
        return tell(dbos, ctx, key, value, **options)

    return tell_plain


def plain_messages(send_bulk: Function) -> Function:
    """Make of `send_bulk` one that sends messages by their own type, for whoever reads them."""

    @functools.wraps(send_bulk)
    def send(dbos: DBOS, ctx: Any, messages: list[Any], **options: Any) -> Any:
        if in_portable_json(dbos, options["serialization_type"]):
            messages = [_plain(message) for message in messages]
        return send_bulk(dbos, ctx, messages, **options)

    return send


def _plain(message: Any) -> Any:
    what = f"the message to {message.topic!r}" if message.topic else "the message"
    return dataclasses.replace(message, message=jsonable(message.message, what))


def declared_signals(recv: Function) -> Function:
    """Make of `recv` one that gives a signal as its workflow has declared it; also of the async."""
    topic_of = functools.partial(_argument, inspect.signature(recv), "topic")

    if inspect.iscoroutinefunction(recv):

        @functools.wraps(recv)
        async def receive_async(*args: Any, **kwargs: Any) -> Any:
            return _declared(topic_of(args, kwargs), await recv(*args, **kwargs))

        return receive_async

    @functools.wraps(recv)
    def receive(*args: Any, **kwargs: Any) -> Any:
        return _declared(topic_of(args, kwargs), recv(*args, **kwargs))

    return receive


def _argument(signature: inspect.Signature, name: str, args: Any, kwargs: Any) -> Any:
    return signature.bind(*args, **kwargs).arguments[name]


def _declared(topic: str | None, message: Any) -> Any:
    """The message of a topic as its hint says; None is that there was none in time."""
    declaration = getattr(executed.get(), DECLARATION, None)
    if message is None or declaration is None or topic not in declaration.signals:
        return message
    hint = declaration.signals[topic]
    # A TypedDict may hold more than it names, as any dict may.
    extra: Literal["allow"] | None = "allow" if is_typeddict(hint) else None
    try:
        return Form(hint, f"the signal {topic!r}").check(message, extra=extra)
    except Exception as error:  # A type's own hooks may raise anything.
        raise UnfitSignal(topic=topic, reason=told(error)) from error
