"""SageMaker Feature Store: online records, and what its control plane says of feature groups.

Facts about the service (from its models and documentation) that shape this package:

- A call asks for at most 100 records; the client must see to that.
- All values are text, and typed by the feature definitions; a null feature is absent.
- The event time is a feature like others, and must be asked for to be known.
- An answer with status 200 may hold errors, and leave entities unprocessed.
- A feature group has one record identifier: composite keys are written into one text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import polars as pl

from featkit.auth import aws
from featkit.auth.tokens import Either, secret_of
from featkit.calls import Call, HttpRequest
from featkit.capabilities import Capabilities
from featkit.errors import (
    AuthError,
    FeatkitError,
    NotSupportedError,
    SettingsError,
    UnknownNameError,
    nearest,
)
from featkit.flows import all_of, at_once, parted
from featkit.online.gathering import Gathering
from featkit.stores.base import Store
from featkit.stores.sagemaker import listing, together
from featkit.stores.sagemaker.answers import GROUP, Question
from featkit.stores.sagemaker.description import view_of
from featkit.stores.sagemaker.gaps import NO_TABLE, gaps
from featkit.stores.sagemaker.history import Reader, history
from featkit.stores.sagemaker.messages import (
    Group,
    Groups,
    Search,
    ValueType,
    body_of,
    decoded,
)
from featkit.stores.sagemaker.offline import OfflineStores, is_for_glue, is_iceberg
from featkit.stores.sagemaker.options import Told, check
from featkit.told import ToldViews

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.history import HistoryRead, HistoryRows
    from featkit.populations import Arrivals, EntityList, PopulationRead
    from featkit.schema import FeatureView
    from featkit.stores.base import Described as ViewsOrNot
    from featkit.stores.base import OnlineRead, Target
    from featkit.stores.sagemaker.description import Said
    from featkit.stores.sagemaker.messages import Described

T = TypeVar("T")

_PAGE = 100  # results of the control plane
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


class SageMakerStore(Store):
    """The feature groups of an account in a region."""

    scheme = "sagemaker"
    capabilities = Capabilities(
        batch_size=together.RECORDS,
        serves_future=True,
        history="rows",
        lacking=gaps(scans=False),
    )

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Options of `featkit.connect` for SageMaker.

        Attributes
        ----------
        profile
            A profile of the files in ``~/.aws``.
        access_key_id, secret_access_key, session_token
            Credentials; without them they are looked for where all of Amazon's tools look.
        feature_groups
            Names of the feature groups to read; in text, separated by commas. Without it, all.
        endpoint_url, control_url
            Addresses of the online store and of the control plane, where they are not the usual.
        offline_path
            A folder with a copy of the offline stores, one folder per feature group; without it,
            they are read from S3.
        scan_source
            Whether the offline store is read for who the entities are and when records came, for
            `staleness`, `browse` and `parity` without entities. A copy on disk always is.
        s3_url, glue_url
            Addresses of S3 and of Glue, which tells where Iceberg tables are.
        views
            What SageMaker does not tell, by the name of the group: `join_keys` (names and dtypes
            of the parts of a composite key, in order), `separator` (what stands between them),
            `static`, `owner`, `tags`, and `features` (`dtype` and `description` by name).
        ca
            File of certificates to trust.
        """

        profile: str | None = None
        access_key_id: str | None = None
        secret_access_key: Any = None
        session_token: Any = None
        feature_groups: tuple[str, ...] | str = ()
        endpoint_url: str | None = None
        control_url: str | None = None
        offline_path: str | None = None
        scan_source: bool = False
        s3_url: str | None = None
        glue_url: str | None = None
        views: dict[str, Told] = {}
        ca: str | None = None

    def __init__(self, region: str, options: Options) -> None:
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        runtime = f"https://featurestore-runtime.sagemaker.{region}.{domain}"
        self._runtime = (options.endpoint_url or runtime).rstrip("/")
        self._control = (options.control_url or f"https://api.sagemaker.{region}.{domain}").rstrip(
            "/"
        )
        self._region = region
        listed = options.feature_groups
        names = listed.split(",") if isinstance(listed, str) else listed
        self._names = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        self._scans = options.scan_source or "://" not in (options.offline_path or "s3://")
        self.capabilities = replace(self.capabilities, lacking=gaps(scans=self._scans))
        self.told: ToldViews[Told] = ToldViews(self.scheme, options.views, Told())
        check(options.views)
        self.ca = options.ca
        signature = aws.AwsSignature(
            "sagemaker",
            region,
            profile=options.profile,
            key_id=options.access_key_id,
            secret=secret_of(options.secret_access_key, "secret_access_key"),
            token=secret_of(options.session_token, "session_token"),
        )
        self._signature, glue_signature = signature, signature.of("glue")
        glue = (options.glue_url or f"https://glue.{region}.{domain}").rstrip("/")
        self.auth = Either(is_for_glue, glue_signature, signature)
        reader = Reader(region, options.s3_url, signature)
        self._offline = OfflineStores(reader, options.offline_path, glue, glue_signature)

    @classmethod
    def open(cls, target: Target, options: Options, *, timezone: str | None) -> SageMakerStore:  # noqa: ARG003 - times without a zone are unknown
        """Open ``sagemaker:REGION``."""
        if not _REGION.fullmatch(target.rest):
            msg = f"{target} names no region of AWS; write 'sagemaker:eu-west-1'"
            raise SettingsError(msg)
        return cls(target.rest, options)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``region``."""
        return f"sagemaker:{table.pop('region')}" if "region" in table else None

    # -- what there is

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the feature groups, with what people say of their features."""
        return (yield from all_of(self.describe()))

    def describe(self, names: Sequence[str] | None = None) -> Flow[ViewsOrNot]:
        """Describe feature groups; of all, one that cannot be described leaves the others."""
        if names is not None:
            return (yield from super().describe(names))
        listed = self._names or (yield from self._list())
        said = yield from self._said_of()
        told = yield from at_once([self._of_group(name, said) for name in listed])
        views, failed = parted(listed, told)
        if not failed:
            self._compare(listed)
        return views, failed

    def _of_group(self, name: str, said: Said) -> Flow[FeatureView]:
        (group,) = yield from self._groups([name])
        return self._view(group, said)

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these feature groups, without the words of people, which lookups do not need."""
        groups = yield from self._groups(names)
        return [self._view(group, {}) for group in groups]

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one feature group."""
        (group,) = yield from self._groups([name])
        said = yield from self._said_of(name)
        return self._view(group, said)

    def _list(self) -> Flow[tuple[str, ...]]:
        names: list[str] = []
        token = None
        while True:
            page: Groups = yield self._controlled(
                "ListFeatureGroups", Groups, MaxResults=_PAGE, NextToken=token
            )
            names += [own.feature_group_name for own in page.feature_group_summaries]
            if (token := page.next_token) is None:
                self.told.compare(names, f"in {self._region}")
                return tuple(sorted(names))

    def _groups(self, names: Sequence[str]) -> Flow[list[Group]]:
        """Describe feature groups, all at once; features beyond the first page come after."""
        found = yield [
            self._controlled("DescribeFeatureGroup", Group, FeatureGroupName=name) for name in names
        ]
        groups: list[Group] = []
        for name, group in zip(names, found, strict=True):
            if isinstance(group, UnknownNameError):
                raise (yield from self._unknown(name, group))
            if isinstance(group, FeatkitError):
                raise group
            groups.append((yield from self._whole(group)))
        return groups

    def _whole(self, group: Group) -> Flow[Group]:
        definitions, token = group.feature_definitions, group.next_token
        while token is not None:
            page: Group = yield self._controlled(
                "DescribeFeatureGroup",
                Group,
                FeatureGroupName=group.feature_group_name,
                NextToken=token,
            )
            definitions, token = definitions + page.feature_definitions, page.next_token
        return msgspec.structs.replace(group, feature_definitions=definitions, next_token=None)

    def _unknown(self, name: str, error: UnknownNameError) -> Flow[UnknownNameError]:
        """Name the feature groups that there are, where they may be listed."""
        try:
            known = yield from self._list()
        except FeatkitError:  # who may not list them reads those of the settings
            known = tuple(own for own in self._names if own != name)
            if not known:
                return error
        msg = f"there is no feature group {name!r} in {self._region}; {nearest(name, known)}"
        better = UnknownNameError(msg)
        better.__cause__ = error
        return better

    def _said_of(self, group: str | None = None) -> Flow[dict[tuple[str, str], Described]]:
        """Find what people say of features; who may not search reads none of it."""
        said: dict[tuple[str, str], Described] = {}
        token = None
        only = {"Name": "FeatureGroupName", "Operator": "Equals", "Value": group}
        while True:
            try:
                page: Search = yield self._controlled(
                    "Search",
                    Search,
                    Resource="FeatureMetadata",
                    SearchExpression=None if group is None else {"Filters": [only]},
                    MaxResults=_PAGE,
                    NextToken=token,
                )
            except AuthError:  # the health check tells; values can be read all the same
                return {}
            for own in page.results:
                if (one := own.feature_metadata) is not None:
                    said[one.feature_group_name, one.feature_name] = one
            if (token := page.next_token) is None:
                return said

    def _view(self, group: Group, said: Said) -> FeatureView:
        told = self.told.of(group.feature_group_name)
        view = view_of(group, told, said, self._offline)
        name = group.feature_group_name
        self.told.check(name, "features", told.features, view.feature_names)
        return view

    # -- what it holds

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for the records."""
        question = self._question(read)
        ids = question.ids()
        (asked,) = question.asked(ids, [read.keys.height])
        return self._asked(read, asked, partial(question.answer, ids))

    def read_together(self, reads: Sequence[OnlineRead]) -> list[Call[Any]]:
        """Ask several questions, of several feature groups in one call where they are few.

        What comes back is decoded some answers at a time.
        """
        calls: list[Call[Any]] = []
        for _, same in groupby(reads, key=lambda read: (id(read.view), read.features)):
            own = list(same)
            if len(own) == 1:
                calls += map(self.read_online, own)
                continue
            whole = replace(own[0], keys=pl.concat([read.keys for read in own]))
            question = self._question(whole)
            ids, heights = question.ids(), [read.keys.height for read in own]
            every = question.asked(ids, heights)
            gathering = Gathering(question.gathered)
            starts = accumulate(heights, initial=0)
            for read, asked, start in zip(own, every, starts, strict=False):
                part = ids.slice(start, read.keys.height)
                later = partial(question.later, gathering, read, part)
                calls.append(self._asked(read, asked, later))
        return together.loaded(calls)

    def perform(
        self,
        reads: Sequence[OnlineRead],  # noqa: ARG002 - the calls tell it
        calls: Sequence[Call[Any]],
    ) -> Flow[list[Any]]:
        """Make the calls, those of one load as one."""
        return (yield from together.perform(calls))

    def why_not_offline(self, view: FeatureView) -> str:
        """Say that it is an Iceberg table, or that there is none."""
        return str(NO_TABLE) if is_iceberg(view) else super().why_not_offline(view)

    def name_entities(self, read: PopulationRead) -> Flow[EntityList]:
        """Read who the entities are from the offline store, where it may be read."""
        if not self._scans:
            return (yield from super().name_entities(read))
        if not read.view.offline:
            msg = f"feature view {read.view.name!r} has no offline store that can be read: "
            raise NotSupportedError(msg + self.why_not_offline(read.view))
        work = partial(listing.entities, read, self._separator(read.view))
        found: EntityList = yield self._offline.reading(read.view, "keys", work)
        return found

    def read_arrivals(self, view: FeatureView, now: datetime) -> Call[Arrivals] | None:
        """Read when records came from the offline store, where it may be read."""
        if not (self._scans and view.offline):
            return None
        work = partial(listing.arrivals, view, now, self._separator(view))
        return self._offline.reading(view, "times", work)

    def _separator(self, view: FeatureView) -> str | None:
        return self.told.of(view.tags[GROUP]).separator

    def read_history(self, read: HistoryRead) -> Call[HistoryRows]:
        """Describe all rows of the offline store."""
        work = partial(history, read, self._separator(read.view))
        return self._offline.reading(read.view, "files", work)

    def _question(self, read: OnlineRead) -> Question:
        types = {own.name: ValueType.named(own.store_type, own.dtype) for own in read.features}
        return Question(read, types, self._separator(read.view))

    def _asked(self, read: OnlineRead, asked: bytes, decode: Callable[[Any], T]) -> Call[T]:
        request = together.RecordsRequest(
            url=f"{self._runtime}/BatchGetRecord",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=together.body_of([asked]),
            group=read.view.tags[GROUP],
            asked=asked,
        )
        return Call(
            request, decode=decode, keys=read.keys.height, explain=self._signature.explained
        )

    def checks(self) -> dict[str, Flow[str]]:
        """Ask the control plane, the online store, and for the words of people."""
        return {
            "control plane": self._count_groups(),
            "online store": self._answers(),
            "feature descriptions": self._searches(),
        }

    def _count_groups(self) -> Flow[str]:
        if not self._names:
            return f"{len((yield from self._list()))} feature groups"
        yield from self._groups(self._names)
        self._compare(self._names)
        return f"{len(self._names)} feature groups of the settings"

    def _answers(self) -> Flow[str]:
        names = self._names or (yield from self._list())
        for group in (yield from self._groups(names[:_PAGE])):
            if group.online_store_config.enable_online_store:
                url = f"{self._runtime}/FeatureGroup/{quote(group.feature_group_name, safe='')}"
                nobody = "RecordIdentifierValueAsString=0"
                yield Call(HttpRequest(url=f"{url}?{nobody}"), explain=self._signature.explained)
                return f"answers for {group.feature_group_name}"
        return "no feature group is online"

    def _searches(self) -> Flow[str]:
        yield self._controlled("Search", Search, Resource="FeatureMetadata", MaxResults=1)
        return "can be read"

    def _controlled(self, operation: str, kind: type[T], **fields: Any) -> Call[T]:  # noqa: ANN401 - what JSON can say
        request = HttpRequest(
            url=f"{self._control}/",
            method="POST",
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"SageMaker.{operation}",
            },
            body=body_of(**fields),
            metadata=True,  # all that is asked of the control plane: it describes
        )
        return Call(request, decode=partial(decoded, kind), explain=self._signature.explained)

    def _compare(self, names: Sequence[str]) -> None:
        where = "among feature_groups" if self._names else f"in {self._region}"
        self.told.compare(names, where, whole=not self._names)

    def __repr__(self) -> str:
        return f"<SageMakerStore {self._region}>"
