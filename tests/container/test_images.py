"""What is in the images, and what is not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT

from .images import Image, Store

pytestmark = pytest.mark.container

NEEDLESS = {
    *("Dockerfile", "README.md", "connections.md", "deploy", "platforms", "vercel.json"),
}

BUILD_TOOLS = {"uv", "uvx", "gcc", "cc", "make", "git", "ld"}


def test_the_configuration_is_what_orchestrators_need(image: Image) -> None:
    """A numeric user, a signal, a health check and a command that no shell stands in front of."""
    user, group = image.config["User"].split(":")

    assert int(user) > 0 and int(group) > 0
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert image.config["Cmd"][0] in ("python", "uvicorn")
    assert not image.config["Entrypoint"]


def test_no_setting_that_is_one_deployment_s_own_is_in_an_image(image: Image) -> None:
    """No URL, no key, and AUTH has to be chosen by whoever deploys."""
    ours = {name for name in image.environ if not name.startswith(("PYTHON", "GPG_", "LANG"))}

    assert ours <= {
        "PATH",
        "HEALTH_PORT",
        "UVICORN_HOST",
        "UVICORN_PORT",
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
    }


def test_what_built_an_image_is_not_in_it(image: Image) -> None:
    """Neither uv nor compilers, no caches of theirs, and nothing of how this machine is set up."""
    directories = ("usr/local/bin", "usr/bin", "app/.venv/bin")
    programs = {file.name for path in directories for file in (image.files / path).iterdir()}

    assert programs & BUILD_TOOLS == set()
    assert not (image.files / "root" / ".cache").exists()
    assert [*(image.files / "etc" / "uv").glob("*")] == []


def test_an_image_holds_one_deployable_and_its_dependencies(images: dict[str, Image]) -> None:
    """And not what builds or tests it."""
    held = {name: files(image.files / "app") for name, image in images.items()}

    assert held == {name: sources(git("ls-files", name)) for name in images}


def test_its_process_cannot_change_its_code(image: Image) -> None:
    """All of it is root's, and nobody else may write to it."""
    app = image.files / "app"
    writable = [
        str(path.relative_to(app))
        for path in [app, *app.rglob("*")]
        if not path.is_symlink() and (path.stat().st_uid != 0 or path.stat().st_mode & 0o022)
    ]

    assert writable == [".venv/.lock"]  # Empty; uv locks it while it installs.


def test_nothing_is_compiled_at_the_start(image: Image) -> None:
    """Where the root is read-only, every start would do it again."""
    own = (image.files / "app").rglob("*.py")
    library = (path.parent for path in image.files.glob("usr/**/lib/python3*/os.py"))
    standard = [path for directory in library for path in directory.glob("[a-z]*.py")]
    outdated = [path for path in (*own, *standard) if not compiled(path)]

    assert standard

    assert [path.name for path in outdated] == ["activate_this.py"]  # Of the venv; nobody runs it.


def test_a_clean_checkout_is_enough(store: Store, tmp_path: Path) -> None:
    """No image depends on a file that is not tracked, nor takes one along that is hidden."""
    archive = tmp_path / "head.tar"
    git("archive", f"--output={archive}", "HEAD")
    shutil.unpack_archive(archive, project := tmp_path / "project", filter="data")
    for name in ("worker", "functions"):
        (project / name / ".env").write_text("API_KEYS=secret")

    built = {name: store.build(name, context=project) for name in ("worker", "functions")}

    assert {name: files(image.files / "app") for name, image in built.items()} == {
        name: sources(git("ls-tree", "-r", "--name-only", "HEAD", name)) for name in built
    }


def test_the_bases_can_be_exchanged(store: Store, images: dict[str, Image]) -> None:
    """By arguments of the build, for those who have to use others."""
    assert "OTHER" not in images["worker"].environ
    store.derive("localhost/other", pinned("worker"), "ENV OTHER=base")

    other = store.build("worker", PYTHON_IMAGE="localhost/other")

    assert other.environ["OTHER"] == "base"


def pinned(name: str) -> str:
    """The Python that an image is built on."""
    dockerfile = (ROOT / name / "Dockerfile").read_text()
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)", dockerfile, re.M)
    assert found
    return found[1]


def files(directory: Path) -> set[str]:
    """The files of a deployable in an image, but neither dependencies nor bytecode."""
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {str(path) for path in paths if not {".venv", "__pycache__"} & set(path.parts)}


def sources(listed: str) -> set[str]:
    """The files of a deployable that belong in its image: what deploys and explains it does not."""
    paths = (Path(line) for line in listed.splitlines())
    return {str(path) for path in paths if not {*path.parts} & NEEDLESS and path.name[0] != "."}


def git(*arguments: str) -> str:
    """What git says of this project, whoever its directory belongs to."""
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def compiled(path: Path) -> bool:
    """Whether there is bytecode that Python uses without a look at the module (PEP 552)."""
    unchecked = (1).to_bytes(4, "little")
    cached = path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")
    return any(file.read_bytes()[4:8] == unchecked for file in cached)
