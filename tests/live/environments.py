"""Environments of their own for the vendors' clients that tests compare featkit with.

They are kept under `.cache`, named by a hash of the lock file and of this Python, so that they are
installed once. The standard library is all this needs.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig


def fingerprint(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(path):
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(cache, lock, note):
    """Return the Python of an environment, which is made where it is missing.

    `cache` is the folder that keeps it, which the caller has locked; `lock` the file with the
    versions and hashes of what is installed; `note` is told when that begins.
    """
    made_with = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}".encode()
    folder = cache / f"env-{fingerprint(lock.read_bytes(), made_with)}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        note("installing it, which takes a minute or two; this happens once")
        for outdated in cache.glob("env-*"):
            shutil.rmtree(outdated)
        _run(sys.executable, "-m", "venv", folder)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
        _run(*pip, "install", "--require-hashes", "--requirement", lock)
        complete.touch()
    return python


def _run(*command):
    words = [str(word) for word in command]
    kept = {name: own for name, own in os.environ.items() if not name.startswith(_OURS)}
    done = subprocess.run(
        words,
        env={**kept, "PIP_USER": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        sys.exit(f"this failed: {' '.join(words)}\n\n{done.stdout}")


_OURS = ("PYTHON", "VIRTUAL_ENV")  # variables that would lead into the environment of the tests
