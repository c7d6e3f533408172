"""What GitHub reads, and what CI runs on it, where that can be tried without GitHub."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.project import ROOT

GITHUB = ROOT / ".github"

WORKFLOWS = sorted((GITHUB / "workflows").iterdir())

DEPENDABOT = GITHUB / "dependabot.yml"

MANIFESTS = {
    "docker-compose": "compose.yaml",
    "github-actions": ".github/workflows/ci.yml",
    "npm": "package.json",
    "uv": "uv.lock",
}

TODAY = date.today()


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.dependabot", [DEPENDABOT]),
        ("vendor.renovate", [GITHUB / "renovate.json"]),
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
    ],
)
def test_the_files_are_as_github_wants_them(schema: str, files: Iterable[Path]) -> None:
    """By the schemas that come with check-jsonschema."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    checked = subprocess.run([*check, *map(str, files)], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout


def test_dependabot_finds_what_it_is_to_look_at() -> None:
    """One that is told of a directory without a manifest fails where few look."""
    looks_at = [
        ROOT / directory.lstrip("/") / MANIFESTS[update["package-ecosystem"]]
        for update in read(DEPENDABOT)["updates"]
        for directory in update.get("directories") or [update["directory"]]
    ]

    assert [each for each in looks_at if not each.is_file()] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_pinned_to_a_commit(workflow: Path) -> None:
    """A tag can be moved; the comment says which one it was."""
    pinned = r"\S+@[0-9a-f]{40} # v\d+(\.\d+)*|\./\.github/workflows/\w+\.yml"
    used = re.findall(r"^\s*-?\s*uses: (.+)$", workflow.read_text(), re.MULTILINE)

    assert used
    assert [each for each in used if not re.fullmatch(pinned, each)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_where_it_does_not_say_more(workflow: Path) -> None:
    """The default of a repository may be to write everything, and checkout keeps the token."""
    definition = read(workflow)
    steps = [step for job in definition["jobs"].values() for step in job.get("steps", [])]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]

    assert definition["permissions"] in ({}, {"contents": "read"})
    assert [each for each in checkouts if each["with"]["persist-credentials"]] == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("PYSEC-1", "PYSEC-1 needs a day (YYYY-MM-DD) and a reason"),
        (f"PYSEC-1 {TODAY}", "PYSEC-1 needs a day (YYYY-MM-DD) and a reason"),
        ("PYSEC-1 never it does no harm", "PYSEC-1 needs a day (YYYY-MM-DD) and a reason"),
        (f"PYSEC-1 {TODAY - timedelta(days=1)} it does no harm", "PYSEC-1 was let pass until"),
    ],
)
def test_the_audit_refuses_what_it_cannot_let_pass(
    tmp_path: Path, line: str, complaint: str
) -> None:
    """Before it asks anybody anything."""
    github = tmp_path / ".github"
    github.mkdir()
    shutil.copy(GITHUB / "audit", github)
    (github / "audit-allow.txt").write_text(f"# A comment.\n\n{line}\n")

    refused = subprocess.run([github / "audit"], capture_output=True, text=True)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f".github/audit-allow.txt: {complaint}")


def read(path: Path) -> Any:
    """What a YAML file says."""
    return YAML(typ="safe").load(path)
