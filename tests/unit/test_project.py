"""The copies of the project that tests work on."""

from pathlib import Path

from tests.project import copy_project


def test_workflows_of_a_fork_stay_out_of_copies(tmp_path: Path) -> None:
    """Theirs may have the names of the tests' own workflows, which would stop every worker."""
    fork = copy_project(tmp_path / "fork")
    (fork / "worker" / "workflows" / "double.py").write_text("def double() -> None: ...\n")

    copied = copy_project(tmp_path / "copied", fork) / "worker" / "workflows"

    assert (copied / "greeting.py").is_file()
    assert (copied / "odd.py").is_file()
    assert not (copied / "double.py").exists()
