"""Images, built by buildah without a daemon, in a store of the tests' own."""

import json
import os
import re
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.project import ROOT

NEEDED = ("buildah", "debootstrap", "unshare", "nsenter", "setpriv")

MIRROR = "http://deb.debian.org/debian"


@dataclass(frozen=True)
class Image:
    """A built image, its configuration, and where its files are."""

    id: str
    config: dict[str, Any]
    files: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment that its processes are given."""
        return dict(variable.split("=", 1) for variable in self.config["Env"])


class Store:
    """Images and what they are made from, all below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._buildah_options = [
            f"--root={directory / 'images'}",
            f"--runroot={directory / 'run'}",
            "--storage-driver=vfs",
        ]
        for name in ("temporary", "uv"):
            (directory / name).mkdir()
        (directory / "uv" / "uv.toml").write_text("system-certs = true\n")

    def build(self, name: str, context: Path = ROOT, **arguments: str) -> Image:
        """Build `name`/Dockerfile as its first line says, with arguments for its ARGs."""
        file = context / name / "Dockerfile"
        for base in re.findall(r"^ARG \w+_IMAGE=(\S+)", file.read_text(), re.M):
            self._provide(base)
        exchanged = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        id = self._build(f"--file={file}", *exchanged, *self._trust(), str(context))
        config = json.loads(self._buildah("inspect", "--type=image", id))["Docker"]["config"]
        container = self._buildah("from", "--pull-never", id)
        return Image(id, config, Path(self._buildah("mount", container)))

    def derive(self, name: str, base: str, line: str) -> None:
        """Make an image from another and a line of a Dockerfile."""
        file = self.directory / "Derived"
        file.write_text(f"FROM {base}\n{line}\n")
        self._build(f"--tag={name}", f"--file={file}", str(self.directory / "uv"))

    def close(self) -> None:
        """Remove everything."""
        self._buildah("rm", "--all")
        mounts = Path("/proc/self/mounts").read_text()
        assert str(self.directory) not in mounts, "something is still mounted"
        shutil.rmtree(self.directory)

    def _trust(self) -> list[str]:
        """Have uv trust whom this machine trusts: it may be behind a proxy with its own CA."""
        authorities = ssl.get_default_verify_paths().cafile
        bundle = f"--volume={authorities}:/etc/ssl/certs/ca-certificates.crt:ro"
        settings = f"--volume={self.directory / 'uv'}:/etc/uv:ro"
        return [bundle, settings] if authorities else []

    def _provide(self, base: str) -> None:
        """Have the image `base` in the store: that of its registry, or a stand-in for it."""
        name = base if "/" in base else f"docker.io/library/{base}"
        if self._try("inspect", "--type=image", name) or self._try("pull", "--quiet", name):
            return
        context = self.directory / name.replace("/", "-").replace(":", "-")
        if "uv" in name:
            _uv(context)
        else:
            _python(context, release=name.rpartition("-")[2])
        file = self.directory / "Dockerfile"
        file.write_text("FROM scratch\nCOPY . /\n")
        self._build(f"--tag={name}", f"--file={file}", str(context))
        shutil.rmtree(context)

    def _build(self, *options: str) -> str:
        always = ("--isolation=chroot", "--format=docker", "--pull-never", "--quiet")
        return self._buildah("build", *always, *options).splitlines()[-1]

    def _buildah(self, command: str, *options: str) -> str:
        done = self._run(command, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def _try(self, command: str, *options: str) -> bool:
        return self._run(command, *options).returncode == 0

    def _run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["buildah", *self._buildah_options, command, *options],
            env=os.environ | {"TMPDIR": str(self.directory / "temporary")},
            capture_output=True,
            text=True,
        )


def missing() -> str:
    """What the tests lack on this machine, or nothing."""
    if os.geteuid() != 0:
        return "images are built as root here"
    absent = [program for program in NEEDED if not shutil.which(program)]
    return f"not installed: {', '.join(absent)}" if absent else ""


def _python(directory: Path, release: str) -> None:
    """Debian's own Python where that of the official image is."""
    mirror = _apt("$(REPO_URI)") or MIRROR
    # In a namespace of its own it leaves nothing mounted, however it ends.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
    options = ["--include=python3,ca-certificates", release, str(directory), mirror]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for needless in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(directory / needless)
    for bytecode in [*(directory / "usr/lib").rglob("__pycache__")]:  # The official one has none.
        shutil.rmtree(bytecode)
    (directory / "usr/local/bin/python3").symlink_to("../../bin/python3")
    (directory / "usr/local/bin/python").symlink_to("python3")


def _apt(field: str) -> str:
    """Where this machine's apt gets Debian from."""
    what = ["Origin: Debian", "Label: Debian", "Component: main", "Created-By: Packages"]
    if not shutil.which("apt-get"):
        return ""
    command = ["apt-get", "indextargets", f"--format={field}", *what]
    return "".join(subprocess.check_output(command, text=True).splitlines()[:1])


def _uv(directory: Path) -> None:
    """The program that runs these tests."""
    directory.mkdir()
    program = os.environ.get("UV") or shutil.which("uv")
    assert program
    shutil.copy(program, directory / "uv")
