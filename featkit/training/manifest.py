"""What a training set was made of, so that it can be made again and compared."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - the same
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from featkit._version import __version__
from featkit.errors import InputError
from featkit.history import HistoryFile  # noqa: TC001 - the same
from featkit.report import json_of, written
from featkit.structs import known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from pathlib import Path
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | memoryview

_ROWS = 2**18  # hashed at a time


def _versions() -> dict[str, str]:
    """Tell the versions that answers depend on."""
    return {
        "Python": platform.python_version(),
        "featkit": __version__,
        "polars": version("polars"),
        "numpy": version("numpy"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewManifest:
    """One feature view as it was.

    Attributes
    ----------
    view, schema_hash
        Name of the view, and what changes with its keys, features and dtypes.
    rule
        What counted as known, in words.
    features
        Names of the features that were joined.
    files
        The files that rows were read from; empty where a store joined by itself.
    """

    view: str
    schema_hash: str
    rule: str
    features: tuple[str, ...]
    files: tuple[HistoryFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that a training set depends on.

    Attributes
    ----------
    target
        The store, as the user calls it.
    made_at
        When the training set was made, in UTC.
    versions
        Of Python, featkit and polars.
    options
        What was asked for besides the features.
    views
        The feature views.
    spine_rows, spine_hash
        Rows of the spine, and what changes with its keys and moments.
    """

    target: str
    made_at: datetime
    options: Mapping[str, Any]
    views: tuple[ViewManifest, ...]
    spine_rows: int
    spine_hash: str
    versions: Mapping[str, str] = field(default_factory=_versions)

    def changes(self, now: Manifest) -> list[str]:
        """Say in words what is different in a later manifest; empty: nothing that counts.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> flights = featkit.demo.flights("polars").head(3)
        >>> seats = ["aircraft:seats"]
        >>> before = store.get_historical_features(flights, seats, at="departs_at")
        >>> after = store.get_historical_features(flights, seats, at="departs_at", strict=True)
        >>> before.manifest.changes(after.manifest)[0]
        'strict was False and is True'
        """
        return list(self._changes(now))

    def _changes(self, now: Manifest) -> Iterator[str]:
        if self.target != now.target:
            yield f"the store was {self.target} and is {now.target}"
        for before, after in ((self.versions, now.versions), (self.options, now.options)):
            for name in {**before, **after}:
                was, new = before.get(name), after.get(name)
                if was != new:
                    yield f"{name} was {was} and is {new}"
        if self.spine_hash != now.spine_hash:
            yield f"the spine has other keys or moments ({self.spine_rows:,} rows then)"
        after = {view.view: view for view in now.views}
        for view in self.views:
            if (new := after.pop(view.view, None)) is None:
                yield f"{view.view}: no longer part of it"
            else:
                yield from _view_changes(view, new)
        yield from (f"{name}: was not part of it" for name in after)

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Return the manifest as JSON, and write it to a file where one is named."""
        return written(json_of(self), path)

    @classmethod
    def from_json(cls, path: str | Path) -> Manifest:
        """Read a manifest that `to_json` wrote, to compare it with one of today.

        Raises
        ------
        InputError
            There is no such file, or it is no manifest.
        """
        from pathlib import Path as File  # noqa: PLC0415 - only annotations need it otherwise

        try:
            return msgspec.json.decode(File(path).read_bytes(), type=known(cls))
        except (OSError, msgspec.DecodeError) as error:
            msg = f"{path} is no manifest of a training set: {error}"
            raise InputError(msg) from error

    def __str__(self) -> str:
        files = sum(len(view.files) for view in self.views)
        views = len(self.views)
        return (
            f"training set from {self.target}, {self.made_at:%Y-%m-%d %H:%M} UTC: "
            f"{self.spine_rows:,} rows (spine {self.spine_hash}), "
            f"{views} feature view{'s' * (views != 1)}, {files} file{'s' * (files != 1)}"
        )


def _view_changes(was: ViewManifest, now: ViewManifest) -> Iterator[str]:
    if was.schema_hash != now.schema_hash:
        yield f"{was.view}: keys, features or dtypes changed"
    if was.features != now.features:
        yield f"{was.view}: {', '.join(was.features)}; now {', '.join(now.features)}"
    if was.rule != now.rule:
        yield f"{was.view}: {was.rule}; now {now.rule}"
    before, after = ({file.path: file for file in each.files} for each in (was, now))
    yield from (f"{was.view}: {path} is gone" for path in before if path not in after)
    yield from (f"{was.view}: {path} is new" for path in after if path not in before)
    for path, old in before.items():
        new = after.get(path, old)
        if (old.size, old.modified) != (new.size, new.modified):
            yield (
                f"{was.view}: {path} was written again at {new.modified:%Y-%m-%d %H:%M:%S} UTC "
                f"({old.rows:,} rows then, {new.rows:,} now)"
            )


def spine_hash(columns: pl.DataFrame) -> str:
    """Make sixteen hex digits that change with the keys and moments of a spine, and their order.

    They are the same however the values lie in memory: in pieces, as a part of others, or with
    whatever is behind a null.

    Examples
    --------
    >>> frame = pl.DataFrame({"shop": [None, 1, 2]})
    >>> spine_hash(frame.tail(2)) == spine_hash(pl.DataFrame({"shop": [1, 2]}))
    True
    """
    digest = hashlib.blake2b(repr(columns.schema).encode(), digest_size=8)
    for piece in columns.iter_slices(_ROWS):
        for column in piece:
            digest.update(np.packbits(column.is_null().to_numpy()).data)
            for buffer in _buffers(column):
                digest.update(buffer)
    return digest.hexdigest()


def _buffers(column: pl.Series) -> Iterator[Buffer]:
    """Give the values of a column, one as another where they are null."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
    elif dtype.is_temporal():
        column = column.to_physical()
    if isinstance(column.dtype, _FIXED):
        yield column.fill_null(0).to_numpy().data
        return
    text = _text(column).fill_null("")
    yield text.str.len_bytes().to_numpy().data
    yield text.str.join().item().encode()


_FIXED = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64),
)


def _text(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Binary:
        return column.bin.encode("hex")
    if column.dtype.is_nested():
        return column.to_frame().select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return column.cast(pl.String)
