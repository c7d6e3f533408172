"""`HEALTH_PORT`: `/healthz` and `/livez` for the platform, `/metrics` for Prometheus."""

import math
import os
import socket
import time
from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from .errors import PortInUse
from .executor import Executor
from .held import Held
from .lease import Lease
from .metrics import Metrics
from .queues import QUEUES
from .server import BACKLOG, Server

POLLED = 60.0
"""Seconds that may pass from one look at a queue to the next, or from one workflow that is started
to the next: a worker that is overloaded makes progress, one that is stuck makes none."""


class Health:
    """Whether this worker does its work."""

    def __init__(self, executor: Executor, lease: Lease, held: Held) -> None:
        self._executor = executor
        self._lease = lease
        self._held = held
        self._since = time.monotonic()

    def problem(self) -> str | None:
        """Why it takes no new workflows; None if it does."""
        if self._executor.closed:
            return "draining"
        if not self._lease.held:
            return "the lease is not held"
        if problem := self._lease.clock.problem():
            return problem
        if self._executor.starved:
            return "no thread can be started"
        return self._not_polled(before_the_first=-math.inf)

    def note(self) -> str:
        """What it has to say although all is well with it, in lines; mostly nothing."""
        if count := self._held.count:
            runs = "1 workflow is" if count == 1 else f"{count} workflows are"
            return f"{runs} held, since the code has changed\n"
        return ""

    def stuck(self) -> str | None:
        """Why only another process can help; None also while it waits for Postgres, or drains."""
        if self._executor.closed or not self._lease.held:
            return None
        return self._not_polled(before_the_first=self._since)

    def _not_polled(self, *, before_the_first: float) -> str | None:
        for queue in QUEUES:
            polled_at = self._executor.polled_at.get(queue.name, before_the_first)
            if time.monotonic() - polled_at > POLLED:
                return f"{queue.name} is not polled"
        return None


def serve_health(port: int, health: Health, metrics: Metrics) -> None:
    """Serve both in threads, on all addresses, from now on; raises PortInUse."""
    try:
        listener = socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        raise PortInUse(port=port, reason=os.strerror(error.errno or 0)) from error
    slow = {"/metrics": make_wsgi_app(metrics.registry)}
    Server(_application(health), slow).start(listener)


def _application(health: Health) -> WSGIApplication:
    looks = {"/healthz": health.problem, "/livez": health.stuck}

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, text = HTTPStatus.NOT_FOUND, "there are /healthz, /livez and /metrics"
        if look := looks.get(environ["PATH_INFO"]):
            problem = look()
            status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
            text = problem or "ok"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
        start(f"{status.value} {status.phrase}", headers)
        note = health.note() if text == "ok" else ""
        return [f"{text}\n{note}".encode()]

    return application
