"""`HEALTH_PORT`: `/healthz` and `/livez` for the platform, `/metrics` for Prometheus."""

import math
import socketserver
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from .errors import PortInUse
from .executor import Executor
from .held import Held
from .lease import Lease
from .metrics import Metrics
from .queues import QUEUES

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


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread per request, so that a slow database holds up nobody else."""

    daemon_threads = True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Where no thread can be started, answer in this one: the platform would end the worker."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self.process_request_thread(request, client_address)

    def server_bind(self) -> None:
        """Bind without the name lookup of http.server, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "worker", self.server_address[1]
        self.setup_environ()


class Handler(WSGIRequestHandler):
    """Logs nothing: probes come every few seconds."""

    timeout = 5.0
    """Seconds that a client may take to send its request."""

    def log_message(self, format: str, *args: object) -> None:
        """Do not log the request."""


def serve_health(port: int, health: Health, metrics: Metrics) -> None:
    """Serve both in a thread, on all addresses, from now on; raises PortInUse."""
    try:
        server = Server(("", port), Handler)
    except OSError as error:
        raise PortInUse(port=port, reason=error.strerror) from error
    server.set_app(_application(health, make_wsgi_app(metrics.registry)))
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


def _application(health: Health, metrics: WSGIApplication) -> WSGIApplication:
    looks = {"/healthz": health.problem, "/livez": health.stuck}

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start)
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
