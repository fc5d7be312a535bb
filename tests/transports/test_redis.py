"""The transport for Redis, over real servers of each kind, and through a proxy that breaks them."""

import asyncio
import os
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import hiredis
import pyarrow as pa
import pytest
import redis
import trustme

from featkit.calls import Call
from featkit.codecs.redis_requests import RedisRead, RedisSample, RedisServer
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    ClosedError,
    DeadlineExceeded,
    ProtocolError,
    RequestRejected,
    SlowAnswer,
    StoreUnavailable,
)
from featkit.settings import Secret
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, adrive, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.faults.wire import WireProxy
from tests.programs.alone import alone
from tests.programs.running import free_port, program, redis_server

pytestmark = pytest.mark.slow
COUNT = 3000
FIELDS = (b"first", b"second", b"third")
SOON = timedelta(seconds=10)
HANG = 20.0  # seconds after which something did not end that should have


def value(field, number):
    return None if number % 7 == field else b"%d:" % field + b"v" * (number % 50)


def fill(client, numbers=range(COUNT)):
    for start in range(0, len(numbers), 1000):
        pipeline = client.pipeline(transaction=False)
        for number in numbers[start : start + 1000]:
            row = {FIELDS[place]: value(place, number) for place in range(2)}
            known = {name: held for name, held in row.items() if held is not None}
            pipeline.hset(b"key%d" % number, mapping=known)
        pipeline.execute()


def read(server, numbers=range(COUNT), fields=FIELDS):
    keys = pa.array([b"key%d" % number for number in numbers], pa.large_binary())
    request = RedisRead(server=server, keys=keys, fields=fields)
    return Call(request, decode=lambda reply: [each.to_arrow().to_pylist() for each in reply])


def right(numbers=range(COUNT)):
    return [
        [value(place, number) if place < 2 and number < COUNT else None for number in numbers]
        for place in range(3)
    ]


@contextmanager
def transports(**options):
    made = Transports(TransportOptions(**options))
    try:
        yield made
    finally:
        made.close()


def ask(call, timeout=SOON, **options):
    def flow():
        return (yield call)

    with transports(**options) as made:
        return drive(flow(), made, Deadline(timeout), Silent())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        fill(redis.Redis.from_url(url))
        yield url.split("/")[2]


@pytest.fixture(scope="module")
def server(place):
    return RedisServer(hosts=(place,))


@pytest.fixture
def proxy(place):
    host, port = place.split(":")
    with WireProxy((host, int(port))) as found:
        yield found


def test_fields_are_read_with_nulls_where_there_is_nothing(server):
    numbers = range(COUNT + 10)
    assert ask(read(server, numbers)) == right(numbers)


def test_asyncio_reads_the_same(server):
    def flow():
        return (yield [read(server) for _ in range(20)])

    async def main():
        with transports() as made:
            return await adrive(flow(), made, Deadline(SOON), Silent())

    assert asyncio.run(main()) == [right()] * 20


def test_keys_are_sampled(server):
    found = ask(Call(RedisSample(server=server, count=20)))
    assert len(found) == 20
    assert {key[:3] for key in found} == {b"key"}
    empty = RedisServer(hosts=server.hosts, database=9)
    assert ask(Call(RedisSample(server=empty, count=5))) == []


def test_a_key_that_is_no_hash_is_said_so(server, place):
    client = redis.Redis.from_url(f"redis://{place}")
    client.set("key99999", "x")
    with pytest.raises(ProtocolError, match=r"HMGET of 2 keys at redis://.*else than a hash"):
        ask(read(server, [1, 99999]))
    client.delete("key99999")


# -- who logs in ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("guarded"), "--requirepass", "open sesame") as url:
        client = redis.Redis.from_url(url, password="open sesame")
        fill(client)
        client.acl_setuser(
            "reader", enabled=True, passwords=["+let me in"], keys=["*"], commands=["+hmget"]
        )
        client.acl_setuser(
            "other", enabled=True, passwords=["+let me in"], keys=["*"], commands=["+ping"]
        )
        yield url.split("/")[2]


def test_a_password_a_user_and_a_callable_log_in(guarded):
    for how in (
        {"password": Secret("open sesame")},
        {"username": "reader", "password": Secret("let me in")},
        {"username": "reader", "password": lambda: "let me in"},
    ):
        assert ask(read(RedisServer(hosts=(guarded,), **how))) == right()


@pytest.mark.parametrize(
    "how",
    [{}, {"password": Secret("wrong one")}, {"username": "nobody", "password": Secret("x" * 9)}],
)
def test_a_login_that_is_refused_is_said_so_at_once_and_without_the_password(guarded, how):
    started = time.monotonic()
    with pytest.raises(AuthError, match=r"username= and password=") as caught:
        ask(read(RedisServer(hosts=(guarded,), **how)))
    assert time.monotonic() - started < HANG
    assert "1 attempt," in str(caught.value)
    assert "wrong one" not in str(caught.value)


def test_a_user_who_may_not_read_is_told_what_is_needed(guarded):
    server = RedisServer(hosts=(guarded,), username="other", password=Secret("let me in"))
    with pytest.raises(AuthError, match=r"\+hmget"):
        ask(read(server))


