"""Start Feast's servers over one repository, from one process that imports Feast once.

    python servers.py FOLDER --workers 1 online registry

Runs in Feast's environment. Each server is a fork that calls Feast's own command line, so that
it behaves as started by hand, without paying for the imports again. The ports, all on loopback,
are printed as one line of JSON; what the servers say goes into FOLDER/logs.

They live as long as standard input stays open. When it ends, or when one of them ends by itself,
all of them are stopped.
"""

import argparse
import contextlib
import ctypes
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
from pathlib import Path

import oracle
from feast.cli.cli import cli

HOST = "127.0.0.1"
PATIENCE = 5.0
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

# After --max-requests requests a worker would end, and break connections. Reading the registry
# again now and then would be of no use, and it is not written in one piece.
COMMANDS = {
    "online": "serve --host {host} --port {port} --workers {workers} --max-requests 0 "
    "--registry_ttl_sec 3600 --no-access-log",
    "registry": "serve_registry --no-grpc --rest-api --host {host} --rest-port {port}",
    "offline": "serve_offline --host {host} --port {port}",
    "offline_duckdb": "--feature-store-yaml feature_store_duckdb.yaml "
    "serve_offline --host {host} --port {port}",
    "grpc": "listen --address {host}:{port} --registry_ttl_sec 3600",
}


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def serve(name, port, workers, parent):
    """Become one of the servers; this is the life of a fork."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(Path("logs", f"{name}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if name == "oracle":
        oracle.serve(".", HOST, port)
    else:
        command = COMMANDS[name].format(host=HOST, port=port, workers=workers)
        cli(command.split(), prog_name="feast")


def stop(processes):
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
    for process in processes:
        process.kill()
        process.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("servers", nargs="+", choices=[*COMMANDS, "oracle"])
    arguments = parser.parse_args()

    os.chdir(arguments.folder)
    Path("logs").mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ports = dict(zip(arguments.servers, free_ports(len(arguments.servers)), strict=True))
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=serve, args=(name, port, arguments.workers, os.getpid()), name=name)
        for name, port in ports.items()
    ]
    try:
        for process in processes:
            process.start()
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        sentinels = [process.sentinel for process in processes]
        multiprocessing.connection.wait([sys.stdin.fileno(), *sentinels])
    finally:
        ended = [process.name for process in processes if process.exitcode is not None]
        stop(processes)
    if ended:
        sys.exit(f"ended by themselves: {', '.join(ended)}")


if __name__ == "__main__":
    main()
