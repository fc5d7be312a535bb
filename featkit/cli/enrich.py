"""``featkit enrich``: the latest features, from file to file."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, Names, NowOption, StoreOption, connect
from featkit.errors import FeatkitError, InputError

if TYPE_CHECKING:
    import polars as pl

    from featkit.references import Selection


def enrich(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    *,
    feature: Annotated[
        Names,
        typer.Option("--feature", "-f", metavar="REF", help="view:feature, or view:* for all."),
    ] = None,
    service: Annotated[
        Names, typer.Option("--service", metavar="NAME", help="All of a feature service.")
    ] = None,
    on: Annotated[
        Names,
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
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Bring the latest features into a file.

    Suffixes tell the formats: .parquet, .csv, .arrow and .feather.
    """
    import polars as pl

    from featkit import files
    from featkit.api import features
    from featkit.references import select
    from featkit.replacing import replacing

    for path in (source, target):
        files.format_of(path)
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} for {target.name}")
    if not (wanted := [*(feature or []), *(service or [])]):
        raise InputError("name features: --feature VIEW:FEATURE, --feature 'VIEW:*' or --service")
    options: dict[str, Any] = {
        "on": dict(pair(text) for text in on or []),
        "prefix": prefix,
        "timestamps": timestamps,
        "statuses": statuses,
        "expired": expired,
        "on_missing": on_missing,
    }
    client = connect(store, now)
    selection = client.run(select(client.operations.store, wanted))
    try:
        with replacing(target) as file:
            frame = files.scan(source, to=file, dtypes=key_dtypes(selection, options["on"]))
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


def pair(text: str, option: str = "--on") -> tuple[str, str]:
    """Read ``KEY=COLUMN``, or what another option takes."""
    key, equals, column = text.partition("=")
    if not (key and equals and column):
        raise InputError(f"{option} takes {_PAIRS[option]}, not {text!r}")
    return key, column


_PAIRS = {
    "--on": "KEY=COLUMN, such as tailnum=aircraft",
    "--feature": "COLUMN=VIEW:FEATURE, such as delay=carrier_history:mean_delay_7d",
    "--timestamp": "COLUMN=VIEW, such as written_at=carrier_history",
}


def key_dtypes(selection: "Selection", columns: Mapping[str, str]) -> "dict[str, pl.DataType]":
    """Tell which dtypes the key columns of the file are to have, by column."""
    entities = [entity for part in selection.views for entity in part.view.entities]
    return {columns.get(key.join_key, key.join_key): key.dtype for key in entities if key.dtype}
