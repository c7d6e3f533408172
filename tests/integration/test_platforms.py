"""Each platform's adapter, given what that platform hands to it."""

import asyncio
import base64
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import azure.functions as azure
import pytest
from starlette.testclient import TestClient

from tests.calls import Event, parsed
from tests.rows import finish, write_stream

from .conftest import Serve

JSON = {"Content-Type": "application/json"}
EVENTS = {"Accept": "text/event-stream"}
KEY = "Idempotency-Key"
KEYS = {"AUTH": "api_key", "API_KEYS": json.dumps({"alice": 64 * "0"})}


class Answer(NamedTuple):
    """What a client of the platform receives."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.text)


class Client:
    """Calls the functions as the platform does."""

    def __init__(self, call: Callable[[str, str, str, bytes, Mapping[str, str]], Answer]) -> None:
        self._call = call

    def post(self, url: str, body: Any = None, **headers: str) -> Answer:
        """POST `body` as JSON."""
        path, _, query = url.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        return self._call("POST", path, query, content, JSON | headers)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET a URL."""
        path, _, query = url.partition("?")
        return self._call("GET", path, query, b"", headers or {})

    def ask(self, method: str, path: str) -> Answer:
        """A request without a body."""
        return self._call(method, path, "", b"", {})

    def events(self, workflow_id: str, last: str | None = None) -> list[Event]:
        """The events of a workflow after the last one that was seen."""
        headers = EVENTS | ({"Last-Event-ID": last} if last else {})
        answer = self.get(f"/status/{workflow_id}", headers)
        assert answer.status == 200
        return list(parsed(answer.text.split("\n")))


def function_url(
    method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The event of a Lambda function URL, and of an HTTP API: payload format 2.0."""
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"http": http, "routeKey": "$default", "stage": "$default"},
        "isBase64Encoded": bool(body),
    }
    return event | ({"body": base64.b64encode(body).decode()} if body else {})


def rest_api(
    method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The event of a REST API with a proxy resource: payload format 1.0."""
    values = parse_qs(query)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "requestContext": {"stage": "prod", "path": f"/prod{path}", "httpMethod": method},
        "body": body.decode() or None,
        "isBase64Encoded": False,
    }


def load_balancer(
    method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The event of an Application Load Balancer, which leaves queries encoded."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:functions"}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": dict(part.split("=") for part in query.split("&") if part),
        "headers": {name.lower(): value for name, value in headers.items()},
        "body": body.decode(),
        "isBase64Encoded": False,
    }


def aws(event: Callable[..., dict[str, Any]]) -> Callable[[Path], Client]:
    """Lambda, asked with one of its events."""

    def client(root: Path) -> Client:
        handler = load(root / "functions/platforms/aws/lambda_function.py").handler

        def call(*request: Any) -> Answer:
            answer = json.loads(json.dumps(handler(event(*request), None)))
            assert answer["isBase64Encoded"] is False
            return Answer(answer["statusCode"], lower(answer["headers"]), answer["body"])

        return Client(call)

    return client


