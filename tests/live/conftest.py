"""What the tests of real stores share: `feast`, a Feast of our own on this machine."""

import base64
import contextlib
import dataclasses
import datetime as dt
import decimal
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa
import pytest

from tests.live.environments import environment, locked

HERE = Path(__file__).parent
VENDORS = HERE / "vendors"
SERVE = HERE / "feast" / "serve.py"

pytest.register_assert_rewrite("tests.live.direct")  # it has tests that others inherit

# These run in environments of their own, and none of it is a test.
collect_ignore = ["feast", "vendors"]

STARTED = {}  # by fixture: keeps the handles of processes that outlive this one


def moment(text):
    return None if text is None else dt.datetime.fromisoformat(text)


def zoned(said):
    time = moment(said["$datetime"])
    return time.astimezone(ZoneInfo(said["zone"])) if said["zone"] else time


REVIVE = {
    "$float": lambda said: float(said["$float"]),
    "$bytes": lambda said: base64.b64decode(said["$bytes"]),
    "$datetime": zoned,
    "$decimal": lambda said: decimal.Decimal(said["$decimal"]),
    "$uuid": lambda said: uuid.UUID(said["$uuid"]),
    "$set": lambda said: set(said["$set"]),
    "$map": lambda said: dict(said["$map"]),
}


def revive(said):
    """Turn what stands for a Python value in the oracle's JSON back into that value."""
    (make,) = [REVIVE[name] for name in said if name in REVIVE] or [dict]
    return make(said)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of an online answer; event times are None where Feast knows none."""

    values: list
    statuses: list
    event_timestamps: list


@dataclasses.dataclass(frozen=True)
class Feast:
    """Where the servers are, and what Feast's own SDK says of the same store."""

    server_url: str
    registry_url: str
    offline_url: str
    offline_duckdb_url: str
    grpc_address: str
    oracle_url: str
    folder: Path
    python: Path
    project: str = "rides"
    now: dt.datetime = dt.datetime(2026, 11, 22, 22, tzinfo=dt.UTC)

    def oracle(self, request):
        """Return the SDK's online answer as columns by name; `feast/oracle.py` says the request."""
        reply = self._ask("online", json.dumps(request).encode())
        answer = json.loads(reply.text, object_hook=revive)
        return {
            name: Column(
                column["values"],
                column["statuses"],
                [moment(each) for each in column["event_timestamps"]],
            )
            for name, column in answer.items()
        }

    def oracle_history(self, spine, features, **options):
        """Return the SDK's point-in-time join to the rows of an Arrow table, as an Arrow table."""
        request = json.dumps({"features": features, **options})
        table = spine.replace_schema_metadata({"request": request})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        reply = self._ask("historical", sink.getvalue().to_pybytes())
        return pa.ipc.open_stream(reply.content).read_all()

    def log(self, server):
        """Return what a server has written: online, registry, offline, grpc, oracle, ..."""
        return (self.folder / "logs" / f"{server}.log").read_text()

    def _ask(self, path, content):
        reply = httpx.post(
            f"{self.oracle_url}/{path}", content=content, timeout=60, trust_env=False
        )
        if reply.is_error:
            raise RuntimeError(f"Feast's SDK failed.\n{reply.text}")
        return reply


def start(name, owner, *options):
    """Start the servers, which end with the process `owner`, and return where they are."""
    command = [sys.executable, SERVE, "--watch", str(owner), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    STARTED[name] = process
    with process.stdout:
        line = process.stdout.readline()
    if not line:
        raise RuntimeError("Feast did not start; what it said stands below.")
    return line


@contextlib.contextmanager
def served(tmp_path_factory, name, *options):
    """Run servers for the whole session, once also where several workers share it."""
    shared, owner = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared, owner = shared.parent, os.getppid()
    found = shared / f"{name}.json"
    with locked(shared / f"{name}.lock"):
        if not found.exists():
            found.write_bytes(start(name, owner, *options))
    where = json.loads(found.read_bytes())
    yield {**where, **{key: Path(where[key]) for key in ("folder", "python")}}
    if owner == os.getpid():
        process = STARTED.pop(name)
        process.terminate()
        process.wait()
    elif process := STARTED.pop(name, None):
        # other workers may still use it, and it ends with their owner: nobody here waits for it,
        # which Popen is to know, or it warns of it
        process.returncode = 0


@pytest.fixture(scope="session")
def feast(tmp_path_factory):
    """Run Feast's servers over the repository of all value types."""
    with served(tmp_path_factory, "feast") as where:
        yield Feast(**where)


@pytest.fixture(scope="session")
def feast_flights(tmp_path_factory):
    """Run Feast's servers over the views of the demo store; yield where they are, by name."""
    with served(tmp_path_factory, "feast_flights", "--flights") as where:
        yield where


@pytest.fixture(scope="session")
def vendor():
    """Ask a vendor's own client: a script of `vendors`, with a request that JSON can say."""
    made = {}

    def python_of(clients):
        """Return the Python of an environment, which is made when it is first asked for."""
        if clients not in made:
            cache = (
                HERE.parents[1] / ".cache" / ("vendors" if clients == "requirements" else clients)
            )
            cache.mkdir(parents=True, exist_ok=True)
            with locked(cache / "lock"):
                made[clients] = environment(cache, VENDORS / f"{clients}.lock", lambda _: None)
        return made[clients]

    def ask(script, request, *, clients="requirements"):
        done = subprocess.run(
            [python_of(clients), VENDORS / script],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(VENDORS), "NO_PROXY": "*"},
        )
        if done.returncode:
            raise RuntimeError(f"{script} failed.\n{done.stderr}")
        return json.loads(done.stdout)

    return ask
