"""The smallest workflow: one step."""

from dbos import DBOS

from worker import workflow


@DBOS.step(name="generate_greeting")
def generate_greeting(name: str) -> str:
    return f"Hello, {name}!"


@workflow(queue="task_queue")
def greeting(name: str = "World") -> str:
    """Greet someone by name."""
    return generate_greeting(name)