def test_a_callable_that_fails_is_named(guarded):
    def ask_vault():
        raise OSError("no vault at secret.example")

    with pytest.raises(AuthError, match="raised OSError") as caught:
        ask(read(RedisServer(hosts=(guarded,), password=ask_vault)))
    assert "secret.example" not in str(caught.value)


def test_tls_is_spoken_and_checked(tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    names = {}
    for name, made in {"ca": authority, "stranger": stranger}.items():
        names[name] = tmp_path / f"{name}.pem"
        made.cert_pem.write_to_path(names[name])
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    options = [
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *(
            "--tls-cert-file",
            str(tmp_path / "cert.pem"),
            "--tls-key-file",
            str(tmp_path / "key.pem"),
        ),
        *("--tls-ca-cert-file", str(names["ca"])),
    ]
    with redis_server(tmp_path, *options) as url:
        fill(redis.Redis.from_url(url))
        server = RedisServer(hosts=(f"localhost:{port}",), tls=True)
        assert ask(read(server), ca=str(names["ca"])) == right()
        with pytest.raises(StoreUnavailable, match=r"ca='ca.pem'") as caught:
            ask(read(server), ca=str(names["stranger"]))
        assert "1 attempt," in str(caught.value)
        with pytest.raises(StoreUnavailable, match="no secure connection"):
            ask(read(RedisServer(hosts=(f"127.0.0.1:{port}",), tls=True)), ca=str(names["ca"]))


# -- several servers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ExitStack() as stack:
        ports, bus = [], [free_port() for _ in range(3)]
        for own in bus:
            folder = tmp_path_factory.mktemp("node")
            options = ["--cluster-enabled", "yes", "--cluster-port", str(own)]
            url = stack.enter_context(redis_server(folder, *options))
            ports.append(int(url.split(":")[2].split("/")[0]))
        nodes = [redis.Redis(port=port) for port in ports]
        for number, node in enumerate(nodes):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER MEET", "127.0.0.1", ports[0], bus[0])
        ends = time.monotonic() + 20
        while any(node.cluster("info")["cluster_state"] != "ok" for node in nodes) or any(
            len(node.cluster("nodes")) < 3 for node in nodes
        ):
            assert time.monotonic() < ends
            time.sleep(0.05)
        fill(redis.RedisCluster(host="127.0.0.1", port=ports[0]))
        yield tuple(f"127.0.0.1:{port}" for port in ports)


def test_a_cluster_is_read_at_all_its_nodes(cluster):
    server = RedisServer(hosts=cluster[:1], cluster=True)
    assert ask(read(server)) == right()
    assert ask(read(server, [5])) == right([5])
    assert len(ask(Call(RedisSample(server=server, count=5)))) == 5


def test_a_node_of_a_cluster_alone_says_what_it_is(cluster):
    with pytest.raises(RequestRejected, match="cluster=True"):
        ask(read(RedisServer(hosts=cluster[:1])))


def test_slots_that_move_are_found_again(cluster):
    with transports() as made:

        def flow():
            return (yield read(RedisServer(hosts=cluster, cluster=True), [5]))

        assert drive(flow(), made, Deadline(SOON), Silent()) == right([5])
        client = redis.RedisCluster.from_url(f"redis://{cluster[0]}")
        slot = client.keyslot("key5")
        old = client.nodes_manager.get_node_from_slot(slot)
        new = next(node for node in client.get_nodes() if node.name != old.name)
        row = client.hgetall("key5")
        client.delete("key5")
        target = redis.Redis(host=new.host, port=new.port)
        name = target.execute_command("CLUSTER MYID")
        for node in client.get_nodes():
            redis.Redis(host=node.host, port=node.port).execute_command(
                "CLUSTER SETSLOT", slot, "NODE", name
            )
        target.hset("key5", mapping=row)
        assert drive(flow(), made, Deadline(SOON), Silent()) == right([5])


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_sentinels_say_who_the_master_is(place, tmp_path):
    host, port = place.split(":")
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"sentinel monitor main {host} {port} 1\n")
    sentinel = free_port()
    command = [
        program("redis-server"),
        str(configuration),
        "--sentinel",
        "--port",
        str(sentinel),
        "--bind",
        "127.0.0.1",
    ]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            ends = time.monotonic() + 20
            while not answers(sentinel):
                assert time.monotonic() < ends
                time.sleep(0.05)
            server = RedisServer(hosts=(f"127.0.0.1:{sentinel}",), master="main")
            assert ask(read(server)) == right()
            with pytest.raises(StoreUnavailable, match="no connection"):
                ask(read(RedisServer(hosts=server.hosts, master="other")), retry=IMPATIENT)
        finally:
            process.kill()


# -- what breaks ---------------------------------------------------------------------------------

IMPATIENT = Retry(attempts=4, base=timedelta(milliseconds=1), reconnect=timedelta(milliseconds=100))


@pytest.mark.parametrize("after", [0, 1, 100, 5000, 60_000])
@pytest.mark.parametrize("what", ["reset", "close"])
def test_a_connection_that_breaks_is_made_again(proxy, what, after):
    proxy.faults.extend([(what, after), (what, after + 7)])
    assert ask(read(RedisServer(hosts=(proxy.address,)))) == right()
    assert proxy.connections == 3


