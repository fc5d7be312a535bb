"""``featkit audit``: does a file know what nobody knew then; for people and for CI."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, Names, NowOption, StoreOption, connect
from featkit.cli.options import (
    AtOption,
    KnownByOption,
    LookbackOption,
    OnOption,
    ServiceOption,
    StrictOption,
    known,
    pair,
)
from featkit.cli.sources import key_dtypes, opened, times, troubles
from featkit.errors import InputError

if TYPE_CHECKING:
    import polars as pl

FOUND = 1  # exit code: something of the level of --fail-on was found


def audit(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="File to audit.")],
    *,
    at: AtOption,
    feature: Annotated[
        Names,
        typer.Option(
            "--feature", "-f", metavar="[COLUMN=]REF", help="view:feature, or view:* for all."
        ),
    ] = None,
    service: ServiceOption = None,
    on: OnOption = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="What is to be predicted.")
    ] = None,
    label_time: Annotated[
        str | None,
        typer.Option("--label-time", metavar="COLUMN", help="When the label was known."),
    ] = None,
    timestamp: Annotated[
        Names,
        typer.Option(
            "--timestamp", metavar="COLUMN=VIEW", help="A column with the timestamps of a view."
        ),
    ] = None,
    lookback: LookbackOption = None,
    known_by: KnownByOption = None,
    strict: StrictOption = False,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", help="Rows that are joined again.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which rows.")] = 0,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", metavar="SHARE", help="How far numbers may be apart."),
    ] = 1e-9,
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="error|warning", help="What is a failure.")
    ] = "error",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as HTML.")
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Check whether a file knows what nobody could know at the moments of its rows."""
    from featkit import files
    from featkit.audits.methods import audit_flow
    from featkit.audits.options import LeakageOptions
    from featkit.references import select

    files.format_of(source)
    if fail_on not in {"error", "warning"}:
        raise InputError(f"--fail-on takes error or warning, not {fail_on!r}")
    wanted = _wanted(feature or [], service or [])
    columns = dict(pair(text) for text in on or [])
    stamps = dict(pair(text, "--timestamp") for text in timestamp or [])
    client = connect(store, now)
    references = wanted if isinstance(wanted, list) else list(wanted.values())
    selection = client.run(select(client.operations.store, references, prefix="{view}__"))
    with troubles(source, "be audited", at=at):
        to = source.with_suffix(".parquet")  # columns of numbers are to be numbers
        frame = opened(source, at, to=to, dtypes=key_dtypes(selection, columns))
        if files.format_of(source) == "csv":
            frame = _with_times(frame, [at, label_time, *stamps])
        options = LeakageOptions(
            at=at,
            features=wanted,
            on=columns,
            timestamps=stamps,
            label=label,
            label_time=label_time,
            lookback=lookback,
            known_by=known(known_by),
            strict=strict,
            sample=sample,
            seed=seed,
            tolerance=tolerance,
        )
        found = client.run(audit_flow(client, frame, options))
    if html is not None:
        found.to_html(html)
    if json:
        terminal.write_report(found, json)
    else:
        typer.echo(str(found))
    if found.level in {"error", fail_on}:
        raise typer.Exit(FOUND)


def _wanted(feature: list[str], service: list[str]) -> list[str] | dict[str, str]:
    """Read ``--feature``: references, or the columns that hold them."""
    named = [text for text in feature if "=" in text]
    if not named:
        return [*feature, *service]
    if len(named) < len(feature) or service:
        raise InputError(
            "name the column of each feature, --feature COLUMN=VIEW:FEATURE, or of none"
        )
    return dict(pair(text, "--feature") for text in feature)


def _with_times(frame: "pl.LazyFrame", named: list[str | None]) -> "pl.LazyFrame":
    """Read the columns of times, which are text in CSV."""
    import polars as pl

    from featkit.columns import TIMESTAMP_SUFFIX

    texts = [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]
    found = [name for name in texts if name in named or name.endswith(TIMESTAMP_SUFFIX)]
    return frame.with_columns(times(frame, name).alias(name) for name in found)
