"""Run a real Feast on this machine: an environment of its own, a small feature repository, servers.

    python tests/live/feast/serve.py              start, print the addresses, stop on Ctrl-C
    python tests/live/feast/serve.py --prepare    make what is missing, start nothing
    python tests/live/feast/serve.py --flights    serve the demo store's views, for the notebook

The first run installs Feast and builds the repository; both are kept under `.cache/feast`, named
by a hash of what they were made from, so that later runs start in seconds. What servers write,
such as pushed rows, goes into a copy that is thrown away in the end.

The standard library is all this needs; `--flights` needs featkit with its demo, once.
"""

import argparse
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from environments import environment, fingerprint, locked  # noqa: E402 - found beside this folder

ROOT = HERE.parents[2]
CACHE = ROOT / ".cache" / "feast"
LOCK = HERE / "requirements.lock"
BUILT_FROM = [*sorted((HERE / "repo").iterdir()), HERE / "sources.py", HERE / "build.py"]
FLIGHTS_FROM = [
    *sorted((HERE / "flights").glob("*.*")),
    *sorted(HERE.glob("flights_*.py")),
    ROOT / "featkit" / "stores" / "demo.py",
]

HOST = "127.0.0.1"
ALL_SERVERS = ("online", "registry", "offline", "offline_duckdb", "grpc", "oracle")
FLIGHTS_SERVERS = ("online", "registry", "offline")
START_TIMEOUT = 120.0
STOP_TIMEOUT = 15.0
BENCH_ENTITIES = {False: 1_000, True: 100_000}

# A server that speaks HTTP/2, as gRPC and Arrow Flight do, answers these with SETTINGS of its own.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_TYPE = 4


def note(text):
    sys.stderr.write(f"feast: {text}\n")


