"""The offline stores: where the rows of a feature group are, and how reading them begins.

A table of the format Iceberg has a log that tells which files count, and which of their rows were
deleted; Glue tells where the newest one is. It is read with pyiceberg, the files by polars.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from featkit.calls import Call, HttpRequest, LocalRead
from featkit.errors import MissingExtraError, SourceError
from featkit.stores.sagemaker.history import Files
from featkit.stores.sagemaker.messages import body_of, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from featkit.auth import aws
    from featkit.calls import HttpReply
    from featkit.schema import FeatureView
    from featkit.stores.sagemaker.history import Reader
    from featkit.stores.sagemaker.messages import Group

T = TypeVar("T")

TABLE = "offline_store_table"
"""The tag with the table of Glue whose log tells which files count: ``DATABASE.TABLE``."""
_FORMAT = "offline_store_format"
_LOG = "metadata_location"
_TARGET = "X-Amz-Target"


class _Table(msgspec.Struct, frozen=True):
    parameters: dict[str, str] = msgspec.field(name="Parameters", default_factory=dict)


class _Told(msgspec.Struct, frozen=True):
    """What Glue says of a table."""

    table: _Table = msgspec.field(name="Table")


@dataclass(frozen=True, slots=True)
class OfflineStores:
    """The offline stores of an account.

    Attributes
    ----------
    reader
        Reads files.
    copies
        A folder with copies, one folder per feature group; None: they are where they belong.
    glue
        Address of Glue.
    signature
        Signs requests to Glue.
    """

    reader: Reader
    copies: str | None
    glue: str
    signature: aws.AwsSignature

    def place(self, group: Group) -> str:
        """Tell where the files are; nothing where they cannot be read."""
        if self.copies is not None:
            return f"{self.copies.rstrip('/')}/{group.feature_group_name}"
        return "" if group.is_iceberg and not group.table else group.place

    def tags(self, group: Group) -> dict[str, str]:
        """Tell what reading needs to know besides."""
        if not group.is_iceberg:
            return {}
        log = {TABLE: group.table} if group.table and self.copies is None else {}
        return {_FORMAT: "Iceberg", **log}

    def reading(self, view: FeatureView, what: str, work: Callable[[Files], T]) -> Call[T]:
        """Have work done on the files of a feature group.

        Parameters
        ----------
        view
            The feature group.
        what
            What is read, for messages.
        work
            What is done; it is done in a thread.

        Raises
        ------
        MissingExtraError
            The offline store is an Iceberg table, and the extra ``iceberg`` is not installed.
        """
        if TABLE not in view.tags:
            own = self.reader.signature
            files = Files(view.source, partial(self.reader.scan, view.source), own)
            told = f"{what} of feature view {view.name!r}"
            return Call(LocalRead(partial(work, files), told, threaded=True))
        if find_spec("pyiceberg") is None:
            raise MissingExtraError("iceberg", f"the Iceberg table behind {view.name!r}")
        database, _, name = view.tags[TABLE].partition(".")
        request = HttpRequest(
            url=f"{self.glue}/",
            method="POST",
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                _TARGET: "AWSGlue.GetTable",
            },
            body=body_of(DatabaseName=database, Name=name),
        )
        decode = partial(self._opened, view, work)
        return Call(request, decode=decode, explain=self.signature.explained)

    def _opened(self, view: FeatureView, work: Callable[[Files], T], reply: HttpReply) -> T:
        log = decoded(_Told, reply).table.parameters.get(_LOG)
        if log is None:
            msg = (
                f"feature view {view.name!r}: the table {view.tags[TABLE]} of Glue has no "
                f"{_LOG}, so it is no Iceberg table"
            )
            raise SourceError(msg)
        return work(Files(view.source, partial(self.reader.table, log), self.reader.signature))


def is_for_glue(request: Any) -> bool:  # noqa: ANN401 - a request of any transport
    """Tell whether a request goes to Glue, which wants its own signature."""
    headers: Mapping[str, str] = getattr(request, "headers", {})
    return headers.get(_TARGET, "").startswith("AWSGlue.")


def is_iceberg(view: FeatureView) -> bool:
    """Tell whether the offline store of a feature group is an Iceberg table."""
    return _FORMAT in view.tags
