"""Containers of namespaces and chroot: not root, root read-only, PID 1, the network shared."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local_dev.bench.processes import DEADLINE, Process, run, wait_until

from .images import Image

ENTER = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
exec setpriv --no-new-privs chroot --userspec="$2" --groups= "$1" env --chdir="$3" "${@:4}"
"""
"""What a container's process does first: $1 its root, $2 who it is, $3 where it works."""

ISOLATED = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")


class Container:
    """The process of an image."""

    def __init__(self, image: Image, process: Process, environ: Mapping[str, str]) -> None:
        self.image = image
        self.process = process
        self.environ = environ
        children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
        self.pid = int(wait_until(lambda: children.read_text().strip()))

    def ids(self) -> set[str]:
        """Every user id, group id and supplementary group that it has."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        ids = (line.split()[1:] for line in status if line.startswith(("Uid:", "Gid:", "Groups:")))
        return {id for each in ids for id in each}

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command in it, as `docker exec` does."""
        user, group = self.image.config["User"].split(":")
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*_env(self.environ), *enter, f"--setuid={user}", f"--setgid={group}", *command],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    def healthy(self) -> bool:
        """What the image's own health check says."""
        how, *command = self.image.config["Healthcheck"]["Test"]
        assert how == "CMD"
        return self.execute(*command).returncode == 0

    def signal(self) -> None:
        """Ask it to stop, as `docker stop` does."""
        os.kill(self.pid, signal.Signals[self.image.config["StopSignal"]])

    def stop(self) -> int:
        """Stop it; returns its exit code."""
        self.signal()
        return self.process.popen.wait(DEADLINE)


@contextmanager
def container(image: Image, **settings: str) -> Iterator[Container]:
    """Run an image for the time of the block."""
    environ = image.environ | {"HOME": "/"} | settings
    config = image.config
    inner = (str(image.files), config["User"], config["WorkingDir"], *config["Cmd"])
    command = (*_env(environ), *ISOLATED, "bash", "-ec", ENTER, "enter", *inner)
    with run(*command, cwd=image.files, environ={}) as process:
        yield Container(image, process, environ)


def _env(environ: Mapping[str, str]) -> list[str]:
    return ["env", "-i", *(f"{name}={value}" for name, value in environ.items())]
