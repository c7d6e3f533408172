"""Who is calling, and what they may see."""

from dataclasses import dataclass

from dbos import DBOSClient, WorkflowStatus
from starlette.requests import Request

from .errors import UnknownWorkflowId


@dataclass(frozen=True)
class Caller:
    """Whoever has sent a request; nobody in particular where `AUTH` is `none`."""

    name: str | None
    roles: tuple[str, ...] = ()

    @property
    def sees_all(self) -> bool:
        """Whether workflows of others are visible, too."""
        return self.name is None or "admin" in self.roles

    @property
    def only(self) -> str | None:
        """Whose workflows alone are visible; None for all."""
        return None if self.sees_all else self.name


def caller(request: Request) -> Caller:
    """Who has sent `request`."""
    return Caller(None)


def visible(client: DBOSClient, by: Caller, workflow_id: str) -> WorkflowStatus:
    """The workflow, as far as it is visible `by` a caller; raises UnknownWorkflowId."""
    found = client.list_workflows(
        workflow_ids=[workflow_id], user=by.only, load_input=False, load_output=False
    )
    if not found:
        raise UnknownWorkflowId(workflow_id=workflow_id)
    return found[0]
