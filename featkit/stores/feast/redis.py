"""Feast's values in Redis: one hash per entity, with the fields of all its views."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from featkit.calls import Call
from featkit.capabilities import Capabilities
from featkit.codecs.redis_requests import RedisRead, RedisSample, RedisServer
from featkit.errors import FeatkitError, MissingExtraError, SettingsError, StoreError
from featkit.settings import Secret
from featkit.stores.feast.direct import OLDER_KEYS, DirectStore, answer
from featkit.stores.feast.entity_keys import encode, field_names, project_of, time_field
from featkit.stores.feast.gaps import DIRECT
from featkit.stores.feast.values import decode_times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.calls import Flow
    from featkit.codecs.binary_columns import BinaryColumn
    from featkit.columns import FeatureColumns
    from featkit.stores.base import OnlineRead, Target
    from featkit.stores.feast import FeastStore

_BATCH = 10_000  # hashes in one pipeline
_SAMPLE = 64  # keys that are looked at to find out why nothing is found


class RedisStore(DirectStore):
    """A Redis, a master behind sentinels, or a cluster that Feast writes to."""

    capabilities = Capabilities(batch_size=_BATCH, serves_future=True, lacking=DIRECT)

    def __init__(self, server: RedisServer, options: FeastStore.Options) -> None:
        super().__init__(options)
        self._redis = server

    @classmethod
    def open(
        cls,
        target: Target,
        options: FeastStore.Options,
        *,
        timezone: str | None,  # noqa: ARG003 - Feast's times have zones
    ) -> RedisStore:
        """Open ``feast+redis://HOST:PORT/DATABASE``, with several hosts separated by commas."""
        if find_spec("redis") is None:
            raise MissingExtraError("redis", f"{target.scheme}:")
        hosts, _, database = target.rest.removeprefix("//").partition("/")
        named = tuple(map(_with_port, hosts.split(",")))
        readable = target.rest.startswith("//") and all(named) and "@" not in hosts
        if not readable or not (database or "0").isdigit():
            msg = (
                f"{target.scheme}: is followed by //HOST:PORT/DATABASE, several hosts separated by "
                "commas; user and password are options: username=, password="
            )
            raise SettingsError(msg)
        server = RedisServer(
            hosts=named,
            database=int(database or 0),
            tls=target.scheme.endswith("rediss"),
            master=options.sentinel or "",
            cluster=options.cluster,
            username=options.username or "",
            password=_password(options.password),
        )
        return cls(server, options)

    def ask(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for the fields of a view in the hashes of its entities."""
        name = self.stored_name(read.view)
        keys = encode(read.keys, read.view.entities, suffix=self._project.encode())
        fields = field_names(name, [feature.name for feature in read.features])
        request = RedisRead(server=self._redis, keys=keys, fields=(time_field(name), *fields))
        return Call(request, decode=partial(_decode, read), keys=read.keys.height)

    def why_nothing(self, reads: Sequence[OnlineRead]) -> Flow[str | None]:  # noqa: ARG002 - Redis keeps all views together
        """Look at some keys: whose they are, and whether they are of this layout."""
        try:
            return (yield from self._foreign())
        except FeatkitError:  # this user may read hashes, and no more
            return None

    def _foreign(self) -> Flow[str | None]:
        keys: list[bytes] = yield Call(RedisSample(server=self._redis, count=_SAMPLE))
        if not keys:
            return f"the database {self._redis.database} of the Redis is empty"
        projects, older = set(), False
        for key in keys:
            try:
                projects.add(project_of(key))
            except ValueError:
                older = older or key.endswith(self._project.encode())
        if self._project in projects:
            return None
        if older:
            return OLDER_KEYS
        if found := sorted(project for project in projects if project):
            return (
                f"of {_SAMPLE} keys that were looked at none is of the project {self._project!r}, "
                f"but some are of {', '.join(map(repr, found))}; check project="
            )
        return None

    def checks(self) -> dict[str, Flow[str]]:
        """Ask the Redis and the registry, and look whose keys the Redis holds."""
        return {"redis": self._holds_ours(), "registry": self._knows_project()}

    def _holds_ours(self) -> Flow[str]:
        if reason := (yield from self._foreign()):
            raise StoreError(reason)
        return f"holds keys of the project {self._project!r}"

    def __repr__(self) -> str:
        return f"<RedisStore {self._redis} project {self._project!r}>"


def _password(given: object) -> Secret | Callable[[], str] | None:
    if given is None or isinstance(given, Secret):
        return given
    if isinstance(given, str):
        return Secret(given)
    if callable(given):
        return given
    msg = "password must be text, a callable that returns it, or {env = ...} in the settings"
    raise SettingsError(msg)


def _with_port(host: str) -> str:
    """Add Redis' usual port to a host that names none; empty: it is no host."""
    name, colon, port = host.rpartition(":")
    if host.endswith("]") or not colon:  # an IPv6 address, or a name alone
        return host and f"{host}:6379"
    return host if name and port.isdigit() else ""


def _decode(read: OnlineRead, reply: Sequence[BinaryColumn]) -> FeatureColumns:
    times, *values = reply
    return answer(read, values, decode_times(times))
