"""Programs that tests start: found, or the test says which package brings them."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = Path(__file__).with_name("packages.txt")


def program(name: str) -> str:
    """Return the path of a program; without it the test fails in CI, and is skipped elsewhere."""
    patterns = sorted(map(str, Path("/").glob(name.lstrip("/"))))
    if found := shutil.which(name) or next(iter(patterns), None):
        return found
    lines = [line.split() for line in PACKAGES.read_text("utf-8").splitlines()]
    package = next(words[1] for words in lines if words and words[0] == name)
    message = f"{name} is not installed; on Debian and Ubuntu: sudo apt-get install -y {package}"
    if "CI" in os.environ:
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """Find a port of this machine that nobody listens on, nor gets before the program does.

    The ports that the system itself hands out, to each connection too, begin higher up.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk, and give its URL."""
    port = port or free_port()
    command = [
        *(program("redis-server"), "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--appendonly", "no", "--dir", str(folder), *options),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


EMULATOR = "/usr/lib/google-cloud-sdk/platform/bigtable-emulator/cbtemulator"


def has_bigtable() -> bool:
    """Tell whether Google's emulator is here, which no package of Debian's brings."""
    return shutil.which("cbtemulator") is not None or Path(EMULATOR).exists()


@contextmanager
def bigtable_emulator() -> Iterator[str]:
    """Run Google's emulator of Bigtable, which keeps all in memory, and give its address."""
    port = free_port()
    command = [shutil.which("cbtemulator") or EMULATOR, "-host", "127.0.0.1", "-port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@contextmanager
def postgres_server(password: str) -> Iterator[int]:
    """Run a PostgreSQL with the superuser ``postgres``, and give its port.

    It refuses to run as root, and runs as the user ``postgres`` then, in a folder of its own:
    those of pytest are closed to other users.
    """
    binaries = Path(program("/usr/lib/postgresql/*/bin/postgres")).parent
    user = "postgres" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="featkit-postgres-", ignore_cleanup_errors=True) as name:
        folder, secret = Path(name), Path(name) / "password"
        secret.write_text(password)
        if user:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        run = {"cwd": folder, "user": user, "stdout": subprocess.DEVNULL}
        made = ["--auth=scram-sha-256", f"--pwfile={secret}", "--username=postgres", "--no-sync"]
        subprocess.run([binaries / "initdb", "-D", folder / "data", *made], check=True, **run)
        port = free_port()
        command = [
            *(binaries / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1"),
            *("-F", "-k", "", "-c", "max_connections=50"),
        ]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stderr=log, **run) as process,
        ):
            try:
                _wait_for(port, process)
                ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
                while process.poll() is None and subprocess.run(ready, check=False).returncode:
                    time.sleep(0.02)
                yield port
            finally:
                process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    pytest.fail(f"{process.args} did not begin to listen")
