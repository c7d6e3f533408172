"""`python -m local_dev.bench`: the table, the files, and the goals that are counts, not times."""

import json
import subprocess
from pathlib import Path

from local_dev.bench.processes import python


def test_the_benchmark_counts_what_crosses_the_wire(root: Path, tmp_path: Path) -> None:
    """Four round trips for a launch and one for a status, on no new connection."""
    file, plots = tmp_path / "figures.json", tmp_path / "plots"
    options = ("--quick", "--only", "wire", "--json", str(file), "--plots", str(plots))

    done = subprocess.run(
        python("-m", "local_dev.bench", *options), cwd=root, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    figures = {each["name"]: each for each in json.loads(file.read_text())}
    assert all(set(each["project"]) == {0} for name, each in figures.items() if "new" in name)
    assert set(figures["launch, round trips"]["project"]) == {4}
    assert set(figures["status, round trips"]["project"]) == {1}
    assert set(figures["status, enqueued, round trips"]["project"]) == {2}
    assert {each["met"] for each in figures.values()} == {True}
    assert "| launch, round trips | 4 (4 to 4) | literal port:" in done.stdout
    assert (plots / "wire.png").stat().st_size > 0
