"""``featkit enrich``: the latest features, from file to file."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from pathlib import Path
from typing import Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, NowOption, StoreOption, connect
from featkit.cli.options import FeatureOption, OnOption, ServiceOption, pair, wanted_features
from featkit.cli.sources import key_dtypes, troubles
from featkit.errors import InputError


def enrich(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    *,
    feature: FeatureOption = None,
    service: ServiceOption = None,
    on: OnOption = None,
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
    from featkit import files
    from featkit.api import features
    from featkit.references import select
    from featkit.replacing import replacing

    for path in (source, target):
        files.format_of(path)
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    wanted = wanted_features(feature, service)
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
    with troubles(source, f"become {target}"), replacing(target) as file:
        frame = files.scan(source, to=file, dtypes=key_dtypes(selection, options["on"]))
        files.sink(features(frame).enrich(wanted, **options), file)
    if json:
        terminal.write_json(client.last_summary, json)
    else:
        typer.echo(client.last_summary, err=True)