def surroundings(**more):
    """Return the environment variables of this process without those that reconfigure Feast."""
    ours = ("FEAST", "FEATURE_", "GUNICORN", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Feast's SQLite store keeps event times as local ones
    return {**kept, "PIP_USER": "0", "TZ": "UTC", **more}


def run(*command, **variables):
    done = subprocess.run(
        [str(word) for word in command],
        env=surroundings(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        sys.exit(f"feast: this failed: {' '.join(map(str, command))}\n\n{done.stdout}")


def repository(name, made_from, definitions, make):
    """Return the folder of a built feature repository, which is made where it is missing.

    `make` is called with the folder of a copy of `definitions`, and with a folder for Feast's use.
    """
    contents = [path.read_bytes() for path in [LOCK, *made_from]]
    folder = CACHE / f"{name}-{fingerprint(*contents)}"
    if not folder.exists():
        note("applying and materialising the feature repository; this happens once")
        for outdated in CACHE.glob(f"{name}-*"):
            shutil.rmtree(outdated)
        with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as parent:
            new = Path(parent, "repo")
            shutil.copytree(definitions, new)
            make(new, parent)
            new.rename(folder)
    return folder


def rides(python, bench_entities):
    def make(new, runtime):
        build = [python, HERE / "build.py", new, "--bench-entities", bench_entities]
        run(*build, XDG_RUNTIME_DIR=runtime)

    return repository(f"repo-{bench_entities}", BUILT_FROM, HERE / "repo", make)


def flights(python):
    def make(new, runtime):
        data = new / "data"
        data.mkdir()
        run(sys.executable, HERE / "flights_sources.py", data, PYTHONPATH=str(ROOT))
        run(python, HERE / "flights_build.py", new, XDG_RUNTIME_DIR=runtime)

    return repository("flights", FLIGHTS_FROM, HERE / "flights", make)


def prepare(make, *arguments):
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        python = environment(CACHE, LOCK, note)
        return python, make(python, *arguments)


def answers_http1(port, path):
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK


def answers_http2(port):
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(PREFACE + SETTINGS)
        head = connection.recv(len(SETTINGS), socket.MSG_WAITALL)
        return len(head) == len(SETTINGS) and head[3] == SETTINGS_TYPE


PROBES = {
    "online": lambda port: answers_http1(port, "/health"),
    "registry": lambda port: answers_http1(port, "/projects"),
    "offline": answers_http2,
    "offline_duckdb": answers_http2,
    "grpc": answers_http2,
    "oracle": lambda port: answers_http1(port, "/"),
}


def answers(name, port):
    try:
        return PROBES[name](port)
    except (OSError, http.client.HTTPException):
        return False


def logs(folder):
    for path in sorted(folder.glob("logs/*.log")):
        lines = path.read_text(errors="replace").splitlines()[-20:]
        yield "\n".join([f"== {path.name}", *lines])


def wait_until_all_answer(launcher, ports, folder):
    deadline = time.monotonic() + START_TIMEOUT
    silent = dict(ports)
    while silent:
        if launcher.poll() is not None or time.monotonic() > deadline:
            said = "\n".join(logs(folder))
            sys.exit(f"feast: no answer from {', '.join(silent) or 'any server'}\n{said}")
        silent = {name: port for name, port in silent.items() if not answers(name, port)}
        time.sleep(0.05)


@contextlib.contextmanager
def running(python, repo, workers, servers=ALL_SERVERS):
    """Serve a copy of a built repository; yield its folder, the servers' ports and their parent."""
    with tempfile.TemporaryDirectory(prefix="featkit-feast-") as parent:
        folder = Path(parent, "repo")
        shutil.copytree(repo, folder)
        launcher = subprocess.Popen(
            [python, HERE / "servers.py", folder, "--workers", str(workers), *servers],
            env=surroundings(XDG_RUNTIME_DIR=parent),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            line = launcher.stdout.readline()
            ports = json.loads(line) if line else {}
            wait_until_all_answer(launcher, ports, folder)
            yield folder, ports, launcher
        finally:
            launcher.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                launcher.wait(STOP_TIMEOUT)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
            launcher.stdout.close()


ADDRESSES = {  # by server: what a client calls it, and how it is written
    "online": ("server_url", "http://{}:{}"),
    "registry": ("registry_url", "http://{}:{}"),
    "offline": ("offline_url", "grpc://{}:{}"),
    "offline_duckdb": ("offline_duckdb_url", "grpc://{}:{}"),
    "grpc": ("grpc_address", "{}:{}"),
    "oracle": ("oracle_url", "http://{}:{}"),
}


def addresses(folder, ports, python):
    where = {}
    for server, port in ports.items():
        name, form = ADDRESSES[server]
        where[name] = form.format(HOST, port)
    return {**where, "folder": str(folder), "python": str(python)}


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for_the_end(watched, launcher):
    """Return when the watched process has ended, or the launcher has, which closes its output."""
    sources = [launcher.stdout]
    if hasattr(os, "pidfd_open"):  # unlike a signal, it sees that a process nobody reaped has ended
        with contextlib.suppress(ProcessLookupError):
            sources.append(os.pidfd_open(watched))
    while not has_ended(watched):
        if select.select(sources, [], [], 0.5)[0]:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prepare", action="store_true", help="make what is missing, then end")
    parser.add_argument("--bench", action="store_true", help="100,000 entities in bench_a, b, c")
    parser.add_argument("--flights", action="store_true", help="the demo store's views instead")
    parser.add_argument("--workers", type=int, default=1, help="of the online server")
    parser.add_argument("--watch", type=int, metavar="PID", help="end when that process has ended")
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if arguments.flights:
        (python, repo), servers = prepare(flights), FLIGHTS_SERVERS
    else:
        (python, repo), servers = prepare(rides, BENCH_ENTITIES[arguments.bench]), ALL_SERVERS
    if arguments.prepare:
        return
    with (
        contextlib.suppress(KeyboardInterrupt),
        running(python, repo, arguments.workers, servers) as (folder, ports, launcher),
    ):
        sys.stdout.write(json.dumps(addresses(folder, ports, python)) + "\n")
        sys.stdout.flush()
        wait_for_the_end(arguments.watch or os.getppid(), launcher)
        if launcher.poll() is not None:
            sys.exit("\n".join(["feast: a server ended by itself", *logs(folder)]))


if __name__ == "__main__":
    main()
