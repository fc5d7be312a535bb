"""``featkit cache``: what is kept on disk or in a Redis, whoever wrote it, and clearing it."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import Command, JsonOption, ViewArgument, until_the_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.cache.containers import Container, Entry

cache = typer.Typer(help="Look at what is kept on disk or in a Redis, and clear it.")

CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache", metavar="TARGET", help="disk, a path, redis://...; else that of the settings."
    ),
]


@cache.command(cls=Command)
def stats(*, target: CacheOption = None, json: JsonOption = None) -> None:
    """Tell what is kept of each feature view."""
    container = _container(target)
    with _troubles():
        views = _views(container)
    if json:
        terminal.write_json({"target": container.name, "views": views}, json)
        return
    table = terminal.table("feature view", *_COLUMNS, numbers=["segments", "rows", "size"])
    for view in views:
        table.add_row(view["view"], *_cells(view))
    total = sum(view["bytes"] for view in views)
    console = terminal.console()
    console.print(f"{container.name.removeprefix('the ')}: {_size(total)}")
    if views:
        console.print("", table)


@cache.command(cls=Command)
def info(view: ViewArgument, *, target: CacheOption = None, json: JsonOption = None) -> None:
    """Tell what is kept of one feature view, segment by segment."""
    with _troubles():
        found = _container(target).entries()
    entries = {number: entry for number, entry in found.items() if entry.view == view}
    rows = [{"segment": number, **_summary([entry])} for number, entry in entries.items()]
    if json:
        terminal.write_json(rows, json)
        return
    table = terminal.table("segment", *_COLUMNS[1:], numbers=["segment", "rows", "size"])
    for row in rows:
        table.add_row(str(row["segment"]), *_cells(row)[1:])
    terminal.console().print(table)


@cache.command(cls=Command)
def clear(
    *,
    view: Annotated[
        str | None, typer.Option("--view", metavar="VIEW", help="Only of this feature view.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="Only what is older, such as 7d."),
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="Only what is of no use any more.")
    ] = False,
    target: CacheOption = None,
    json: JsonOption = None,
) -> None:
    """Forget what is kept: all of it, with the metadata, or what the options say."""
    from featkit.cache.metadata import forget_all
    from featkit.durations import parse_duration

    now = int(time.time() * 1e6)
    age = None if older_than is None else parse_duration(older_than, what="--older-than")
    before = None if age is None else now - int(age.total_seconds() * 1e6)
    container = _container(target)
    with _troubles():
        entries = container.entries()
    gone = {
        number: entry
        for number, entry in entries.items()
        if view in {None, entry.view}
        and (before is None or entry.fetched < before)
        and (not expired or entry.expires < now)
    }
    with _troubles():
        container.remove(gone)
        container.compact()
    if len(gone) == len(entries) and view is None and age is None and not expired:
        forget_all(container)
    told = _summary(list(gone.values()))
    if json:
        terminal.write_json(told, json)
        return
    typer.echo(
        f"{told['rows']:,} rows in {told['segments']:,} segments are gone, {_size(told['bytes'])}"
    )


def _container(target: str | None) -> "Container":
    """Open the container that an option, or the settings, name, until the command ends."""
    from featkit import settings
    from featkit.cache.opening import container_of, options_of
    from featkit.errors import SettingsError

    wanted: Any = target
    if wanted is None:
        chosen = settings.load()
        options = options_of(chosen.tables.get("cache", {}), chosen.origin)
        wanted = None if options is None else options.target
    container = None if wanted is None else container_of(wanted)
    if container is None:
        msg = "a cache in memory ends with its process; name another one with --cache disk"
        raise SettingsError(msg)
    return until_the_end(closing(container))


@contextmanager
def _troubles() -> "Iterator[None]":
    """Turn what a container cannot do into an error that is one message here."""
    from featkit.cache.containers import ContainerError
    from featkit.errors import SettingsError

    try:
        yield
    except ContainerError as error:
        raise SettingsError(str(error)) from error


_COLUMNS = ("segments", "rows", "size", "fetched", "kept until")


def _views(container: "Container") -> list[dict[str, Any]]:
    views: dict[str, list[Entry]] = {}
    for entry in container.entries().values():
        views.setdefault(entry.view, []).append(entry)
    return [{"view": name, **_summary(views[name])} for name in sorted(views)]


def _summary(entries: "list[Entry]") -> dict[str, Any]:
    return {
        "segments": len(entries),
        "rows": sum(entry.rows for entry in entries),
        "bytes": sum(entry.size for entry in entries),
        "fetched": _moment(min((entry.fetched for entry in entries), default=None)),
        "kept_until": _moment(max((entry.expires for entry in entries), default=None)),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['segments']:,}",
        f"{row['rows']:,}",
        _size(row["bytes"]),
        terminal.text(row["fetched"]),
        terminal.text(row["kept_until"]),
    ]


def _moment(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at // 1_000_000, tz=UTC)


def _size(count: int) -> str:
    from featkit.cache.statistics import size_text

    return size_text(count)
