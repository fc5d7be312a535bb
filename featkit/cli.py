"""The command line: ``featkit demo | views | show | lookup | enrich``.

What was asked for goes to stdout, or to a file: tables for people, ``--json`` for programs.
Everything else goes to stderr: summaries, notes, errors. Exit codes: 0, done; 1, the store was
asked and does not have it; 2, it could not be asked.

Heavy libraries are imported inside the commands, so that help stays quick.
"""

# ruff: noqa: PLC0415 - imports inside functions are what the docstring explains

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from featkit import terminal
from featkit._version import __version__
from featkit.errors import (
    FeatkitError,
    InputError,
    KeyTypeError,
    MissingEntitiesError,
    UnknownNameError,
)

if TYPE_CHECKING:
    import polars as pl

    from featkit.client import FeatureStoreClient
    from featkit.references import Selection
    from featkit.schema import Entity, FeatureView

_NOT_THERE, _FAILED = 1, 2  # exit codes; typer's own for a wrong command line is 2 as well


class _Command(TyperCommand):
    """A command whose ``--json`` needs no value, and whose errors are one message."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click
        return super().parse_args(ctx, _with_json_target(args))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own click
        try:
            with terminal.notes():
                return super().invoke(ctx)
        except FeatkitError as error:
            terminal.say("error", str(error))
            missing = isinstance(error, (UnknownNameError, MissingEntitiesError))
            raise typer.Exit(_NOT_THERE if missing else _FAILED) from error


def _with_json_target(args: Sequence[str]) -> list[str]:
    """Say ``--json -`` where ``--json`` is last, or followed by an option."""
    done: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*done, *args[place:]]
        done.append(word)
        after = args[place + 1] if place + 1 < len(args) else "--"
        if word == "--json" and after.startswith("-") and after != "-":
            done.append("-")
    return done


app = typer.Typer(
    help="Look at a feature store, look features up, and bring them into files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="TARGET",
        help="The store: demo:flights, parquet:PATH; else that of the settings.",
    ),
]
_Now = Annotated[
    str | None,
    typer.Option(
        "--now",
        metavar="ISO",
        help="What counts as now, such as 2014-01-01T00:00:00Z; else the store's clock.",
    ),
]
_Json = Annotated[
    str | None,
    typer.Option("--json", metavar="[FILE]", help="Write JSON: to FILE, or to stdout without."),
]
_View = Annotated[str, typer.Argument(metavar="VIEW", help="A feature view.")]
_Names = list[str] | None


def main() -> None:
    """Run the command line; the console script ``featkit``."""
    app()


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"featkit {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
]


@app.callback()
def _root(*, version: _Version = False) -> None:
    """Take the options before the command."""


@app.command(cls=_Command)
def demo(*, store: _Store = "demo:flights", now: _Now = None) -> None:
    """See it at work on the flights that left New York in 2013."""
    from featkit.demo.story import tell

    tell(lambda: _connect(store, now), terminal.console())


@app.command(cls=_Command)
def views(*, store: _Store = None, now: _Now = None, json: _Json = None) -> None:
    """List feature views and feature services."""
    client = _connect(store, now)
    found, services = client.list_feature_views(), client.list_feature_services()
    if json:
        content = {
            "feature_views": [terminal.view_content(view) for view in found],
            "feature_services": [terminal.service_content(service) for service in services],
        }
        terminal.write_json(content, json)
        return
    table = terminal.table(
        "feature view", "join keys", "ttl", "features", "about", numbers=["features"]
    )
    for view in found:
        sentence = view.description.partition(". ")[0].removesuffix(".")
        keys = ", ".join(view.join_keys)
        table.add_row(view.name, keys, terminal.ttl(view), str(len(view.features)), sentence)
    console = terminal.console()
    console.print(table)
    for service in services:
        console.print(f"\nfeature service {service.name}: {service.description}".rstrip(": "))
        console.print("  " + "\n  ".join(map(str, service.features)))


@app.command(cls=_Command)
def show(view: _View, *, store: _Store = None, now: _Now = None, json: _Json = None) -> None:
    """Describe a feature view: its keys, its times, its features."""
    found = _connect(store, now).get_feature_metadata(view)
    if json:
        terminal.write_json(terminal.view_content(found), json)
        return
    facts = {
        "feature view": found.name,
        "description": found.description,
        "join keys": ", ".join(f"{key.join_key} ({terminal.dtype(key)})" for key in found.entities),
        "event timestamp": found.timestamp or "none: the view is static",
        "created timestamp": found.created,
        "ttl": terminal.ttl(found) if found.timestamp else None,
        "source": found.source,
        "owner": found.owner,
        "tags": ", ".join(f"{name}={value}" for name, value in found.tags.items()),
    }
    about, features = terminal.table(), terminal.table("feature", "dtype", "description")
    for name, fact in facts.items():
        if fact:
            about.add_row(name, fact)
    for feature in found.features:
        features.add_row(feature.name, terminal.dtype(feature), feature.description)
    terminal.console().print(about, "", features)


@app.command(cls=_Command)
def lookup(
    view: _View,
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Keys of entities. The parts of a composite key stand in the view's order with "
            "commas between them, JFK,LAX; a part that has a comma is quoted, as in CSV.",
        ),
    ],
    *,
    feature: Annotated[
        _Names, typer.Option("--feature", "-f", metavar="F", help="A feature; else all.")
    ] = None,
    store: _Store = None,
    now: _Now = None,
    json: _Json = None,
) -> None:
    """Look up the latest features of entities.

    The exit code is 1 where the store does not know one of them.
    """
    from featkit.columns import STATUS_SUFFIX, TIMESTAMP_SUFFIX, Status
    from featkit.schema import FeatureRef

    client = _connect(store, now)
    keys = _keys(ids, client.get_feature_metadata(view))
    found = client.lookup(keys, [FeatureRef(view, name) for name in feature or ["*"]])
    answers: list[dict[str, dict[str, Any]]] = [
        {
            name: {
                "value": row[name],
                "status": row[name + STATUS_SUFFIX],
                "event_timestamp": row[name + TIMESTAMP_SUFFIX],
            }
            for name in found.values.columns
        }
        for row in found.to_polars(timestamps=True, statuses=True).to_dicts()
    ]
    pairs = list(zip(keys.to_dicts(), answers, strict=True))
    if json:
        terminal.write_json([{"key": key, "features": answer} for key, answer in pairs], json)
    else:
        table = terminal.table(*keys.columns, "feature", "value", "status", "event timestamp")
        for key, answer in pairs:
            for name, cell in answer.items():
                texts = map(terminal.text, [*key.values(), name, *cell.values()])
                table.add_row(*texts)
        terminal.console().print(table)
    if any(cell["status"] == Status.NOT_FOUND for answer in answers for cell in answer.values()):
        raise typer.Exit(_NOT_THERE)


@app.command(cls=_Command)
def enrich(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    *,
    feature: Annotated[
        _Names,
        typer.Option("--feature", "-f", metavar="REF", help="view:feature, or view:* for all."),
    ] = None,
    service: Annotated[
        _Names, typer.Option("--service", metavar="NAME", help="All of a feature service.")
    ] = None,
    on: Annotated[
        _Names,
        typer.Option("--on", metavar="KEY=COLUMN", help="The column that holds a join key."),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="TEXT", help="Before each new name; {view} is filled in."),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Add FEATURE__event_timestamp.")
    ] = False,
    statuses: Annotated[bool, typer.Option("--statuses", help="Add FEATURE__status.")] = False,
    expired: Annotated[
        str,
        typer.Option(
            "--expired", metavar="keep|null", help="What becomes of values past their ttl."
        ),
    ] = "keep",
    on_missing: Annotated[
        str,
        typer.Option(
            "--on-missing", metavar="null|warn|raise", help="What becomes of unknown keys."
        ),
    ] = "null",
    store: _Store = None,
    now: _Now = None,
    json: _Json = None,
) -> None:
    """Bring the latest features into a file.

    Suffixes tell the formats: .parquet, .csv, .arrow and .feather.
    """
    import polars as pl

    from featkit import files
    from featkit.api import features
    from featkit.references import select
    from featkit.writing import replacing

    for path in (source, target):
        files.format_of(path)
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} for {target.name}")
    if not (wanted := [*(feature or []), *(service or [])]):
        raise InputError("name features: --feature VIEW:FEATURE, --feature 'VIEW:*' or --service")
    options: dict[str, Any] = {
        "on": dict(_pair(text) for text in on or []),
        "prefix": prefix,
        "timestamps": timestamps,
        "statuses": statuses,
        "expired": expired,
        "on_missing": on_missing,
    }
    client = _connect(store, now)
    selection = client.run(select(client.operations.store, wanted))
    try:
        with replacing(target) as file:
            frame = files.scan(source, to=file, dtypes=_key_dtypes(selection, options["on"]))
            files.sink(features(frame).enrich(wanted, **options), file)
    except FeatkitError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]  # without the query that polars appends
        raise InputError(f"{source} cannot become {target}: {reason}") from error
    if json:
        terminal.write_json(client.last_summary, json)
    else:
        typer.echo(client.last_summary, err=True)


def _connect(store: str | None, now: str | None) -> "FeatureStoreClient":
    import featkit

    return featkit.connect(store, now=now)


def _keys(ids: Sequence[str], view: "FeatureView") -> "pl.DataFrame":
    """Read keys as people type them: one column per join key, in the entities' dtypes."""
    import polars as pl

    count = len(view.entities)
    rows = [[text] if count == 1 else next(csv.reader([text]), []) for text in ids]
    for text, row in zip(ids, rows, strict=True):
        if len(row) != count:
            keys = ",".join(view.join_keys)
            raise KeyTypeError(
                f"feature view {view.name!r} has keys of the form {keys}: not {text!r}"
            )
    texts = pl.DataFrame(rows, schema=dict.fromkeys(view.join_keys, pl.String), orient="row")
    return texts.select(_typed(texts[entity.join_key], entity) for entity in view.entities)


