"""The processes that local_dev looks after."""

from pathlib import Path

import pytest

from local_dev import processes
from local_dev.bench.processes import wait_until
from local_dev.processes import Process

PROGRAM = """
import added, pathlib, time
pathlib.Path("{loaded}").touch()
time.sleep(60)
"""


def test_what_misses_a_package_is_started_when_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not before: it would say the same again."""
    monkeypatch.setattr(processes, "PAUSE", 0.0)
    code, installed, loaded = (tmp_path / name for name in ("code", "installed", "loaded"))
    code.mkdir()
    installed.mkdir()
    (code / "program.py").write_text(PROGRAM.format(loaded=loaded))
    environ = {"PYTHONPATH": f"{code}:{installed}"}
    end, pid = tmp_path / "worker.end", tmp_path / "worker.pid"

    def ended() -> bool:
        process.look([])
        return end.exists()

    def started() -> bool:
        process.look([])
        return loaded.exists()

    with Process(
        "worker",
        ["program"],
        code=str(code),
        environ=environ,
        pid_files=tmp_path,
        installed=installed,
    ) as process:
        wait_until(ended)
        said = end.read_text()
        process.look([])
        waits = not pid.exists()
        (installed / "added.py").touch()
        wait_until(started)
        runs = pid.exists()

    assert "No module named 'added'" in said
    assert waits
    assert runs