def azure_functions(root: Path) -> Client:
    """Azure Functions, asked with its own request."""
    (function,) = load(root / "functions/platforms/azure/function_app.py").app.get_functions()

    def call(method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        url = f"https://functions.example{path}" + (f"?{query}" if query else "")
        request = azure.HttpRequest(method=method, url=url, headers=headers, body=body)
        answering = function.get_user_function()(request, None)
        answer = asyncio.get_event_loop().run_until_complete(answering)
        text = answer.get_body().decode()
        return Answer(answer.status_code, lower(dict(answer.headers)), text)

    return Client(call)


def vercel(root: Path) -> Client:
    """Vercel, whose runtime is an ASGI server."""
    app = load(root / "functions/platforms/vercel/index.py").app
    server = TestClient(app)

    def call(method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        url = path + (f"?{query}" if query else "")
        answer = server.request(method, url, content=body, headers=headers)
        return Answer(answer.status_code, lower(answer.headers), answer.text)

    return Client(call)


PLATFORMS = {
    "aws-function-url": aws(function_url),
    "aws-rest-api": aws(rest_api),
    "aws-load-balancer": aws(load_balancer),
    "azure": azure_functions,
    "vercel": vercel,
}

METHODS = ["QUERY", "PROPFIND", "PUT"]

BUFFERING = {name: made for name, made in PLATFORMS.items() if name != "vercel"}


@pytest.fixture(autouse=True)
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One event loop for all invocations, as platforms have it, and a path that is restored."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delattr(azure.AsgiFunctionApp, "__del__")  # Runs a loop amid those of other tests.
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_a_workflow_is_launched_and_followed(
    platform: Callable[[Path], Client], root: Path, serve: Serve, database: str
) -> None:
    """With query, headers, body, and status codes as everywhere else."""
    with serve(database):
        client = platform(root)
        launched = client.post("/launch/greeting?delay=0.0", {"name": "Zoë"}, **{KEY: "one"})
        again = client.post("/launch/greeting?delay=0.0", {"name": "Zoë"}, **{KEY: "one"})
        workflow_id = launched.body["workflow_id"]
        finish(database, workflow_id, "SUCCESS", output='"Hello, Zoë!"')
        ended = client.get(f"/status/{workflow_id}?wait=5")
        unchanged = client.get(f"/status/{workflow_id}", {"If-None-Match": ended.headers["etag"]})

    assert launched.status == 202
    assert launched.headers["location"] == f"/status/{workflow_id}"
    assert again.headers["idempotency-replayed"] == "true"
    assert ended.body["result"] == "Hello, Zoë!"
    assert unchanged.status == 304


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_errors_are_problems(
    platform: Callable[[Path], Client], root: Path, serve: Serve, database: str
) -> None:
    """In text that can be read."""
    with serve(database):
        client = platform(root)
        wrong = client.post("/launch/greeting", {"colour": "red"})
        missing = client.get("/nothing/here")

    assert wrong.status == 422
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.body["errors"][0]["pointer"] == "/colour"
    assert missing.status == 404
    assert missing.body["status"] == 404


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_methods_that_no_function_has_are_refused(
    platform: Callable[[Path], Client], method: str, root: Path, serve: Serve, database: str
) -> None:
    """405 says which it has, on every path that there is."""
    with serve(database):
        client = platform(root)
        refused = client.ask(method, "/launch/greeting")
        missing = client.ask(method, "/nothing/here")

    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert missing.status == 404


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_keys_are_checked(
    platform: Callable[[Path], Client], root: Path, serve: Serve, database: str
) -> None:
    """What the platform lets through is not let in by itself."""
    with serve(database, **KEYS):
        refused = platform(root).post("/launch/greeting")

    assert refused.status == 401
    assert "www-authenticate" in refused.headers


@pytest.mark.parametrize("platform", BUFFERING.values(), ids=BUFFERING)
def test_events_come_as_soon_as_there_are_any(
    platform: Callable[[Path], Client], root: Path, serve: Serve, database: str
) -> None:
    """Where nobody can read them before the answer is whole, it ends and is asked for again."""
    with serve(database):
        client = platform(root)
        workflow_id = client.post("/launch/greeting").body["workflow_id"]
        first = client.events(workflow_id)
        finish(database, workflow_id, "SUCCESS")
        then = client.events(workflow_id, first[-1].id)
        after = client.get(f"/status/{workflow_id}", EVENTS | {"Last-Event-ID": then[-1].id})

    assert [event.name for event in first] == ["status", "reconnect"]
    assert [event.name for event in then] == ["status", "end"]
    assert after.status == 204


def test_a_backlog_of_events_comes_in_answers_that_can_be_sent(
    root: Path, serve: Serve, database: str
) -> None:
    """Lambda refuses those of more than 6 MB, and the client would never get any further."""
    with serve(database):
        client = aws(function_url)(root)
        workflow_id = client.post("/launch/greeting").body["workflow_id"]
        write_stream(database, workflow_id, "lines", *range(250))
        finish(database, workflow_id, "SUCCESS")
        answers: list[list[Event]] = []
        last = None
        while not answers or answers[-1][-1].name != "end":
            answers.append(client.events(workflow_id, last))
            last = answers[-1][-1].id

    values = [[each.data["value"] for each in told if each.name == "stream"] for told in answers]
    assert [len(each) for each in values] == [100, 100, 50]
    assert [each for value in values for each in value] == [*range(250)]


@pytest.mark.parametrize(
    ("environ", "level"),
    [({"AUTH": "none"}, "function"), (KEYS, "anonymous")],
    ids=["none", "api_key"],
)
def test_azure_asks_for_its_keys_where_the_functions_do_not(
    environ: dict[str, str], level: str, root: Path, serve: Serve, database: str
) -> None:
    """`AUTH=none` means that the platform authenticates."""
    with serve(database, **environ):
        (function,) = load(root / "functions/platforms/azure/function_app.py").app.get_functions()

    assert function.get_trigger().auth_level.value == level


def load(file: Path) -> ModuleType:
    """Import a file as platforms do: by its path, without a package."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}