def _typed(texts: "pl.Series", entity: "Entity") -> "pl.Series":
    import polars as pl

    try:
        match entity.dtype:
            case None:
                return texts
            case pl.Datetime(time_zone=zone):
                return texts.str.to_datetime(time_zone=zone, time_unit="us")
            case pl.Date():
                return texts.str.to_date()
            case pl.Boolean():
                return texts.replace_strict({"true": True, "false": False})
            case dtype:
                return texts.cast(dtype)
    except pl.exceptions.PolarsError as error:
        found = ", ".join(map(repr, texts))
        wanted = f"the key {entity.join_key!r} is {terminal.dtype(entity)}"
        msg = f"{wanted}, which cannot be read from {found}"
        raise KeyTypeError(msg) from error


def _pair(text: str) -> tuple[str, str]:
    key, equals, column = text.partition("=")
    if not (key and equals and column):
        raise InputError(f"--on takes KEY=COLUMN, such as tailnum=aircraft, not {text!r}")
    return key, column


def _key_dtypes(selection: "Selection", columns: Mapping[str, str]) -> "dict[str, pl.DataType]":
    """Tell which dtypes the key columns of the file are to have, by column."""
    entities = [entity for part in selection.views for entity in part.view.entities]
    return {columns.get(key.join_key, key.join_key): key.dtype for key in entities if key.dtype}