def test_an_answer_that_stops_is_given_up_and_asked_again(proxy):
    proxy.faults.append(("stall", 2000))
    limits = Limits(answer=timedelta(milliseconds=300))
    assert ask(read(RedisServer(hosts=(proxy.address,))), limits=limits) == right()
    assert proxy.connections == 2


def test_no_answer_ends_at_the_deadline(proxy):
    proxy.faults.extend([("stall", 2000)] * 50)
    started = time.monotonic()
    with pytest.raises((DeadlineExceeded, SlowAnswer)):
        ask(read(RedisServer(hosts=(proxy.address,))), timeout=timedelta(seconds=0.6))
    assert time.monotonic() - started < HANG


def test_what_is_no_redis_protocol_is_named_and_the_connection_dropped(proxy):
    proxy.faults.extend([("garble", 5000)] * 2)
    with pytest.raises(ProtocolError, match="Redis"):
        ask(read(RedisServer(hosts=(proxy.address,))), limits=Limits(answer=timedelta(seconds=2)))


@contextmanager
def loading(times):
    """Play a replica that has just started: it refuses so many reads, then answers."""
    left = [b"-LOADING Redis is loading the dataset in memory\r\n"] * times

    def serve(client):
        reader = hiredis.Reader()
        with client:
            while data := client.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    refused = command[0] == b"HMGET" and left
                    row = b"*1\r\n$1\r\nx\r\n" if command[0] == b"HMGET" else b"+OK\r\n"
                    client.sendall(left.pop() if refused else row)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield RedisServer(hosts=(f"127.0.0.1:{listener.getsockname()[1]}",))
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_that_loads_its_data_is_waited_for():
    with loading(2) as server:
        assert ask(read(server, [1], (b"a",))) == [[b"x"]]


def test_a_server_that_goes_on_loading_is_named():
    with loading(99) as server, pytest.raises(StoreUnavailable, match="still loading its data"):
        ask(read(server, [1], (b"a",)), retry=IMPATIENT)


def test_a_server_that_is_down_is_named():
    server = RedisServer(hosts=(f"127.0.0.1:{free_port()}",))
    with pytest.raises(
        StoreUnavailable, match=r"HMGET of 1 keys at redis://.*is the server running"
    ) as caught:
        ask(read(server, [1]))
    assert not caught.value.sent


def test_a_host_that_is_unknown_is_not_tried_again(monkeypatch):
    def nobody(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(StoreUnavailable, match="host is unknown") as caught:
        ask(read(RedisServer(hosts=("nowhere.invalid:6379",)), [1]))
    assert "1 attempt," in str(caught.value)


def test_a_database_that_there_is_not_is_named(place):
    with pytest.raises(RequestRejected, match="DB index"):
        ask(read(RedisServer(hosts=(place,), database=99), [1]))


def test_an_answer_that_is_too_large_asks_for_a_smaller_batch(server):
    with pytest.raises(BatchTooLarge, match="larger than 10,000 bytes"):
        ask(read(server), limits=Limits(reply=10_000))


def test_a_connection_is_used_again_and_none_is_left_open(place, server):
    client = redis.Redis.from_url(f"redis://{place}")

    def connected():
        return int(client.info("clients")["connected_clients"])

    before = connected()

    def flow():
        return (yield read(server, [1]))

    with transports() as made:
        for _ in range(20):
            drive(flow(), made, Deadline(SOON), Silent())
        assert connected() == before + 1
    ends = time.monotonic() + 5
    while connected() > before:
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_client_that_is_closed_ends_what_runs(proxy):
    proxy.faults.append(("stall", 2000))
    made = Transports(TransportOptions())
    timer = threading.Timer(0.2, made.close)
    timer.start()

    def flow():
        return (yield read(RedisServer(hosts=(proxy.address,))))

    started = time.monotonic()
    with pytest.raises(ClosedError):
        drive(flow(), made, Deadline(SOON), Silent())
    assert time.monotonic() - started < HANG
    timer.join()


def _forks(place):
    server, wanted = RedisServer(hosts=(place,)), right(range(200))

    def flow():
        return (yield read(server, range(200)))

    with transports() as made:
        assert drive(flow(), made, Deadline(SOON), Silent()) == wanted
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                status = 1
                try:
                    same = [
                        drive(flow(), made, Deadline(SOON), Silent()) == wanted for _ in range(50)
                    ]
                    status = 0 if all(same) else 2
                finally:
                    os._exit(status)
            children.append(child)
        for _ in range(50):
            assert drive(flow(), made, Deadline(SOON), Silent()) == wanted
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_reads_over_connections_of_its_own(place):
    alone(_forks, place)


def test_the_password_is_in_no_repr():
    server = RedisServer(hosts=("h:1",), username="u", password=Secret("open sesame"))
    request = RedisRead(server=server, keys=pa.array([b"k"]), fields=(b"f",))
    assert "sesame" not in f"{server!r}{server}{request!r}{request}"
