"""Which variables the settings of a deployable read."""

from collections.abc import Mapping
from typing import Any

from functions.settings import Settings as FunctionsSettings
from worker.settings import Settings as WorkerSettings


class _Environ(dict[str, str]):
    """Environment variables that know which of them were looked at."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a variable."""
        self.read.add(name)
        return super().get(name, default)


def unread(
    settings: type[WorkerSettings] | type[FunctionsSettings], variables: Mapping[str, str]
) -> set[str]:
    """The variables that would do nothing; raises BadSetting for one with a bad value."""
    environ = _Environ(variables)
    settings.from_env(environ)
    return set(environ) - environ.read
