"""What a frontend does: launch a workflow, follow it."""

from typing import Any

import httpx2

from tests.processes import wait_until


def launched(client: httpx2.Client, workflow: str, **arguments: Any) -> str:
    """Launch a workflow on the all-in-one server; returns where to follow it."""
    answer = client.post(f"/launch/{workflow}", json=arguments)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def finished(client: httpx2.Client, url: str) -> dict[str, Any]:
    """The status of a workflow once it need not be asked for again."""

    def look() -> dict[str, Any] | None:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        return None if "Retry-After" in answer.headers else dict(answer.json())

    return wait_until(look)
