"""The embedded store: Parquet files in a folder, described by ``feature_views.toml``; no server."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from featkit import definitions
from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities, Lack
from featkit.definitions import FILE_NAME, Definition
from featkit.errors import (
    DefinitionError,
    FeatkitError,
    SettingsError,
    UnknownNameError,
    nearest,
)
from featkit.flows import all_of, parted
from featkit.stores.base import Described, OnlineRead, Store, Target
from featkit.stores.parquet.history import history
from featkit.stores.parquet.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import polars as pl

    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.history import HistoryRead, HistoryRows
    from featkit.populations import Arrivals, Population, PopulationRead
    from featkit.schema import FeatureService, FeatureView

T = TypeVar("T")


class ParquetStore(Store):
    """Feature views over Parquet files."""

    scheme = "parquet"
    capabilities = Capabilities(
        history="rows",
        local=True,
        lacking={
            "read_syncs": Lack.never("values are read where they are; nothing is synchronised")
        },
    )

    def __init__(self, path: Path, *, timezone: str | None = None) -> None:
        self._path = path
        self._timezone = timezone

    @classmethod
    def open(cls, target: Target, options: Any, *, timezone: str | None) -> ParquetStore:  # noqa: ANN401, ARG003 - it has no options
        """Open the folder of a ``feature_views.toml``, or the file itself."""
        path = Path(target.rest).expanduser().absolute()  # the working directory may change
        path = path / FILE_NAME if path.is_dir() or path.suffix != ".toml" else path
        if not path.is_file():
            msg = (
                f"there is no {path}; write one (the format is in the documentation), or have it "
                f"made: featkit.write_view({str(path.parent)!r}, frame, name=..., join_keys=[...])"
            )
            raise SettingsError(msg)
        return cls(path, timezone=timezone)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``path``."""
        return f"parquet:{table.pop('path')}" if "path" in table else None

    def clock(self) -> Flow[datetime | None]:
        """Tell the moment that the definition file names as now, if it does."""
        definition: Definition = yield self._definition()
        return definition.now

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """Describe all views; each source's schema is read."""
        return (yield from all_of(self.describe()))

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views; no other view's source is touched."""
        return (yield from all_of(self.describe(names)))

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view; no other view's source is touched."""
        (view,) = yield from self.feature_views([name])
        return view

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Describe views, each by its own source; one that cannot be read leaves the others."""
        definition: Definition = yield self._definition()
        wanted = list(definition.views if names is None else names)
        sources = [self._source(definition, name) for name in wanted]
        found: list[FeatureView | FeatkitError] = yield [
            Call(LocalRead(source.view, f"schema of {source}", threaded=True)) for source in sources
        ]
        return parted(wanted, found)

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the services of the definition file."""
        definition: Definition = yield self._definition()
        return [replace(own, tags=dict(own.tags)) for own in definition.services.values()]

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Read the latest rows: by event timestamp, then created, then last in the source."""
        what = f"feature view {read.view.name!r}"
        request = LocalRead(partial(self._latest, read), what, threaded=True)
        return Call(request, keys=read.keys.height)

    def sample_entities(self, view: FeatureView, count: int, now: datetime) -> Flow[pl.DataFrame]:
        """Name entities with a row at that moment, evenly spread in the order of their keys."""
        definition: Definition = yield self._definition()
        source = self._source(definition, view.name)
        read = partial(source.some_entities, view, count, now)
        entities: pl.DataFrame = yield Call(LocalRead(read, f"entities of {source}", threaded=True))
        return entities

    def read_history(self, read: HistoryRead) -> Call[HistoryRows]:
        """Describe all rows of a view; what the footers of the files tell is read, no row is."""
        run = partial(self._history, read)
        return Call(LocalRead(run, f"files of feature view {read.view.name!r}", threaded=True))

    def read_population(self, read: PopulationRead) -> Call[Population]:
        """Read the latest row of each entity that the source has."""
        return self._local(read.view, lambda source: source.population(read))

    def read_arrivals(self, view: FeatureView, now: datetime) -> Call[Arrivals]:
        """Read the event and created timestamps of the source."""
        return self._local(view, lambda source: source.arrivals(view, now))

    def _local(self, view: FeatureView, read: Callable[[Source], T]) -> Call[T]:
        def run() -> T:
            return read(self._source(_load(self._path), view.name))

        return Call(LocalRead(run, f"feature view {view.name!r}", threaded=True))

    def _definition(self) -> Call[Definition]:
        return Call(LocalRead(partial(_load, self._path), str(self._path)))

    def _latest(self, read: OnlineRead) -> FeatureColumns:
        return self._source(_load(self._path), read.view.name).latest(read)

    def _history(self, read: HistoryRead) -> HistoryRows:
        return history(self._source(_load(self._path), read.view.name), read)

    def _source(self, definition: Definition, name: str) -> Source:
        if name not in definition.views:
            near = nearest(name, definition.views)
            msg = f"there is no feature view {name!r} in {self._path}; {near}"
            raise UnknownNameError(msg)
        return Source(definition.views[name], self._timezone or definition.timezone)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path.parent}>"


def _load(path: Path) -> Definition:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise DefinitionError(msg) from error
    return _parsed(text, path)


# Each call reads the file; a text that was there before is not parsed again, which takes ten times
# as long. What it says is the same for the same text, and whatever could be changed is handed out
# as a copy.
_parsed = lru_cache(maxsize=8)(definitions.parse)
